#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mount/aws_kms_client.h"
#include "mount/cli_verbs.h"

// What the verbs of `secretfs key` have in common.
namespace secretfs::mount {

// Bounds of the API model (aws-semantics 4.2).
inline constexpr size_t kPlaintextBytesMax = 4096;
inline constexpr size_t kMessageBytesMax = 4096;
inline constexpr size_t kKmsBlobBytesMax = 6144;
inline constexpr size_t kPublicKeyBytesMax = 8192;
inline constexpr size_t kPolicyBytesMax = 32'768;

// A word with verbs below it: "key", or "key alias".
class KeyVerbs {
 public:
  // Both must outlive this.
  KeyVerbs(CLI::App& app, Cli& cli, std::string words);

  struct Text {
    const char* name;
    const char* description;
    const char* example = "";  // Empty: the description will do.
  };
  // Adds a verb. `about` is what it is about, once it is parsed.
  CLI::App& Add(const Text& text, std::shared_ptr<const std::string> about,
                std::function<Status()> run) const;
  KeyVerbs AddGroup(const Text& text) const;
  Cli& cli() const { return cli_; }

 private:
  CLI::App& app_;
  Cli& cli_;
  std::string words_;
};

// A member of a verb's options, which it keeps alive.
template <typename Options>
std::shared_ptr<const std::string> KeyOf(const std::shared_ptr<Options>& options) {
  return {options, &options->key};
}

// The argument KEY.
void AddKeyArgument(CLI::App& app, std::string& key, bool required = true);

// Bytes in and out of an operation. Ciphertexts, signatures, MACs and keys are raw bytes, or with
// --base64 text; plaintexts and messages are always as they are.
struct DataOptions {
  std::string file;
  bool base64 = false;
  bool force = false;
};
void AddInputOptions(CLI::App& app, DataOptions& options, const char* what);
void AddOutputOptions(CLI::App& app, DataOptions& options);

// What to read, and what people call it: "the message".
struct DataInput {
  const std::string& file;  // Empty: standard input, or typed; "-": standard input.
  const char* what;
  size_t bytes_max;
  bool base64 = false;
};
// Errors: kInvalidArgument (too long, empty, no base64), kNotFound, kPermissionDenied.
Result<crypto::SecretBuffer> ReadData(Cli& cli, const DataInput& input);
// Errors: kInvalidArgument for raw bytes to a terminal.
Status WriteData(Cli& cli, ByteSpan bytes, const DataOptions& options);
// Whether `bytes` are text that does a terminal no harm.
bool IsPrintable(ByteSpan bytes);
// A public key as a PEM file or as DER, in DER. Errors: kInvalidArgument for PEM of something else.
Result<crypto::SecretBuffer> PublicKeyDer(const crypto::SecretBuffer& text);
// Makes or replaces a file. Errors: kPermissionDenied, kUnavailable.
Status WriteDataFile(const std::string& path, ByteSpan bytes, bool base64, mode_t mode);

// Options of all operations on data.
struct UseOptions {
  std::vector<std::string> context;
  std::vector<std::string> grant_tokens;
  bool dry_run = false;
};
void AddUseOptions(CLI::App& app, UseOptions& options, bool with_context);
// Adds the members that they stand for. Errors: kInvalidArgument.
Status AddUseMembers(KmsRequest& request, const UseOptions& options);
// Makes the call. nullopt: it was only to be tried, and would have succeeded.
Result<std::optional<AwsAnswer>> UseKey(Cli& cli, const KmsRequest& request,
                                        const UseOptions& options);

// "rsa-2048" as AWS writes it: "RSA_2048".
std::string AwsWord(std::string_view text);
std::string JoinWords(const std::vector<std::string>& texts);

// Each adds verbs below `secretfs key`.
void AddKeyManagement(const KeyVerbs& verbs);  // cli_keys.cc
void AddKeyAccess(const KeyVerbs& verbs);      // alias, grant, policy: cli_key_access.cc
void AddKeyCrypto(const KeyVerbs& verbs);      // encrypt, decrypt, ...: cli_key_crypto.cc
void AddKeySigning(const KeyVerbs& verbs);     // sign, mac, public-key, ...: cli_key_signing.cc
void AddKeyImport(const KeyVerbs& verbs);      // cli_key_import.cc

}  // namespace secretfs::mount
