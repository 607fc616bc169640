#include "mount/aws_error.h"

#include <array>
#include <utility>

namespace secretfs::mount {

unsigned AwsHttpStatus(Code code) {
  constexpr unsigned kBadRequest = 400;
  constexpr unsigned kServerError = 500;
  return store::AwsErrorName(code) == store::AwsErrorName(Code::kInternal) ? kServerError
                                                                           : kBadRequest;
}

Code CodeOfAwsError(std::string_view name) {
  static constexpr std::array<Code, 10> kNamed = {
      Code::kValidation,    Code::kInvalidArgument, Code::kFailedPrecondition, Code::kNotFound,
      Code::kAlreadyExists, Code::kConflict,        Code::kPermissionDenied,   Code::kLimitExceeded,
      Code::kSealed,        Code::kKeyUnavailable,
  };
  for (Code code : kNamed) {
    if (store::AwsErrorName(code) == name) return code;
  }
  if (name == kUnknownOperation || name == kSerialization || name == kInvalidNextToken) {
    return Code::kValidation;
  }
  return Code::kInternal;
}

}  // namespace secretfs::mount
