#pragma once

#include <cstdint>
#include <span>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "crypto/random.h"
#include "crypto/secret_buffer.h"

struct evp_cipher_ctx_st;  // OpenSSL's EVP_CIPHER_CTX.

namespace secretfs::crypto {

inline constexpr size_t kAesKeyBytes = 32;
inline constexpr size_t kGcmNonceBytes = 12;
inline constexpr size_t kGcmTagBytes = 16;
inline constexpr size_t kXaesNonceBytes = 24;

// AES-256-GCM (NIST SP 800-38D) with the caller's nonce. `out` receives ciphertext || tag (16
// bytes). REQUIRES: key is 32 bytes, nonce 12, out plaintext.size() + 16; the pair (key, nonce) is
// never used twice.
void GcmSeal(ByteSpan key, ByteSpan nonce, ByteSpan aad, ByteSpan plaintext,
             std::span<uint8_t> out);

// The inverse: `sealed` is ciphertext || tag; `out` has sealed.size() - 16 bytes.
// Errors: kCorrupt if anything differs from what was sealed; `out` is zeroed then.
Status GcmOpen(ByteSpan key, ByteSpan nonce, ByteSpan aad, ByteSpan sealed, std::span<uint8_t> out);

// AES-256-GCM under one key with the caller's nonces, for many messages: the key is set up once.
// Not thread-safe.
class GcmSealer {
 public:
  // REQUIRES: key is 32 bytes.
  explicit GcmSealer(ByteSpan key);
  ~GcmSealer();
  GcmSealer(const GcmSealer&) = delete;
  GcmSealer& operator=(const GcmSealer&) = delete;

  // As the function GcmSeal().
  void Seal(ByteSpan nonce, ByteSpan aad, ByteSpan plaintext, std::span<uint8_t> out);

 private:
  evp_cipher_ctx_st* const context_;
};

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
