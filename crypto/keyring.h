#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/aead.h"
#include "crypto/base/bytes.h"
#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/random.h"
#include "crypto/root_key.h"
#include "crypto/secret_buffer.h"

namespace secretfs::crypto {

// A key id is a UUID (16 bytes); a material id is 32 random bytes, which AWS shows as 64
// hexadecimal digits.
using KeyId = std::array<uint8_t, 16>;
using MaterialId = std::array<uint8_t, 32>;

// "01234567-89ab-cdef-0123-456789abcdef", lower case.
std::string FormatUuid(const std::array<uint8_t, 16>& uuid);
// A random (version 4) UUID, RFC 9562.
std::array<uint8_t, 16> NewUuid(RandomSource& random);

// Name/value pairs bound to a ciphertext, as in AWS KMS: not secret, compared byte for byte,
// order-free.
// By reference: the texts must outlive it.
using EncryptionContext = std::map<std::string_view, std::string_view>;

// U16 count, then for each pair in the order of key bytes: U32 length || key || U32 length ||
// value.
Bytes EncodeEncryptionContext(const EncryptionContext& context);

// One generation of a KMS key, as stored: the 32 secret bytes are wrapped by the root key.
struct WrappedMaterial {
  MaterialId id;
  TimeMs created_at;
  Bytes wrapped;
};
// All that the store keeps of one symmetric KMS key; `materials` oldest first, never empty, the
// last one encrypts.
struct KeyRecord {
  KeyId id;
  std::string alias;  // "alias/aws/secretsmanager"
  TimeMs created_at;
  std::vector<WrappedMaterial> materials;
};

// Creates a key with one generation. Errors: those of RootKey::Wrap.
Result<KeyRecord> NewKeyRecord(std::string alias, RootKey& root_key, TimeMs now,
                               RandomSource& random);
// Appends a generation, which encrypts from now on; the older ones still decrypt.
Status AddGeneration(KeyRecord& record, RootKey& root_key, TimeMs now, RandomSource& random);

// The unwrapped KMS keys of a store: encrypts small plaintexts (data keys) under a key's newest
// generation and decrypts under whichever generation the ciphertext names, for ever. Immutable
// after the Load() calls; then thread-safe.
class Keyring {
 public:
  // Unwraps every generation. Errors: kCorrupt (wrong root key or damaged record), kUnavailable.
  Status Load(const KeyRecord& record, RootKey& root_key);

  // Returns a ciphertext blob (crypto/FORMAT.md): header with key and material id, bound as
  // associated data together with `context`. Errors: kKeyUnavailable if the ring has no such key.
  Result<Bytes> Encrypt(const KeyId& key, const EncryptionContext& context,
                        const SecretBuffer& plaintext, RandomSource& random) const;

  // Errors: kCorrupt for anything that Encrypt() with this context did not make; kKeyUnavailable if
  // the blob names a key or generation that the ring does not have.
  Result<SecretBuffer> Decrypt(ByteSpan blob, const EncryptionContext& context) const;

 private:
  struct Generation {
    MaterialId id;
    std::unique_ptr<Aead> aead;
  };
  std::map<KeyId, std::vector<Generation>> keys_;
};

}  // namespace secretfs::crypto
