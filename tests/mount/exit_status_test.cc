#include "mount/exit_status.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "mount/aws_error.h"

namespace secretfs::mount {
namespace {

struct Row {
  Code code;
  std::string name;  // For secrets.
  unsigned http_status;
  int exit_status;
  std::string kms_name = name;
};

// The contract with scripts and SDKs, written out.
const std::vector<Row> kTable = {
    {Code::kValidation, "ValidationException", 400, 2},
    {Code::kInvalidArgument, "InvalidParameterException", 400, 2, "ValidationException"},
    {Code::kFailedPrecondition, "InvalidRequestException", 400, 6, "KMSInvalidStateException"},
    {Code::kNotFound, "ResourceNotFoundException", 400, 3, "NotFoundException"},
    {Code::kAlreadyExists, "ResourceExistsException", 400, 6, "AlreadyExistsException"},
    {Code::kConflict, "PreconditionNotMetException", 400, 6, "ConflictException"},
    {Code::kPermissionDenied, "AccessDeniedException", 400, 4},
    {Code::kLimitExceeded, "LimitExceededException", 400, 1},
    {Code::kSealed, "StoreSealedException", 400, 5},
    {Code::kKeyUnavailable, "DecryptionFailure", 400, 1, "KeyUnavailableException"},
    {Code::kCorrupt, "InternalServiceError", 500, 1, "KMSInternalException"},
    {Code::kStale, "ResourceNotFoundException", 400, 3, "NotFoundException"},
    {Code::kUnavailable, "InternalServiceError", 500, 1, "KMSInternalException"},
    {Code::kCannotEncrypt, "EncryptionFailure", 400, 1, "KeyUnavailableException"},
    {Code::kDisabled, "DisabledException", 400, 1},
    {Code::kUnsupported, "UnsupportedOperationException", 400, 2},
    {Code::kInvalidKeyUsage, "InvalidKeyUsageException", 400, 2},
    {Code::kInvalidCiphertext, "InvalidCiphertextException", 400, 1},
    {Code::kIncorrectKey, "IncorrectKeyException", 400, 1},
    {Code::kInvalidSignature, "KMSInvalidSignatureException", 400, 1},
    {Code::kInvalidMac, "KMSInvalidMacException", 400, 1},
    {Code::kInvalidAliasName, "InvalidAliasNameException", 400, 2},
    {Code::kInvalidArn, "InvalidArnException", 400, 2},
    {Code::kInvalidGrantId, "InvalidGrantIdException", 400, 2},
    {Code::kInvalidGrantToken, "InvalidGrantTokenException", 400, 2},
    {Code::kInvalidMarker, "InvalidMarkerException", 400, 2},
    {Code::kInvalidTag, "TagException", 400, 2},
    {Code::kMalformedPolicy, "MalformedPolicyDocumentException", 400, 2},
    {Code::kInvalidImportToken, "InvalidImportTokenException", 400, 1},
    {Code::kExpiredImportToken, "ExpiredImportTokenException", 400, 1},
    {Code::kIncorrectKeyMaterial, "IncorrectKeyMaterialException", 400, 1},
    {Code::kDryRun, "DryRunOperationException", 400, 1},
    {Code::kInternal, "InternalServiceError", 500, 1, "KMSInternalException"},
};

TEST(ExitStatusTest, EveryCodeHasItsThreeForms) {
  EXPECT_EQ(kTable.size(), static_cast<size_t>(Code::kInternal) + 1);
  for (const Row& row : kTable) {
    EXPECT_EQ(store::AwsErrorName(row.code), row.name);
    EXPECT_EQ(store::AwsErrorName(row.code, store::AwsService::kKms), row.kms_name);
    EXPECT_EQ(AwsHttpStatus(row.code), row.http_status) << row.name;
    EXPECT_EQ(ExitStatusOf(row.code), row.exit_status) << row.name;
  }
}

TEST(ExitStatusTest, ErrorNameGivesTheExitStatusOfItsCode) {
  for (const Row& row : kTable) {
    EXPECT_EQ(ExitStatusOf(CodeOfAwsError(row.name)), row.exit_status) << row.name;
    EXPECT_EQ(ExitStatusOf(CodeOfAwsError(row.kms_name)), row.exit_status) << row.kms_name;
  }
  EXPECT_EQ(ExitStatusOf(CodeOfAwsError(kUnknownOperation)), kExitUsage);
  EXPECT_EQ(ExitStatusOf(CodeOfAwsError(kSerialization)), kExitUsage);
  EXPECT_EQ(ExitStatusOf(CodeOfAwsError(kInvalidNextToken)), kExitUsage);
  EXPECT_EQ(ExitStatusOf(CodeOfAwsError("SomethingNew")), kExitError);
}

}  // namespace
}  // namespace secretfs::mount
