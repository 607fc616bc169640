#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"

namespace secretfs::crypto {

inline constexpr size_t kAesKeyBytes = 32;
inline constexpr size_t kGcmNonceBytes = 12;
inline constexpr size_t kGcmTagBytes = 16;

// AES-256-GCM (NIST SP 800-38D) under one key at a time, with the caller's nonces. All
// implementations give the same bytes. What is set up of a key lives in locked memory. Not
// thread-safe.
class GcmCipher {
 public:
  // The key is wiped.
  virtual ~GcmCipher() = default;

  // REQUIRES: key is 32 bytes.
  virtual void SetKey(ByteSpan key) = 0;
  // Wipes the key and all that was computed from it and from messages.
  virtual void ClearKey() = 0;

  // `out` receives ciphertext || tag (16 bytes). REQUIRES: a key is set, nonce is 12 bytes, out
  // plaintext.size() + 16; the pair (key, nonce) is never used twice.
  virtual void Seal(ByteSpan nonce, ByteSpan aad, ByteSpan plaintext, std::span<uint8_t> out) = 0;
  // The inverse: `sealed` is ciphertext || tag; `out` has sealed.size() - 16 bytes. REQUIRES: as
  // Seal(). Nobody may change `sealed` meanwhile: it may be read twice.
  // Errors: kCorrupt if anything differs from what was sealed; `out` is zeroed then.
  virtual Status Open(ByteSpan nonce, ByteSpan aad, ByteSpan sealed, std::span<uint8_t> out) = 0;
};

// OpenSSL's, everywhere.
std::unique_ptr<GcmCipher> NewOpensslGcm();
// ipsec-mb's for AVX-512 with VAES and VPCLMULQDQ, which OpenSSL uses from 3.1 on: 64 KiB take
// 2.8 us where OpenSSL 3.0 takes 11.2, 64 bytes 0.13 us where it takes 0.36. Null if the build or
// the processor has none of it.
std::unique_ptr<GcmCipher> NewVectorGcm();
// The faster one of those that there are.
std::unique_ptr<GcmCipher> NewGcmCipher();

// Seal() and Open() of a key that is used once.
void GcmSeal(ByteSpan key, ByteSpan nonce, ByteSpan aad, ByteSpan plaintext,
             std::span<uint8_t> out);
Status GcmOpen(ByteSpan key, ByteSpan nonce, ByteSpan aad, ByteSpan sealed, std::span<uint8_t> out);

}  // namespace secretfs::crypto
