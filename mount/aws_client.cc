#include "mount/aws_client.h"

#include <algorithm>
#include <utility>

#include "crypto/keyring.h"
#include "mount/aws_answer.h"
#include "mount/aws_error.h"
#include "mount/aws_json.h"
#include "mount/socket_client.h"

namespace secretfs::mount {
namespace {

constexpr int kStatusOk = 200;

crypto::SecretBuffer BodyOf(const Json& members) {
  return crypto::SecretBuffer::CopyOf(AsBytes(ToText(members)));
}

uint64_t CountOf(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

SecretSummary SummaryOf(const Json& object, const char* versions_member) {
  SecretSummary secret{.arn = TextOf(object, "ARN"),
                       .name = TextOf(object, "Name"),
                       .description = TextOf(object, "Description"),
                       .kms_key = TextOf(object, "KmsKeyId"),
                       .created_at = TimeMember(object, "CreatedDate"),
                       .changed_at = TimeMember(object, "LastChangedDate"),
                       .deletion_at = std::nullopt,
                       .tags = {},
                       .versions = {}};
  if (object.contains("DeletedDate")) secret.deletion_at = TimeMember(object, "DeletedDate");
  if (const auto tags = object.find("Tags"); tags != object.end()) {
    for (const Json& tag : *tags) secret.tags[TextOf(tag, "Key")] = TextOf(tag, "Value");
  }
  if (const auto versions = object.find(versions_member); versions != object.end()) {
    for (const auto& [id, labels] : versions->items()) {
      secret.versions.push_back({id, TextsOf(*versions, id.c_str()), 0});
    }
  }
  return secret;
}

void FlattenInto(const Json& object, const std::string& prefix,
                 std::vector<std::pair<std::string, std::string>>& fields) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_object()) {
      FlattenInto(value, prefix + key + ".", fields);
    } else {
      fields.emplace_back(prefix + key,
                          value.is_string() ? value.get<std::string>() : ToText(value));
    }
  }
}

Json TagsJson(const std::map<std::string, std::string>& tags) {
  Json list = Json::array();
  for (const auto& [key, value] : tags) list.push_back({{"Key", key}, {"Value", value}});
  return list;
}

}  // namespace

std::string SecretSummary::HolderOf(std::string_view label) const {
  for (const VersionSummary& version : versions) {
    if (std::ranges::find(version.labels, label) != version.labels.end()) return version.id;
  }
  return "";
}

std::string AwsClient::NewToken() const {
  return crypto::FormatUuid(crypto::NewUuid(random_));
}

Result<AwsAnswer> CallDaemon(const std::string& socket_path, const std::string& target,
                             const crypto::SecretBuffer& body) {
  TRY_ASSIGN(SocketAnswer answer, PostToSocket(socket_path, target, body));
  if (answer.status == kStatusOk) return std::move(answer.body);
  auto error = ParseObject(answer.body);
  if (!error) return UnexpectedAnswer();
  const std::string name = TextOf(*error, "__type");
  // AWS's services do not agree on the case of the first letter.
  std::string message = TextOf(*error, "Message");
  if (message.empty()) message = TextOf(*error, "message");
  // Some errors of KMS say nothing but their name.
  return Fail(CodeOfAwsError(name), message.empty() ? name : message);
}

Result<AwsAnswer> AwsClient::Call(const std::string& target,
                                  const crypto::SecretBuffer& body) const {
  return CallDaemon(socket_path_, target, body);
}

Result<AwsAnswer> AwsClient::CreateSecret(const NewSecret& secret) const {
  Json in;
  in["Name"] = secret.name;
  in["ClientRequestToken"] = NewToken();
  if (!secret.description.empty()) in["Description"] = secret.description;
  if (!secret.kms_key.empty()) in["KmsKeyId"] = secret.kms_key;
  if (!secret.tags.empty()) in["Tags"] = TagsJson(secret.tags);
  if (!secret.kind) return Call("secretsmanager.CreateSecret", BodyOf(in));
  return Call("secretsmanager.CreateSecret", ComposeAwsMessage(in, *secret.kind, secret.value));
}

Result<AwsAnswer> AwsClient::PutSecretValue(const NewVersion& version) const {
  Json in;
  in["SecretId"] = version.name;
  in["ClientRequestToken"] = NewToken();
  if (!version.labels.empty()) in["VersionStages"] = version.labels;
  if (version.if_version) in["IfVersionId"] = *version.if_version;
  return Call("secretsmanager.PutSecretValue", ComposeAwsMessage(in, version.kind, version.value));
}

