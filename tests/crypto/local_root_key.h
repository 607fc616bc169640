#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "crypto/root_key.h"

namespace secretfs::crypto {

// A root key like that of a key file that holds 32 bytes of value `byte`. (Through the passphrase's path the tests would
// pay for Argon2id, through a file's for the disk.) Stands beside the product's providers, which root_key_test covers.
class TestRootKey final : public RootKey {
 public:
  TestRootKey(uint8_t byte, RandomSource& random)
      : aead_(Hkdf(Bytes(kRootKeyBytesMin, byte), {}, AsBytes("secretfs root key v1"), 32)),
        random_(random) {}

  Result<Bytes> Wrap(const SecretBuffer& material, ByteSpan purpose) override {
    return aead_.Seal(material.Reveal(), purpose, random_);
  }
  Result<SecretBuffer> Unwrap(ByteSpan wrapped, ByteSpan purpose) override {
    return aead_.Open(wrapped, purpose);
  }

 private:
  const Aead aead_;
  RandomSource& random_;
};

}  // namespace secretfs::crypto
