#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/random.h"
#include "crypto/secret_buffer.h"
#include "store/error_name.h"
#include "store/secret.h"
#include "store/secret_service.h"

namespace secretfs::mount {

// What an answer says, for people; the answer itself is AWS JSON.
struct FetchedValue {
  std::string version_id;
  store::ValueKind kind = store::ValueKind::kString;
  crypto::SecretBuffer bytes;
};
struct VersionSummary {
  std::string id;
  std::vector<std::string> labels;
  TimeMs created_at = 0;  // 0: the answer does not say.
};
struct SecretSummary {
  std::string arn;
  std::string name;
  std::string description;
  std::string kms_key;  // Empty: the default key.
  TimeMs created_at = 0;
  TimeMs changed_at = 0;
  std::optional<TimeMs> deletion_at;
  std::map<std::string, std::string> tags;
  std::vector<VersionSummary> versions;  // Those with labels.

  // The id of the version that holds `label`; empty if none does.
  std::string HolderOf(std::string_view label) const;
};
struct AuditLine {
  uint64_t sequence = 0;
  std::string time;
  std::string principal;
  std::string event;
  std::string secret;
  std::string version;  // Id, or else the label that was asked for.
  std::string door;
  std::string error;  // Empty: allowed and done.
};
struct AuditVerdict {
  bool intact = false;
  uint64_t events = 0;
  uint64_t segments = 0;
  std::string head_hash;
  std::string problem;
};

// The bytes of an answer, exactly as the daemon sent them; may hold a value.
using AwsAnswer = crypto::SecretBuffer;

// Asks the daemon behind the socket for the operation `target` and waits. Errors: those of
// PostToSocket(); what the daemon refuses, with its message and the code that its error name stands
// for.
Result<AwsAnswer> CallDaemon(const std::string& socket_path, const std::string& target,
                             const crypto::SecretBuffer& body);

// The daemon's operations for the command line. Each call opens a connection of its own. Errors:
// those of PostToSocket(), and what the daemon refuses, with its message and the code that its
// error name stands for.
class AwsClient {
 public:
  // `random` must outlive the client; it makes the ClientRequestTokens.
  AwsClient(std::string socket_path, crypto::RandomSource& random)
      : socket_path_(std::move(socket_path)), random_(random) {}

  struct NewSecret {
    std::string name;
    std::string description;
    std::string kms_key;  // Empty: the default key.
    std::map<std::string, std::string> tags;
    std::optional<store::ValueKind> kind;  // Empty: no value.
    ByteSpan value;
  };
  Result<AwsAnswer> CreateSecret(const NewSecret& secret) const;

  struct NewVersion {
    std::string name;
    std::vector<std::string> labels;
    std::optional<std::string> if_version;  // "": only if there is no current version.
    store::ValueKind kind = store::ValueKind::kString;
    ByteSpan value;
  };
  Result<AwsAnswer> PutSecretValue(const NewVersion& version) const;

  struct SecretUpdate {
    std::string name;
    std::optional<std::string> description;
    std::optional<std::string> kms_key;
  };
  Result<AwsAnswer> UpdateSecret(const SecretUpdate& update) const;

  Result<AwsAnswer> GetSecretValue(const std::string& name,
                                   const store::VersionSelector& selector) const;
  Result<AwsAnswer> DescribeSecret(const std::string& name) const;
  Result<AwsAnswer> ListSecretVersionIds(const std::string& name) const;
  // All pages as one answer.
  Result<AwsAnswer> ListSecrets(const std::string& prefix, bool include_deleted) const;

  struct LabelMove {
    std::string name;
    std::string label;
    std::string from;  // Empty: none.
    std::string to;
  };
  Result<AwsAnswer> UpdateSecretVersionStage(const LabelMove& move) const;
  Result<AwsAnswer> DeleteSecret(const std::string& name, std::optional<int64_t> window_days,
                                 bool force) const;
  Result<AwsAnswer> RestoreSecret(const std::string& name) const;
  Result<AwsAnswer> Status() const;
  // The newest `limit` events, oldest first.
  Result<AwsAnswer> ListAuditEvents(int64_t limit) const;
  Result<AwsAnswer> VerifyAudit() const;

 private:
  std::string NewToken() const;
  Result<AwsAnswer> Call(const std::string& target, const crypto::SecretBuffer& body) const;

  const std::string socket_path_;
  crypto::RandomSource& random_;
};

// Answers taken apart. Errors: kInternal if an answer is not what the daemon sends.
Result<FetchedValue> ParseValue(const AwsAnswer& answer);
Result<std::string> ParseVersionId(const AwsAnswer& answer);  // Empty: no version was made.
Result<SecretSummary> ParseDescription(const AwsAnswer& answer);
Result<std::vector<SecretSummary>> ParseSecretList(const AwsAnswer& answer);
Result<std::vector<VersionSummary>> ParseVersions(const AwsAnswer& answer);  // Oldest first.
Result<TimeMs> ParseDeletionDate(const AwsAnswer& answer);
Result<std::vector<AuditLine>> ParseAuditEvents(const AwsAnswer& answer);
Result<AuditVerdict> ParseAuditVerdict(const AwsAnswer& answer);
// The members of an object as text, nested ones as "outer.inner", in order.
Result<std::vector<std::pair<std::string, std::string>>> ParseFields(const AwsAnswer& answer);

// An error as one line of JSON: {"error":{"code":"ResourceNotFoundException","message":"..."}}.
std::string ErrorJson(const Error& error,
                      store::AwsService service = store::AwsService::kSecretsManager);
// One JSON object with string members.
std::string FieldsJson(const std::vector<std::pair<std::string, std::string>>& fields);

}  // namespace secretfs::mount
