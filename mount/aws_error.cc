#include "mount/aws_error.h"

#include <array>
#include <utility>

namespace secretfs::mount {

std::string_view AwsErrorName(Code code) {
  switch (code) {
    case Code::kValidation:
      return "ValidationException";
    case Code::kInvalidArgument:
      return "InvalidParameterException";
    case Code::kFailedPrecondition:
      return "InvalidRequestException";
    case Code::kNotFound:
    case Code::kStale:
      return "ResourceNotFoundException";
    case Code::kAlreadyExists:
      return "ResourceExistsException";
    case Code::kConflict:
      return "PreconditionNotMetException";
    case Code::kPermissionDenied:
      return "AccessDeniedException";
    case Code::kLimitExceeded:
      return "LimitExceededException";
    case Code::kSealed:
      return "StoreSealedException";
    case Code::kKeyUnavailable:
      return "DecryptionFailure";
    case Code::kCorrupt:
    case Code::kUnavailable:
    case Code::kInternal:
      return "InternalServiceError";
  }
  return "InternalServiceError";
}

unsigned AwsHttpStatus(Code code) {
  constexpr unsigned kBadRequest = 400;
  constexpr unsigned kServerError = 500;
  return AwsErrorName(code) == AwsErrorName(Code::kInternal) ? kServerError : kBadRequest;
}

Code CodeOfAwsError(std::string_view name) {
  static constexpr std::array<Code, 10> kNamed = {
      Code::kValidation,    Code::kInvalidArgument, Code::kFailedPrecondition, Code::kNotFound,
      Code::kAlreadyExists, Code::kConflict,        Code::kPermissionDenied,   Code::kLimitExceeded,
      Code::kSealed,        Code::kKeyUnavailable,
  };
  for (Code code : kNamed) {
    if (AwsErrorName(code) == name) return code;
  }
  if (name == kUnknownOperation || name == kSerialization || name == kInvalidNextToken) {
    return Code::kValidation;
  }
  return Code::kInternal;
}

}  // namespace secretfs::mount
