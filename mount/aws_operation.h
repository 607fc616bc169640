#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "crypto/base/result.h"
#include "mount/aws_json.h"
#include "mount/http_message.h"
#include "store/principal.h"

namespace secretfs::mount {

// Why an operation failed. What its error is called on the wire, AwsEndpoint asks AwsErrorName() of
// the service that was called.
struct AwsFailure {
  // Implicit, so that TRY() works in an operation.
  AwsFailure(Error failed) : error(std::move(failed)) {}  // NOLINT(google-explicit-constructor)
  // For the names of aws_error.h that no Code stands for.
  AwsFailure(std::string_view error_name, std::string text)
      : error{Code::kValidation, std::move(text)}, name(error_name) {}

  Error error;
  std::string_view name;  // Empty: that of the error's code.
};
using AwsOutcome = std::expected<HttpBody, AwsFailure>;

// One call as an operation sees it.
struct AwsCall {
  const store::Caller& caller;
  const std::string& request_id;
  AwsMessage& message;
};

std::unexpected<AwsFailure> Refuse(Code code, std::string message);
// What is wrong with the members. REQUIRES: in.failed().
std::unexpected<AwsFailure> RefuseMember(const MemberReader& in);

}  // namespace secretfs::mount