Result<AwsAnswer> AwsClient::UpdateSecret(const SecretUpdate& update) const {
  Json in = {{"SecretId", update.name}};
  if (update.description) in["Description"] = *update.description;
  if (update.kms_key) in["KmsKeyId"] = *update.kms_key;
  return Call("secretsmanager.UpdateSecret", BodyOf(in));
}

Result<AwsAnswer> AwsClient::GetSecretValue(const std::string& name,
                                            const store::VersionSelector& selector) const {
  Json in;
  in["SecretId"] = name;
  if (selector.version_id) in["VersionId"] = *selector.version_id;
  if (selector.version_stage) in["VersionStage"] = *selector.version_stage;
  return Call("secretsmanager.GetSecretValue", BodyOf(in));
}

Result<AwsAnswer> AwsClient::DescribeSecret(const std::string& name) const {
  return Call("secretsmanager.DescribeSecret", BodyOf({{"SecretId", name}}));
}

Result<AwsAnswer> AwsClient::ListSecretVersionIds(const std::string& name) const {
  Json all;
  Json in = {{"SecretId", name}, {"IncludeDeprecated", true}};
  for (;;) {
    TRY_ASSIGN(const AwsAnswer answer, Call("secretsmanager.ListSecretVersionIds", BodyOf(in)));
    TRY_ASSIGN(Json page, ParseObject(answer));
    if (!page["Versions"].is_array()) return UnexpectedAnswer();
    const std::string next = TextOf(page, "NextToken");
    page.erase("NextToken");
    if (all.is_null()) {
      all = std::move(page);
    } else {
      for (Json& version : page["Versions"]) all["Versions"].push_back(std::move(version));
    }
    if (next.empty()) return BodyOf(all);
    in["NextToken"] = next;
  }
}

Result<AwsAnswer> AwsClient::ListSecrets(const std::string& prefix, bool include_deleted) const {
  Json in = Json::object();
  if (!prefix.empty()) {
    Json filter;
    filter["Key"] = "name";
    filter["Values"].push_back(prefix);
    in["Filters"].push_back(std::move(filter));
  }
  if (include_deleted) in["IncludePlannedDeletion"] = true;
  Json all;
  all["SecretList"] = Json::array();
  for (;;) {
    TRY_ASSIGN(const AwsAnswer answer, Call("secretsmanager.ListSecrets", BodyOf(in)));
    TRY_ASSIGN(Json page, ParseObject(answer));
    if (!page["SecretList"].is_array()) return UnexpectedAnswer();
    for (Json& secret : page["SecretList"]) all["SecretList"].push_back(std::move(secret));
    const std::string next = TextOf(page, "NextToken");
    if (next.empty()) return BodyOf(all);
    in["NextToken"] = next;
  }
}

Result<AwsAnswer> AwsClient::UpdateSecretVersionStage(const LabelMove& move) const {
  Json in = {{"SecretId", move.name}, {"VersionStage", move.label}};
  if (!move.from.empty()) in["RemoveFromVersionId"] = move.from;
  if (!move.to.empty()) in["MoveToVersionId"] = move.to;
  return Call("secretsmanager.UpdateSecretVersionStage", BodyOf(in));
}

Result<AwsAnswer> AwsClient::DeleteSecret(const std::string& name,
                                          std::optional<int64_t> window_days, bool force) const {
  Json in = {{"SecretId", name}};
  if (window_days) in["RecoveryWindowInDays"] = *window_days;
  if (force) in["ForceDeleteWithoutRecovery"] = true;
  return Call("secretsmanager.DeleteSecret", BodyOf(in));
}

Result<AwsAnswer> AwsClient::RestoreSecret(const std::string& name) const {
  return Call("secretsmanager.RestoreSecret", BodyOf({{"SecretId", name}}));
}

Result<AwsAnswer> AwsClient::Status() const {
  return Call("secretfs.Status", BodyOf(Json::object()));
}

Result<AwsAnswer> AwsClient::ListAuditEvents(int64_t limit) const {
  return Call("secretfs.ListAuditEvents", BodyOf({{"MaxResults", limit}}));
}

