#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "crypto/base/result.h"
#include "fs/callers.h"
#include "mount/http_message.h"
#include "mount/status.h"
#include "store/secret_service.h"

namespace secretfs::mount {

// A failed operation as the wire shows it. An Error becomes one by aws_error.h, so TRY() works in
// an operation.
struct AwsFailure {
  // Implicit, for TRY().
  AwsFailure(const Error& error);  // NOLINT(google-explicit-constructor)
  // For the names that no Code stands for; HTTP 400.
  AwsFailure(std::string_view error_name, std::string text);

  std::string_view name;
  unsigned http_status;
  std::string message;
};
using AwsOutcome = std::expected<HttpBody, AwsFailure>;

struct AwsMessage;

// One call as an operation sees it.
struct AwsCall {
  const store::Caller& caller;
  const std::string& request_id;
  AwsMessage& message;
};

// AWS JSON 1.1 over the secret service (aws-semantics sections 1 and 2): turns a request into the
// service's call and its result into the answer, and decides nothing itself. `X-Amz-Target:
// secretsmanager.<Op>` are the operations of AWS; `secretfs.<Op>` (Status, ListAuditEvents,
// VerifyAudit) are ours, and so is the member IfVersionId of PutSecretValue. Thread-safe.
class AwsEndpoint {
 public:
  // All must outlive the endpoint.
  AwsEndpoint(store::SecretService& service, fs::Callers& callers, StatusReporter& status)
      : service_(service), callers_(callers), status_(status) {}

  // The caller is who the kernel says is at the other end of the socket.
  HttpAnswer Answer(HttpRequest request);

 private:
  struct Operation;
  static const Operation* FindOperation(std::string_view target);
  AwsOutcome Run(const HttpRequest& request);

  // Secrets Manager, in aws_secret_operations.cc.
  AwsOutcome CreateSecret(AwsCall& call);
  AwsOutcome PutSecretValue(AwsCall& call);
  AwsOutcome UpdateSecret(AwsCall& call);
  AwsOutcome GetSecretValue(AwsCall& call);
  AwsOutcome DescribeSecret(AwsCall& call);
  AwsOutcome ListSecrets(AwsCall& call);
  AwsOutcome ListSecretVersionIds(AwsCall& call);
  AwsOutcome UpdateSecretVersionStage(AwsCall& call);
  AwsOutcome DeleteSecret(AwsCall& call);
  AwsOutcome RestoreSecret(AwsCall& call);
  AwsOutcome TagResource(AwsCall& call);
  AwsOutcome UntagResource(AwsCall& call);

  // Ours.
  AwsOutcome Status(AwsCall& call);
  AwsOutcome ListAuditEvents(AwsCall& call);
  AwsOutcome VerifyAudit(AwsCall& call);

  store::SecretService& service_;
  fs::Callers& callers_;
  StatusReporter& status_;
};

}  // namespace secretfs::mount
