#include "mount/exit_status.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "mount/aws_error.h"

namespace secretfs::mount {
namespace {

struct Row {
  Code code;
  std::string name;
  unsigned http_status;
  int exit_status;
};

// The contract with scripts and SDKs, written out.
const std::vector<Row> kTable = {
    {Code::kValidation, "ValidationException", 400, 2},
    {Code::kInvalidArgument, "InvalidParameterException", 400, 2},
    {Code::kFailedPrecondition, "InvalidRequestException", 400, 6},
    {Code::kNotFound, "ResourceNotFoundException", 400, 3},
    {Code::kAlreadyExists, "ResourceExistsException", 400, 6},
    {Code::kConflict, "PreconditionNotMetException", 400, 6},
    {Code::kPermissionDenied, "AccessDeniedException", 400, 4},
    {Code::kLimitExceeded, "LimitExceededException", 400, 1},
    {Code::kSealed, "StoreSealedException", 400, 5},
    {Code::kKeyUnavailable, "DecryptionFailure", 400, 1},
    {Code::kCorrupt, "InternalServiceError", 500, 1},
    {Code::kStale, "ResourceNotFoundException", 400, 3},
    {Code::kUnavailable, "InternalServiceError", 500, 1},
    {Code::kInternal, "InternalServiceError", 500, 1},
};

TEST(ExitStatusTest, EveryCodeHasItsThreeForms) {
  EXPECT_EQ(kTable.size(), static_cast<size_t>(Code::kInternal) + 1);
  for (const Row& row : kTable) {
    EXPECT_EQ(store::AwsErrorName(row.code), row.name);
    EXPECT_EQ(AwsHttpStatus(row.code), row.http_status) << row.name;
    EXPECT_EQ(ExitStatusOf(row.code), row.exit_status) << row.name;
  }
}

TEST(ExitStatusTest, ErrorNameGivesTheExitStatusOfItsCode) {
  for (const Row& row : kTable) {
    EXPECT_EQ(ExitStatusOf(CodeOfAwsError(row.name)), row.exit_status) << row.name;
  }
  EXPECT_EQ(ExitStatusOf(CodeOfAwsError(kUnknownOperation)), kExitUsage);
  EXPECT_EQ(ExitStatusOf(CodeOfAwsError(kSerialization)), kExitUsage);
  EXPECT_EQ(ExitStatusOf(CodeOfAwsError(kInvalidNextToken)), kExitUsage);
  EXPECT_EQ(ExitStatusOf(CodeOfAwsError("SomethingNew")), kExitError);
}

}  // namespace
}  // namespace secretfs::mount
