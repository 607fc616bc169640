#pragma once

#include <cstdint>
#include <span>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "crypto/gcm.h"
#include "crypto/random.h"
#include "crypto/secret_buffer.h"

namespace secretfs::crypto {

inline constexpr size_t kXaesNonceBytes = 24;

// Authenticated encryption under one long-lived key: XAES-256-GCM (https://c2sp.org/XAES-256-GCM).
// A key for each message is derived with the SP 800-108 counter-mode KDF over CMAC-AES-256 from the
// first 12 nonce bytes, so a random nonce is safe for 2^80 messages and no count has to be kept.
// Thread-safe.
class Aead {
 public:
  static constexpr size_t kOverheadBytes = kXaesNonceBytes + kGcmTagBytes;

  // REQUIRES: key is 32 bytes.
  explicit Aead(SecretBuffer key);

  // Returns nonce (24 bytes) || ciphertext || tag (16 bytes).
  Bytes Seal(ByteSpan plaintext, ByteSpan aad, RandomSource& random) const;
  // As Seal(), with the caller's nonce (for test vectors and for callers that must write in place).
  void SealWithNonce(ByteSpan nonce, ByteSpan plaintext, ByteSpan aad,
                     std::span<uint8_t> out) const;

  // Errors: kCorrupt if `sealed` was not made by Seal() under this key with this `aad`.
  Result<SecretBuffer> Open(ByteSpan sealed, ByteSpan aad) const;
  // As Open(), into ordinary memory: for records that are metadata, not secrets.
  Result<Bytes> OpenMetadata(ByteSpan sealed, ByteSpan aad) const;

 private:
  Status OpenInto(ByteSpan sealed, ByteSpan aad, std::span<uint8_t> out) const;

  uint64_t key_number_;
  SecretBuffer key_;
  SecretBuffer cmac_subkey_;  // K1 of SP 800-38B for key_: 16 bytes.
};

}  // namespace secretfs::crypto
