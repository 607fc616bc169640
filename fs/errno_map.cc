#include "fs/errno_map.h"

#include <errno.h>

namespace secretfs::fs {

int ErrnoOf(Code code) {
  switch (code) {
    case Code::kValidation:
    case Code::kInvalidArgument:
    case Code::kInvalidKeyUsage:
    case Code::kInvalidAliasName:
    case Code::kInvalidArn:
    case Code::kInvalidGrantId:
    case Code::kInvalidGrantToken:
    case Code::kInvalidMarker:
    case Code::kInvalidTag:
    case Code::kMalformedPolicy:
    case Code::kInvalidImportToken:
    case Code::kExpiredImportToken:
    case Code::kIncorrectKeyMaterial:
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
    case Code::kCannotEncrypt:
    case Code::kDisabled:
      return EKEYREVOKED;
    case Code::kUnsupported:
      return EOPNOTSUPP;
    case Code::kInvalidCiphertext:
    case Code::kInvalidSignature:
    case Code::kInvalidMac:
    case Code::kIncorrectKey:
      return EBADMSG;
    case Code::kDryRun:
      return ECANCELED;
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
