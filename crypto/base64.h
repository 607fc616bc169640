#pragma once

#include <optional>
#include <string>

#include "crypto/base/bytes.h"
#include "crypto/secret_buffer.h"

namespace secretfs::crypto {

// RFC 4648 section 4, padded: the form of every blob in AWS JSON.
SecretBuffer Base64Encode(ByteSpan bytes);
// Accepts canonical input only (no white space, correct padding, zero trailing bits), else nullopt.
std::optional<SecretBuffer> Base64Decode(ByteSpan text);

}  // namespace secretfs::crypto