Result<AwsAnswer> AwsClient::VerifyAudit() const {
  return Call("secretfs.VerifyAudit", BodyOf(Json::object()));
}

Result<FetchedValue> ParseValue(const AwsAnswer& answer) {
  TRY_ASSIGN(AwsMessage message, ParseAwsMessage(answer.Reveal()));
  FetchedValue value{.version_id = TextOf(message.members, "VersionId"), .bytes = {}};
  if (auto text = message.Take("SecretString")) {
    value.bytes = *std::move(text);
  } else if (auto binary = message.Take("SecretBinary")) {
    value.kind = store::ValueKind::kBinary;
    value.bytes = *std::move(binary);
  } else {
    return UnexpectedAnswer();
  }
  return value;
}

Result<std::string> ParseVersionId(const AwsAnswer& answer) {
  TRY_ASSIGN(const Json object, ParseObject(answer));
  return TextOf(object, "VersionId");
}

Result<SecretSummary> ParseDescription(const AwsAnswer& answer) {
  TRY_ASSIGN(const Json object, ParseObject(answer));
  return SummaryOf(object, "VersionIdsToStages");
}

Result<std::vector<SecretSummary>> ParseSecretList(const AwsAnswer& answer) {
  TRY_ASSIGN(const Json list, ParseList(answer, "SecretList"));
  std::vector<SecretSummary> secrets;
  for (const Json& entry : list) {
    secrets.push_back(SummaryOf(entry, "SecretVersionsToStages"));
  }
  return secrets;
}

Result<std::vector<VersionSummary>> ParseVersions(const AwsAnswer& answer) {
  TRY_ASSIGN(const Json list, ParseList(answer, "Versions"));
  std::vector<VersionSummary> versions;
  for (const Json& entry : list) {
    versions.push_back({TextOf(entry, "VersionId"), TextsOf(entry, "VersionStages"),
                        TimeMember(entry, "CreatedDate")});
  }
  return versions;
}

Result<TimeMs> ParseDeletionDate(const AwsAnswer& answer) {
  TRY_ASSIGN(const Json object, ParseObject(answer));
  return TimeMember(object, "DeletionDate");
}

Result<std::vector<AuditLine>> ParseAuditEvents(const AwsAnswer& answer) {
  TRY_ASSIGN(const Json events, ParseList(answer, "Events"));
  std::vector<AuditLine> lines;
  for (const Json& event : events) {
    if (!event.is_object()) return UnexpectedAnswer();
    const Json identity = event.value("userIdentity", Json());
    const Json parameters = event.value("requestParameters", Json());
    const Json local = event.value("additionalEventData", Json());
    const std::string version = TextOf(parameters, "versionId");
    lines.push_back({.sequence = CountOf(local, "sequence"),
                     .time = TextOf(event, "eventTime"),
                     .principal = TextOf(identity, "arn"),
                     .event = TextOf(event, "eventName"),
                     .secret = TextOf(parameters, "secretId"),
                     .version = version.empty() ? TextOf(parameters, "versionStage") : version,
                     .door = TextOf(local, "door"),
                     .error = TextOf(event, "errorCode")});
  }
  return lines;
}

Result<AuditVerdict> ParseAuditVerdict(const AwsAnswer& answer) {
  TRY_ASSIGN(const Json object, ParseObject(answer));
  return AuditVerdict{.intact = TextOf(object, "Problem").empty(),
                      .events = CountOf(object, "Events"),
                      .segments = CountOf(object, "Segments"),
                      .head_hash = TextOf(object, "HeadHash"),
                      .problem = TextOf(object, "Problem")};
}

Result<std::vector<std::pair<std::string, std::string>>> ParseFields(const AwsAnswer& answer) {
  TRY_ASSIGN(const Json object, ParseObject(answer));
  std::vector<std::pair<std::string, std::string>> fields;
  FlattenInto(object, "", fields);
  return fields;
}

std::string ErrorJson(const Error& error, store::AwsService service) {
  Json out;
  out["error"]["code"] = store::AwsErrorName(error.code, service);
  out["error"]["message"] = error.message;
  return ToText(out);
}

std::string FieldsJson(const std::vector<std::pair<std::string, std::string>>& fields) {
  Json out = Json::object();
  for (const auto& [name, value] : fields) out[name] = value;
  return ToText(out);
}

}  // namespace secretfs::mount
