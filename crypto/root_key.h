#pragma once

#include <functional>
#include <memory>
#include <string>
#include <variant>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "crypto/kdf.h"
#include "crypto/random.h"
#include "crypto/secret_buffer.h"

namespace secretfs::crypto {

// The key above all others. It wraps the store key and KMS key material and is never handed out, so
// hardware that cannot export a key is just another implementation. Thread-safe.
class RootKey {
 public:
  virtual ~RootKey() = default;
  // `purpose` is bound to the wrapped bytes: the same purpose must be given to Unwrap().
  virtual Result<Bytes> Wrap(const SecretBuffer& material, ByteSpan purpose) = 0;
  // Errors: kCorrupt if this key did not wrap `wrapped` for `purpose`; kUnavailable if a device is
  // gone.
  virtual Result<SecretBuffer> Unwrap(ByteSpan wrapped, ByteSpan purpose) = 0;
};

inline constexpr size_t kRootKeyBytesMin = 32;
inline constexpr size_t kRootKeyBytesMax = 4096;

// How to reach a store's root key; kept in clear in the store's header (crypto/FORMAT.md).
struct KeyFileSource {
  std::string path;  // Absolute.
};
struct PassphraseSource {
  Argon2Params params;
  Bytes salt;  // 16 bytes.
};
struct CredentialSource {
  std::string
      name;  // A file of $CREDENTIALS_DIRECTORY (systemd.exec(5), LoadCredentialEncrypted=).
};
using RootKeySource = std::variant<KeyFileSource, PassphraseSource, CredentialSource>;

// Asks a person or a pipe for the passphrase; called only for a PassphraseSource.
using PassphrasePrompt = std::function<Result<SecretBuffer>()>;

// What the process's environment offers to OpenRootKey(), so that tests need not change it.
struct RootKeyEnvironment {
  std::string credentials_directory;  // Empty: none.
  PassphrasePrompt prompt;
  // Whether a root key opens the store; empty: nobody knows yet.
  std::function<bool(RootKey&)> opens = nullptr;
  // Where a predecessor left the secret, and where it is left for a successor
  // (root_key_deposit.h); -1: nowhere.
  int deposit = -1;
};

// Obtains the root key that `source` describes, or that a predecessor left and that opens the
// store. The content of a key file or a credential is 32 to 4096 secret bytes, taken exactly as
// they are; the wrapping key is HKDF-SHA-256 of them (of Argon2id's output for a passphrase).
//
// Errors: kNotFound if the file or credential does not exist; kPermissionDenied if it cannot be
// read, or if group or others can read or write it; kInvalidArgument for a bad length or an empty
// passphrase; kUnavailable if nobody can be asked for a passphrase. `random` must outlive the key.
Result<std::unique_ptr<RootKey>> OpenRootKey(const RootKeySource& source,
                                             const RootKeyEnvironment& environment,
                                             RandomSource& random);

// The secret that `source` leads to, for a root key that no store has yet: a deposit is not asked.
// Errors: as OpenRootKey().
Result<SecretBuffer> ObtainRootKeySecret(const RootKeySource& source,
                                         const RootKeyEnvironment& environment);
// The root key of such a secret. `random` must outlive it.
std::unique_ptr<RootKey> MakeRootKey(const SecretBuffer& secret, RandomSource& random);

// Creates `path` (must not exist; mode 0400) with a new key: 64 hexadecimal digits of 32 random
// bytes and a newline, durable before this returns. Errors: kAlreadyExists, kUnavailable.
Status CreateKeyFile(const std::string& path, RandomSource& random);

// "file:PATH", "passphrase" or "credential:NAME" as the command line and config write it. A new
// PassphraseSource gets a fresh salt. Errors: kInvalidArgument naming the three forms.
Result<RootKeySource> ParseRootKeySource(std::string_view text, RandomSource& random);
// The inverse, for people: never a secret.
std::string DescribeRootKeySource(const RootKeySource& source);

// The header's encoding (crypto/FORMAT.md, "Root key source"). Errors of Decode: kCorrupt.
Bytes EncodeRootKeySource(const RootKeySource& source);
Result<RootKeySource> DecodeRootKeySource(ByteSpan encoded);

}  // namespace secretfs::crypto
