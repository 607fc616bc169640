#include "fs/errno_map.h"

#include <errno.h>

namespace secretfs::fs {

int ErrnoOf(Code code) {
  switch (code) {
    case Code::kValidation:
    case Code::kInvalidArgument:
      return EINVAL;
    // As for an immutable file: the object's state forbids it, whoever asks, and waiting does not
    // help.
    case Code::kFailedPrecondition:
      return EPERM;
    case Code::kNotFound:
      return ENOENT;
    case Code::kAlreadyExists:
      return EEXIST;
    case Code::kConflict:
      return EBUSY;
    case Code::kPermissionDenied:
      return EACCES;
    case Code::kLimitExceeded:
      return EDQUOT;
    case Code::kSealed:
      return ENOKEY;
    case Code::kKeyUnavailable:
      return EKEYREVOKED;
    case Code::kStale:
      return ESTALE;
    case Code::kCorrupt:
    case Code::kUnavailable:
    case Code::kInternal:
      return EIO;
  }
  return EIO;
}

}  // namespace secretfs::fs
