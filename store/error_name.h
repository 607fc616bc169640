#pragma once

#include <string_view>

#include "crypto/base/result.h"

namespace secretfs::store {

// The name that AWS Secrets Manager gives to an error of this kind: what the endpoint answers as
// `__type` and the audit trail records as `errorCode`. One switch, no default.
std::string_view AwsErrorName(Code code);

}  // namespace secretfs::store
