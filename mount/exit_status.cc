#include "mount/exit_status.h"

namespace secretfs::mount {

int ExitStatusOf(Code code) {
  switch (code) {
    case Code::kValidation:
    case Code::kInvalidArgument:
      return kExitUsage;
    case Code::kNotFound:
    case Code::kStale:
      return kExitNotFound;
    case Code::kPermissionDenied:
      return kExitDenied;
    case Code::kSealed:
      return kExitSealed;
    case Code::kConflict:
    case Code::kAlreadyExists:
    case Code::kFailedPrecondition:
      return kExitConflict;
    case Code::kLimitExceeded:
    case Code::kKeyUnavailable:
    case Code::kCorrupt:
    case Code::kUnavailable:
    case Code::kInternal:
      return kExitError;
  }
  return kExitError;
}

}  // namespace secretfs::mount
