// secretfs key encrypt, decrypt, re-encrypt, data-key, derive, random.

#include <CLI/CLI.hpp>
#include <memory>

#include "mount/cli_key.h"

namespace secretfs::mount {
namespace {

constexpr mode_t kPublicMode = 0644;
constexpr const char* kEncryptionAlgorithms =
    "rsaes-oaep-sha-256 or rsaes-oaep-sha-1, for an RSA key";

struct CipherOptions {
  std::string key;
  std::string algorithm;
  DataOptions data;
  UseOptions use;
};

// The answer as JSON, or its blob `name`.
Status WriteAnswer(Cli& cli, const std::optional<AwsAnswer>& answer, const char* name,
                   const DataOptions& data) {
  if (!answer) return {};
  if (cli.json) return cli.Print(*answer, "");
  TRY_ASSIGN(const crypto::SecretBuffer bytes, ParseBlob(*answer, name));
  return WriteData(cli, bytes.Reveal(), data);
}

Status Encrypt(Cli& cli, const CipherOptions& options) {
  TRY_ASSIGN(const crypto::SecretBuffer plaintext,
             ReadData(cli, {options.data.file, "the plaintext", kPlaintextBytesMax}));
  KmsRequest request("Encrypt");
  request.Text("KeyId", KmsKeyReference(options.key))
      .Text("EncryptionAlgorithm", AwsWord(options.algorithm))
      .Blob("Plaintext", plaintext.Reveal());
  TRY(AddUseMembers(request, options.use));
  TRY_ASSIGN(const auto answer, UseKey(cli, request, options.use));
  return WriteAnswer(cli, answer, "CiphertextBlob", options.data);
}

Status Decrypt(Cli& cli, const CipherOptions& options) {
  TRY_ASSIGN(
      const crypto::SecretBuffer ciphertext,
      ReadData(cli, {options.data.file, "the ciphertext", kKmsBlobBytesMax, options.data.base64}));
  KmsRequest request("Decrypt");
  request.Text("KeyId", KmsKeyReference(options.key))
      .Text("EncryptionAlgorithm", AwsWord(options.algorithm))
      .Blob("CiphertextBlob", ciphertext.Reveal());
  TRY(AddUseMembers(request, options.use));
  TRY_ASSIGN(const auto answer, UseKey(cli, request, options.use));
  if (!answer || cli.json) return WriteAnswer(cli, answer, "Plaintext", options.data);
  TRY_ASSIGN(const crypto::SecretBuffer plaintext, ParseBlob(*answer, "Plaintext"));
  // As it was before it was encrypted: base64 is for ciphertexts.
  if (cli.terminal.output_is_terminal() && !options.data.force &&
      !IsPrintable(plaintext.Reveal())) {
    return Fail(Code::kInvalidArgument,
                "the plaintext is binary and would garble the terminal; send it to a file, or give "
                "--force");
  }
  return cli.terminal.WriteBytes(plaintext.Reveal());
}

struct ReEncryptOptions {
  std::string key;
  std::string from;
  std::string from_algorithm;
  std::string algorithm;
  std::vector<std::string> from_context;
  std::vector<std::string> context;
  DataOptions data;
  UseOptions use;
};

Status ReEncrypt(Cli& cli, const ReEncryptOptions& options) {
  TRY_ASSIGN(const auto from_context,
             ParsePairs(options.from_context, "context", "with --from-context"));
  TRY_ASSIGN(const auto context, ParsePairs(options.context, "context", "with --context"));
  TRY_ASSIGN(
      const crypto::SecretBuffer ciphertext,
      ReadData(cli, {options.data.file, "the ciphertext", kKmsBlobBytesMax, options.data.base64}));
  KmsRequest request("ReEncrypt");
  request.Blob("CiphertextBlob", ciphertext.Reveal())
      .Text("SourceKeyId", KmsKeyReference(options.from))
      .Text("SourceEncryptionAlgorithm", AwsWord(options.from_algorithm))
      .Map("SourceEncryptionContext", from_context)
      .Text("DestinationKeyId", KmsKeyReference(options.key))
      .Text("DestinationEncryptionAlgorithm", AwsWord(options.algorithm))
      .Map("DestinationEncryptionContext", context);
  TRY(AddUseMembers(request, options.use));
  TRY_ASSIGN(const auto answer, UseKey(cli, request, options.use));
  return WriteAnswer(cli, answer, "CiphertextBlob", options.data);
}

struct DataKeyOptions {
  std::string key;
  std::string spec;
  std::optional<int64_t> bytes;
  std::string pair;
  std::string ciphertext_file;
  std::string public_key_file;
  bool without_plaintext = false;
  DataOptions data;
  UseOptions use;
};

Status CheckDataKeyOptions(const Cli& cli, const DataKeyOptions& options) {
  if (cli.json || options.use.dry_run) return {};
  if (!options.without_plaintext && options.ciphertext_file.empty()) {
    return Fail(Code::kInvalidArgument,
                "the key itself goes to standard output, so say with --ciphertext PATH where its "
                "ciphertext goes; or ask for that alone, with --without-plaintext");
  }
  if (!options.pair.empty() && options.public_key_file.empty()) {
    return Fail(Code::kInvalidArgument, "say with --public-key PATH where the public key goes");
  }
  return {};
}

Status GenerateDataKey(Cli& cli, const DataKeyOptions& options) {
  TRY(CheckDataKeyOptions(cli, options));
  const bool is_pair = !options.pair.empty();
  KmsRequest request(std::string(is_pair ? "GenerateDataKeyPair" : "GenerateDataKey") +
                     (options.without_plaintext ? "WithoutPlaintext" : ""));
  const bool is_default = options.spec.empty() && !options.bytes && !is_pair;
  request.Text("KeyId", KmsKeyReference(options.key))
      .Text("KeySpec", is_default ? "AES_256" : AwsWord(options.spec))
      .Number("NumberOfBytes", options.bytes)
      .Text("KeyPairSpec", AwsWord(options.pair));
  TRY(AddUseMembers(request, options.use));
  TRY_ASSIGN(const auto answer, UseKey(cli, request, options.use));
  if (!answer || cli.json) return WriteAnswer(cli, answer, "Plaintext", options.data);

  TRY_ASSIGN(const crypto::SecretBuffer ciphertext,
             ParseBlob(*answer, is_pair ? "PrivateKeyCiphertextBlob" : "CiphertextBlob"));
  if (is_pair) {
    TRY_ASSIGN(const crypto::SecretBuffer public_key, ParseBlob(*answer, "PublicKey"));
    TRY(WriteDataFile(options.public_key_file, public_key.Reveal(), options.data.base64,
                      kPublicMode));
  }
  if (!options.ciphertext_file.empty()) {
    TRY(WriteDataFile(options.ciphertext_file, ciphertext.Reveal(), options.data.base64,
                      kPublicMode));
  }
  if (options.without_plaintext) {
    return options.ciphertext_file.empty() ? WriteData(cli, ciphertext.Reveal(), options.data)
                                           : Status();
  }
  return WriteAnswer(cli, answer, is_pair ? "PrivateKeyPlaintext" : "Plaintext", options.data);
}

struct DeriveOptions {
  std::string key;
  std::string public_key_file;
  DataOptions data;
  UseOptions use;
};

Status Derive(Cli& cli, const DeriveOptions& options) {
  TRY_ASSIGN(const crypto::SecretBuffer text,
             ReadData(cli, {options.public_key_file, "the public key", kPublicKeyBytesMax}));
  TRY_ASSIGN(const crypto::SecretBuffer public_key, PublicKeyDer(text));
  KmsRequest request("DeriveSharedSecret");
  request.Text("KeyId", KmsKeyReference(options.key))
      .Text("KeyAgreementAlgorithm", "ECDH")
      .Blob("PublicKey", public_key.Reveal());
  TRY(AddUseMembers(request, options.use));
  TRY_ASSIGN(const auto answer, UseKey(cli, request, options.use));
  return WriteAnswer(cli, answer, "SharedSecret", options.data);
}

struct RandomOptions {
  std::string key;  // The number, as text.
  DataOptions data;
};

Status Random(Cli& cli, const RandomOptions& options) {
  int64_t count = 0;
  if (!CLI::detail::lexical_cast(options.key, count)) {
    return Fail(Code::kInvalidArgument, options.key + " is no number; give 1 to 1024");
  }
  KmsRequest request("GenerateRandom");
  request.Number("NumberOfBytes", count);
  TRY_ASSIGN(const auto answer, UseKey(cli, request, {}));
  return WriteAnswer(cli, answer, "Plaintext", options.data);
}

void AddCiphers(const KeyVerbs& verbs) {
  Cli& cli = verbs.cli();
  auto encrypt = std::make_shared<CipherOptions>();
  CLI::App& encrypting =
      verbs.Add({"encrypt", "Encrypt up to 4096 bytes under a key",
                 "secretfs key encrypt web -c app=shop < token > token.enc"},
                KeyOf(encrypt), [&cli, encrypt] { return Encrypt(cli, *encrypt); });
  AddKeyArgument(encrypting, encrypt->key);
  encrypting.add_option("--algorithm", encrypt->algorithm, kEncryptionAlgorithms);
  AddInputOptions(encrypting, encrypt->data, "the plaintext");
  AddOutputOptions(encrypting, encrypt->data);
  AddUseOptions(encrypting, encrypt->use, true);

  auto decrypt = std::make_shared<CipherOptions>();
  CLI::App& decrypting =
      verbs.Add({"decrypt", "Decrypt what a key encrypted; KEY only checks which, or is RSA",
                 "secretfs key decrypt -c app=shop < token.enc"},
                KeyOf(decrypt), [&cli, decrypt] { return Decrypt(cli, *decrypt); });
  AddKeyArgument(decrypting, decrypt->key, /*required=*/false);
  decrypting.add_option("--algorithm", decrypt->algorithm, kEncryptionAlgorithms);
  AddInputOptions(decrypting, decrypt->data, "the ciphertext");
  AddOutputOptions(decrypting, decrypt->data);
  AddUseOptions(decrypting, decrypt->use, true);

  auto again = std::make_shared<ReEncryptOptions>();
  CLI::App& moving = verbs.Add({"re-encrypt", "Move a ciphertext to another key or context, unseen",
                                "secretfs key re-encrypt new-key < old.enc > new.enc"},
                               KeyOf(again), [&cli, again] { return ReEncrypt(cli, *again); });
  AddKeyArgument(moving, again->key);
  moving.add_option("--from", again->from, "The key that it is under; needed if that is RSA")
      ->type_name("KEY");
  moving.add_option("--from-context", again->from_context, "A pair of its context; repeatable")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  moving.add_option("-c,--context", again->context, "A pair of the new context; repeatable")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  moving.add_option("--from-algorithm", again->from_algorithm, kEncryptionAlgorithms);
  moving.add_option("--algorithm", again->algorithm, kEncryptionAlgorithms);
  AddInputOptions(moving, again->data, "the ciphertext");
  AddOutputOptions(moving, again->data);
  AddUseOptions(moving, again->use, false);
}

void AddDataKey(const KeyVerbs& verbs) {
  auto options = std::make_shared<DataKeyOptions>();
  CLI::App& sub = verbs.Add(
      {"data-key", "Make a key for use elsewhere, with its ciphertext under KEY",
       "secretfs key data-key web --ciphertext data.key.enc > data.key"},
      KeyOf(options), [&cli = verbs.cli(), options] { return GenerateDataKey(cli, *options); });
  AddKeyArgument(sub, options->key);
  auto* spec = sub.add_option("--spec", options->spec, "aes-256 (default) or aes-128");
  auto* bytes = sub.add_option("--bytes", options->bytes, "Instead: so many bytes, 1 to 1024");
  bytes->type_name("COUNT")->excludes(spec);
  sub.add_option("--pair", options->pair,
                 "Instead: a key pair of this spec, rsa-2048 or ecc-nist-p256 for example; the "
                 "private key is PKCS#8 in DER")
      ->type_name("SPEC")
      ->excludes(spec)
      ->excludes(bytes);
  sub.add_option("--ciphertext", options->ciphertext_file, "Where the encrypted key goes")
      ->type_name("PATH");
  sub.add_option("--public-key", options->public_key_file, "Where a pair's public key goes")
      ->type_name("PATH");
  sub.add_flag("--without-plaintext", options->without_plaintext,
               "Only the encrypted key, to standard output or --ciphertext");
  AddOutputOptions(sub, options->data);
  AddUseOptions(sub, options->use, true);
}

}  // namespace

void AddKeyCrypto(const KeyVerbs& verbs) {
  Cli& cli = verbs.cli();
  AddCiphers(verbs);
  AddDataKey(verbs);

  auto derive = std::make_shared<DeriveOptions>();
  CLI::App& deriving =
      verbs.Add({"derive", "Agree on a shared secret with the owner of another key (ECDH)",
                 "secretfs key derive agreement --public-key theirs.pem > shared"},
                KeyOf(derive), [&cli, derive] { return Derive(cli, *derive); });
  AddKeyArgument(deriving, derive->key);
  deriving.add_option("--public-key", derive->public_key_file, "Theirs, in PEM or DER")
      ->type_name("PATH")
      ->required();
  AddOutputOptions(deriving, derive->data);
  AddUseOptions(deriving, derive->use, false);

  auto random = std::make_shared<RandomOptions>();
  CLI::App& drawing = verbs.Add({"random", "Write random bytes", "secretfs key random 32 --base64"},
                                KeyOf(random), [&cli, random] { return Random(cli, *random); });
  drawing.add_option("COUNT", random->key, "How many, 1 to 1024")->required();
  AddOutputOptions(drawing, random->data);
}

}  // namespace secretfs::mount
