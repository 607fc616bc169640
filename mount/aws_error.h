#pragma once

#include <string_view>

#include "crypto/base/result.h"

namespace secretfs::mount {

// Names that no Code stands for: the request never got as far as an operation.
inline constexpr std::string_view kUnknownOperation = "UnknownOperationException";
inline constexpr std::string_view kSerialization = "SerializationException";
inline constexpr std::string_view kInvalidNextToken = "InvalidNextTokenException";

// The `__type` of an AWS JSON error: a shape of the Secrets Manager model where it has one. kSealed
// has none and gets the local name "StoreSealedException". One switch, no default.
std::string_view AwsErrorName(Code code);

// 400 for what a client did or may not do; 500 only where sending the request again can help, since
// SDKs do that.
unsigned AwsHttpStatus(Code code);

// The inverse of AwsErrorName() for a client: what kind of failure a name means. Unknown names are
// kInternal.
Code CodeOfAwsError(std::string_view name);

}  // namespace secretfs::mount
