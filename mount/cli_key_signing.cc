// secretfs key sign, verify, mac, verify-mac, public-key.

#include <CLI/CLI.hpp>
#include <memory>

#include "crypto/base64.h"
#include "mount/cli_key.h"

namespace secretfs::mount {
namespace {

constexpr size_t kPemLineCharacters = 64;  // RFC 7468 section 2.

struct SignOptions {
  std::string key;
  std::string algorithm;
  std::string proof_file;  // The signature or MAC to verify.
  bool is_digest = false;
  DataOptions data;
  UseOptions use;
};

// The algorithm that was named, or the only one that the key has.
Result<std::string> AlgorithmOf(Cli& cli, const SignOptions& options) {
  if (!options.algorithm.empty()) return AwsWord(options.algorithm);
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  TRY_ASSIGN(const AwsAnswer answer,
             client.Call(KmsRequest("DescribeKey").Text("KeyId", KmsKeyReference(options.key))));
  TRY_ASSIGN(const KmsKeySummary key, ParseKeyMetadata(answer));
  if (key.algorithms.size() == 1) return key.algorithms.front();
  if (key.algorithms.empty()) {
    return Fail(Code::kInvalidArgument, "the key has no such operation; its usage is " + key.usage);
  }
  return Fail(Code::kInvalidArgument, "the key has several algorithms; say --algorithm, one of " +
                                          JoinWords(key.algorithms));
}

struct Operation {
  const char* name;
  const char* algorithm_member;
  const char* proof_member;  // "Signature" or "Mac".
  const char* proof;         // As people call it.
};
constexpr Operation kSign = {"Sign", "SigningAlgorithm", "Signature", "the signature"};
constexpr Operation kVerify = {"Verify", "SigningAlgorithm", "Signature", "the signature"};
constexpr Operation kMac = {"GenerateMac", "MacAlgorithm", "Mac", "the MAC"};
constexpr Operation kVerifyMac = {"VerifyMac", "MacAlgorithm", "Mac", "the MAC"};

Result<std::optional<AwsAnswer>> Prove(Cli& cli, const Operation& operation,
                                       const SignOptions& options, ByteSpan proof) {
  TRY_ASSIGN(const crypto::SecretBuffer message,
             ReadData(cli, {options.data.file, "the message", kMessageBytesMax}));
  TRY_ASSIGN(const std::string algorithm, AlgorithmOf(cli, options));
  KmsRequest request(operation.name);
  request.Text("KeyId", KmsKeyReference(options.key))
      .Blob("Message", message.Reveal())
      .Text("MessageType", options.is_digest ? "DIGEST" : "")
      .Text(operation.algorithm_member, algorithm);
  if (!proof.empty()) request.Blob(operation.proof_member, proof);
  TRY(AddUseMembers(request, options.use));
  return UseKey(cli, request, options.use);
}

Status Sign(Cli& cli, const Operation& operation, const SignOptions& options) {
  TRY_ASSIGN(const auto answer, Prove(cli, operation, options, {}));
  if (!answer) return {};
  if (cli.json) return cli.Print(*answer, "");
  TRY_ASSIGN(const crypto::SecretBuffer proof, ParseBlob(*answer, operation.proof_member));
  return WriteData(cli, proof.Reveal(), options.data);
}

Status Verify(Cli& cli, const Operation& operation, const SignOptions& options) {
  TRY_ASSIGN(
      const crypto::SecretBuffer proof,
      ReadData(cli, {options.proof_file, operation.proof, kKmsBlobBytesMax, options.data.base64}));
  TRY_ASSIGN(const auto answer, Prove(cli, operation, options, proof.Reveal()));
  return answer ? cli.Print(*answer, "valid\n") : Status();
}

struct PublicKeyOptions {
  std::string key;
  bool der = false;
  DataOptions data;
  UseOptions use;
};

std::string Pem(ByteSpan der) {
  const crypto::SecretBuffer encoded = crypto::Base64Encode(der);
  std::string text = "-----BEGIN PUBLIC KEY-----\n";
  std::string_view rest = AsText(encoded.Reveal());
  while (!rest.empty()) {
    text += std::string(rest.substr(0, kPemLineCharacters)) + "\n";
    rest.remove_prefix(std::min(rest.size(), kPemLineCharacters));
  }
  return text + "-----END PUBLIC KEY-----\n";
}

Status PublicKey(Cli& cli, const PublicKeyOptions& options) {
  KmsRequest request("GetPublicKey");
  request.Text("KeyId", KmsKeyReference(options.key))
      .Texts("GrantTokens", options.use.grant_tokens);
  TRY_ASSIGN(const auto answer, UseKey(cli, request, options.use));
  if (cli.json) return cli.Print(*answer, "");
  TRY_ASSIGN(const crypto::SecretBuffer der, ParseBlob(*answer, "PublicKey"));
  if (options.der || options.data.base64) return WriteData(cli, der.Reveal(), options.data);
  return cli.terminal.Write(Pem(der.Reveal()));
}

using Run = Status (*)(Cli&, const Operation&, const SignOptions&);

CLI::App& AddProof(const KeyVerbs& verbs, const KeyVerbs::Text& text, const Operation& operation,
                   Run run) {
  auto options = std::make_shared<SignOptions>();
  CLI::App& sub = verbs.Add(text, KeyOf(options), [&cli = verbs.cli(), options, &operation, run] {
    return run(cli, operation, *options);
  });
  AddKeyArgument(sub, options->key);
  const bool is_mac = operation.proof_member == std::string_view("Mac");
  sub.add_option("--algorithm", options->algorithm,
                 is_mac ? "hmac-sha-256 for example; default: the key's only one"
                        : "ecdsa-sha-256, rsassa-pss-sha-256, ed25519-sha-512 for example; "
                          "default: the key's only one");
  if (!is_mac) {
    sub.add_flag("--digest", options->is_digest, "What comes in is the message's digest");
  }
  if (run == &Verify) {
    sub.add_option(is_mac ? "--mac" : "--signature", options->proof_file, "What to verify")
        ->type_name("PATH")
        ->required();
  }
  AddInputOptions(sub, options->data, "the message");
  AddOutputOptions(sub, options->data);
  AddUseOptions(sub, options->use, false);
  return sub;
}

}  // namespace

void AddKeySigning(const KeyVerbs& verbs) {
  AddProof(verbs,
           {"sign", "Sign a message of up to 4096 bytes, or its digest",
            "secretfs key sign release < notes > notes.sig"},
           kSign, &Sign);
  AddProof(verbs,
           {"verify", "Check a signature: prints valid, or fails",
            "secretfs key verify release --signature notes.sig < notes"},
           kVerify, &Verify);
  AddProof(verbs, {"mac", "Make the MAC of a message of up to 4096 bytes"}, kMac, &Sign);
  AddProof(verbs, {"verify-mac", "Check a MAC: prints valid, or fails"}, kVerifyMac, &Verify);

  auto options = std::make_shared<PublicKeyOptions>();
  CLI::App& sub =
      verbs.Add({"public-key", "Write the public key of a key pair, as PEM",
                 "secretfs key public-key release > release.pem"},
                KeyOf(options), [&cli = verbs.cli(), options] { return PublicKey(cli, *options); });
  AddKeyArgument(sub, options->key);
  sub.add_flag("--der", options->der, "As DER instead");
  sub.add_flag("--base64", options->data.base64, "As DER in base64 instead");
  sub.add_flag("--force", options->data.force, "Write raw bytes even to a terminal");
  sub.add_option("--grant-token", options->use.grant_tokens, "Of a grant that is new; repeatable")
      ->type_name("TOKEN")
      ->allow_extra_args(false);
}

}  // namespace secretfs::mount
