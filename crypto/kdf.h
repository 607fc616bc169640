#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "crypto/secret_buffer.h"

namespace secretfs::crypto {

// HKDF-SHA-256 (RFC 5869), extract and expand. `size_bytes` <= 8160.
SecretBuffer Hkdf(ByteSpan key, ByteSpan salt, ByteSpan info, size_t size_bytes);

// SHA-256 and HMAC-SHA-256, 32 bytes.
using Digest = std::array<uint8_t, 32>;
Digest Sha256(ByteSpan bytes);
Digest HmacSha256(ByteSpan key, ByteSpan message);

struct Argon2Params {
  uint32_t memory_kib = 256 * 1024;
  uint32_t passes = 3;
  uint32_t lanes = 1;
};

// Argon2id, version 0x13 (RFC 9106), 32 bytes. 256 MiB and 3 passes take about half a second on a
// server core. Errors: kInvalidArgument for parameters outside 8 MiB..4 GiB, 1..64 passes, 1..16
// lanes (a damaged or hostile header must not be able to exhaust the host, or to ask for next to
// nothing); kUnavailable if memory is short.
Result<SecretBuffer> Argon2id(ByteSpan passphrase, ByteSpan salt, const Argon2Params& params);

}  // namespace secretfs::crypto
