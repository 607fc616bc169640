#pragma once

#include <cstdint>
#include <string_view>

#include "crypto/base/result.h"

namespace secretfs::store {

enum class AwsService : uint8_t { kSecretsManager, kKms };

// The name that the AWS service gives to an error of this kind, exactly as its API model has it:
// what the endpoint answers as `__type` and the audit trail records as `errorCode`. One switch, no
// default.
std::string_view AwsErrorName(Code code, AwsService service = AwsService::kSecretsManager);

}  // namespace secretfs::store
