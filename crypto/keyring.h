#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "crypto/asymmetric_key.h"
#include "crypto/base/bytes.h"
#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/key_spec.h"
#include "crypto/mac.h"
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

// A generation of key material, wrapped by the root key for its place: no other key or generation
// can take it.
struct WrappedMaterial {
  MaterialId id;
  Bytes wrapped;
};
// Draws an id and a new symmetric material. Errors: those of RootKey::Wrap.
Result<WrappedMaterial> NewMaterial(const KeyId& key, RootKey& root_key, RandomSource& random);
Result<Bytes> WrapMaterial(RootKey& root_key, const KeyId& key, const MaterialId& material,
                           const SecretBuffer& bytes);
// Errors: kCorrupt (wrong root key, damaged, or another key's), kUnavailable.
Result<SecretBuffer> UnwrapMaterial(RootKey& root_key, const KeyId& key, const MaterialId& material,
                                    ByteSpan wrapped);

// What a ciphertext blob says it was made with; nullopt if it is no blob of a known version.
struct BlobOrigin {
  KeyId key;
  MaterialId material;
};
std::optional<BlobOrigin> ReadBlobOrigin(ByteSpan blob);

// Where a Keyring gets what it does not hold. Thread-safe.
class KeySource {
 public:
  virtual ~KeySource() = default;
  struct Material {
    MaterialId id;
    KeySpec spec;
    SecretBuffer bytes;
    std::optional<TimeMs> valid_to;  // Not to be used from then on.
  };
  // Unwraps the generation `material` of `key`, or the current one if that is null.
  // Errors: kKeyUnavailable if the key does not exist or its state forbids its use; kCorrupt;
  // kUnavailable.
  virtual Result<Material> Load(const KeyId& key, const MaterialId* material) = 0;
};

// The KMS keys in use, ready to be used: encrypts small plaintexts (data keys) under a key's
// current generation and decrypts under whichever generation the ciphertext names, for ever. Holds
// a bounded number of generations, the ones used last; the rest is unwrapped when it is asked for.
// Thread-safe.
class Keyring {
 public:
  static constexpr size_t kCapacityDefault = 256;

  // Both must outlive the ring.
  Keyring(KeySource& source, const Clock& clock, size_t capacity = kCapacityDefault);
  ~Keyring();

  // Returns a ciphertext blob (crypto/FORMAT.md): header with key and material id, bound as
  // associated data together with `context`. Errors: those of the source; kInvalidKeyUsage if the
  // key is not symmetric.
  Result<Bytes> Encrypt(const KeyId& key, const EncryptionContext& context,
                        const SecretBuffer& plaintext, RandomSource& random);

  // Errors: kCorrupt for anything that Encrypt() with this context did not make; those of the
  // source if the blob names a key or generation that it does not give.
  Result<SecretBuffer> Decrypt(ByteSpan blob, const EncryptionContext& context);

  // The current generation of a key that is a key pair or for macs; alive for as long as it is
  // held. Errors: those of the source; kInvalidKeyUsage if the key is of another kind.
  Result<std::shared_ptr<const AsymmetricKey>> FindKeyPair(const KeyId& key);
  Result<std::shared_ptr<const MacKey>> FindMacKey(const KeyId& key);

  // Whether the current generation of `key` can be used. Errors: those of the source.
  Status Check(const KeyId& key);

  // Forgets what is held of `key`. What was loaded before a change of the key became visible in the
  // source is not held after the Forget() that follows the change.
  void Forget(const KeyId& key);
  // Number of generations held.
  size_t size() const;

 private:
  struct Held;
  struct Slots;
  using HeldPtr = std::shared_ptr<const Held>;
  // `material` null: the current one.
  Result<HeldPtr> Find(const KeyId& key, const MaterialId* material);
  static Result<HeldPtr> Prepare(const KeyId& key, KeySource::Material material);

  KeySource& source_;
  const Clock& clock_;
  const size_t capacity_;
  const std::unique_ptr<Slots> slots_;
};

}  // namespace secretfs::crypto
