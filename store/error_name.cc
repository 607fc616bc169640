#include "store/error_name.h"

namespace secretfs::store {
namespace {

struct Names {
  std::string_view secrets_manager;
  std::string_view kms = secrets_manager;
};

Names NamesOf(Code code) {
  switch (code) {
    case Code::kValidation:
      return {"ValidationException"};
    case Code::kInvalidArgument:
      return {"InvalidParameterException", "ValidationException"};
    case Code::kFailedPrecondition:
      return {"InvalidRequestException", "KMSInvalidStateException"};
    case Code::kNotFound:
    case Code::kStale:
      return {"ResourceNotFoundException", "NotFoundException"};
    case Code::kAlreadyExists:
      return {"ResourceExistsException", "AlreadyExistsException"};
    case Code::kConflict:
      return {"PreconditionNotMetException", "ConflictException"};
    case Code::kPermissionDenied:
      return {"AccessDeniedException"};
    case Code::kLimitExceeded:
      return {"LimitExceededException"};
    case Code::kSealed:
      return {"StoreSealedException"};
    case Code::kKeyUnavailable:
      return {"DecryptionFailure", "KeyUnavailableException"};
    case Code::kCannotEncrypt:
      return {"EncryptionFailure", "KeyUnavailableException"};
    case Code::kDisabled:
      return {"DisabledException"};
    case Code::kUnsupported:
      return {"UnsupportedOperationException"};
    case Code::kInvalidKeyUsage:
      return {"InvalidKeyUsageException"};
    case Code::kInvalidCiphertext:
      return {"InvalidCiphertextException"};
    case Code::kIncorrectKey:
      return {"IncorrectKeyException"};
    case Code::kInvalidSignature:
      return {"KMSInvalidSignatureException"};
    case Code::kInvalidMac:
      return {"KMSInvalidMacException"};
    case Code::kInvalidAliasName:
      return {"InvalidAliasNameException"};
    case Code::kInvalidArn:
      return {"InvalidArnException"};
    case Code::kInvalidGrantId:
      return {"InvalidGrantIdException"};
    case Code::kInvalidGrantToken:
      return {"InvalidGrantTokenException"};
    case Code::kInvalidMarker:
      return {"InvalidMarkerException"};
    case Code::kInvalidTag:
      return {"TagException"};
    case Code::kMalformedPolicy:
      return {"MalformedPolicyDocumentException"};
    case Code::kInvalidImportToken:
      return {"InvalidImportTokenException"};
    case Code::kExpiredImportToken:
      return {"ExpiredImportTokenException"};
    case Code::kIncorrectKeyMaterial:
      return {"IncorrectKeyMaterialException"};
    case Code::kDryRun:
      return {"DryRunOperationException"};
    case Code::kCorrupt:
    case Code::kUnavailable:
    case Code::kInternal:
      return {"InternalServiceError", "KMSInternalException"};
  }
  return {"InternalServiceError", "KMSInternalException"};
}

}  // namespace

std::string_view AwsErrorName(Code code, AwsService service) {
  const Names names = NamesOf(code);
  return service == AwsService::kKms ? names.kms : names.secrets_manager;
}

}  // namespace secretfs::store
