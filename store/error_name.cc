#include "store/error_name.h"

namespace secretfs::store {

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

}  // namespace secretfs::store
