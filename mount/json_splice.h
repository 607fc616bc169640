#pragma once

#include <string_view>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "crypto/secret_buffer.h"

namespace secretfs::mount {

// `text`, a JSON object, with its top-level member `key` set to the string `value`; every other
// byte stays as it was. A key that is not there is added at the end. REQUIRES: key and value are
// valid UTF-8. Errors: kInvalidArgument if `text` is no JSON object.
Result<crypto::SecretBuffer> SetJsonMember(ByteSpan text, std::string_view key, ByteSpan value);

}  // namespace secretfs::mount
