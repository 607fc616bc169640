#pragma once

#include <string_view>

#include "fs/callers.h"
#include "mount/aws_kms_operations.h"
#include "mount/aws_operation.h"
#include "mount/http_message.h"
#include "mount/root_key_changer.h"
#include "mount/status.h"
#include "store/secret_service.h"

namespace secretfs::mount {

// AWS JSON 1.1 over the services of secrets and of KMS keys (aws-semantics sections 1, 2 and 4):
// turns a request into the service's call and its result into the answer, and decides nothing
// itself. `X-Amz-Target: secretsmanager.<Op>` and `TrentService.<Op>` (KMS) are the operations of
// AWS; `secretfs.<Op>` (Status, ListAuditEvents, VerifyAudit,
// Rekey) are ours, and so is the member
// IfVersionId of PutSecretValue. Thread-safe.
class AwsEndpoint {
 public:
  // All must outlive the endpoint.
  AwsEndpoint(store::SecretService& service, fs::Callers& callers, StatusReporter& status,
              RootKeyChanger& root_keys)
      : service_(service),
        callers_(callers),
        status_(status),
        root_keys_(root_keys),
        kms_(service.kms(), service.realm()) {}

  // The caller is who the kernel says is at the other end of the socket.
  HttpAnswer Answer(HttpRequest request);

 private:
  struct Operation;
  static const Operation* FindOperation(std::string_view target);
  AwsOutcome Run(const HttpRequest& request, store::AwsService service);

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
  AwsOutcome Rekey(AwsCall& call);

  store::SecretService& service_;
  fs::Callers& callers_;
  StatusReporter& status_;
  RootKeyChanger& root_keys_;
  AwsKmsOperations kms_;
};

}  // namespace secretfs::mount
