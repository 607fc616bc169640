#pragma once

#include <string_view>

#include "crypto/base/result.h"
#include "store/error_name.h"

namespace secretfs::mount {

// The names on the wire are store::AwsErrorName()'s; these three no Code stands for, because the
// request never got as far as an operation, or because AWS has a name of its own for one parameter.
inline constexpr std::string_view kUnknownOperation = "UnknownOperationException";
inline constexpr std::string_view kSerialization = "SerializationException";
inline constexpr std::string_view kInvalidNextToken = "InvalidNextTokenException";

// 400 for what a client did or may not do; 500 only where sending the request again can help, since
// SDKs do that.
unsigned AwsHttpStatus(Code code, store::AwsService service = store::AwsService::kSecretsManager);

// The inverse of AwsErrorName() for a client: what kind of failure a name means. Unknown names are
// kInternal. ExitStatusOf() of it is the exit status of the command.
Code CodeOfAwsError(std::string_view name);

}  // namespace secretfs::mount
