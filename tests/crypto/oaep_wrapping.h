#pragma once

#include "crypto/base/bytes.h"

namespace secretfs::testing {

// What a user does to import key material: RSAES_OAEP_SHA_256 of `material` under `public_key`, a
// SubjectPublicKeyInfo in DER.
Bytes WrapWithOaepSha256(ByteSpan public_key, ByteSpan material);

}  // namespace secretfs::testing
