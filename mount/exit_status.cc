#include "mount/exit_status.h"

namespace secretfs::mount {

int ExitStatusOf(Code code) {
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
    case Code::kUnsupported:
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
    case Code::kCannotEncrypt:
    case Code::kDisabled:
    case Code::kInvalidCiphertext:
    case Code::kInvalidSignature:
    case Code::kInvalidMac:
    case Code::kIncorrectKey:
    case Code::kInvalidImportToken:
    case Code::kExpiredImportToken:
    case Code::kIncorrectKeyMaterial:
    case Code::kDryRun:
    case Code::kCorrupt:
    case Code::kUnavailable:
    case Code::kInternal:
      return kExitError;
  }
  return kExitError;
}

}  // namespace secretfs::mount
