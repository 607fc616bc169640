#include "store/secret_json.h"

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "crypto/kdf.h"
#include "crypto/keyring.h"
#include "store/kms_key.h"

namespace secretfs::store {
namespace {

// Members in the order in which AWS prints them.
using Json = nlohmann::ordered_json;

constexpr int kIndent = 2;

double Seconds(TimeMs at) {
  return static_cast<double>(at) / 1000.0;
}

Json Tags(const Secret& secret) {
  Json tags = Json::array();
  for (const auto& [key, value] : secret.tags) tags.push_back({{"Key", key}, {"Value", value}});
  return tags;
}

Json VersionsToStages(const Secret& secret) {
  Json map = Json::object();
  for (const Version& version : secret.versions) {
    std::vector<std::string> stages = secret.LabelsOf(version.number);
    if (!stages.empty()) map[version.id] = stages;
  }
  return map;
}

// What DescribeSecret and ListSecrets have in common; `versions_member` differs.
Json Metadata(const Secret& secret, const Realm& realm, const char* versions_member) {
  Json out;
  out["ARN"] = SecretArn(realm, secret.name, secret.arn_suffix);
  out["Name"] = secret.name;
  if (!secret.description.empty()) out["Description"] = secret.description;
  if (!secret.kms_key_id.empty()) out["KmsKeyId"] = secret.kms_key_id;
  out["LastChangedDate"] = Seconds(secret.changed_at);
  if (secret.deletion_at) out["DeletedDate"] = Seconds(*secret.deletion_at);
  if (secret.ever_tagged) out["Tags"] = Tags(secret);
  Json versions = VersionsToStages(secret);
  if (!versions.empty()) out[versions_member] = std::move(versions);
  out["CreatedDate"] = Seconds(secret.created_at);
  return out;
}

// A UUID that names the event: the chain gives events numbers, CloudTrail's shape wants ids.
std::string EventId(const AuditEvent& event, uint64_t sequence) {
  Bytes encoded = ByteWriter().U64(sequence).Raw(EncodeAuditEvent(ViewOf(event))).Take();
  crypto::Digest digest = crypto::Sha256(encoded);
  std::array<uint8_t, 16> uuid{};
  std::copy_n(digest.begin(), uuid.size(), uuid.begin());
  uuid[6] = static_cast<uint8_t>((uuid[6] & 0x0F) | 0x80);  // Version 8 of RFC 9562: custom.
  uuid[8] = static_cast<uint8_t>((uuid[8] & 0x3F) | 0x80);
  return crypto::FormatUuid(uuid);
}

Json UserIdentity(const AuditEvent& event, const Realm& realm) {
  Json identity;
  if (event.door == Door::kInternal) {
    identity["type"] = "AWSService";
    identity["invokedBy"] = ActionSource(event.action);
    return identity;
  }
  bool is_root = event.principal_arn.ends_with(":root");
  identity["type"] = is_root ? "Root" : "IAMUser";
  identity["arn"] = event.principal_arn;
  identity["accountId"] = realm.account;
  size_t slash = event.principal_arn.rfind('/');
  if (!is_root && slash != std::string::npos) {
    identity["userName"] = event.principal_arn.substr(slash + 1);
  }
  return identity;
}

}  // namespace

std::string DescribeSecretJson(const Secret& secret, const Realm& realm, bool indented) {
  return Metadata(secret, realm, "VersionIdsToStages").dump(indented ? kIndent : -1);
}

std::string SecretListEntryJson(const Secret& secret, const Realm& realm) {
  return Metadata(secret, realm, "SecretVersionsToStages").dump();
}

std::string ListVersionsJson(const Secret& secret, const Realm& realm, bool include_deprecated) {
  Json out;
  Json versions = Json::array();
  for (const Version& version : secret.versions) {
    std::vector<std::string> stages = secret.LabelsOf(version.number);
    if (stages.empty() && !include_deprecated) continue;
    Json entry;
    entry["VersionId"] = version.id;
    if (!stages.empty()) entry["VersionStages"] = stages;
    entry["CreatedDate"] = Seconds(version.created_at);
    entry["KmsKeyIds"] = {version.under_default_key ? "DefaultEncryptionKey"
                                                    : KeyArn(realm, version.kms_key)};
    versions.push_back(std::move(entry));
  }
  out["Versions"] = std::move(versions);
  out["ARN"] = SecretArn(realm, secret.name, secret.arn_suffix);
  out["Name"] = secret.name;
  return out.dump();
}

std::string AuditEventJson(const AuditEvent& event, uint64_t sequence, const Realm& realm) {
  Json out;
  out["eventVersion"] = "1.08";
  out["userIdentity"] = UserIdentity(event, realm);
  out["eventTime"] = FormatTime(event.at);
  out["eventSource"] = ActionSource(event.action);
  out["eventName"] = ActionName(event.action);
  out["awsRegion"] = realm.region;
  out["sourceIPAddress"] = "127.0.0.1";
  out["userAgent"] = std::string("secretfs-") + std::string(DoorName(event.door));
  if (!event.error_code.empty()) {
    out["errorCode"] = event.error_code;
    out["errorMessage"] = event.error_message;
  }
  Json parameters = Json::object();
  const bool of_kms = ActionSource(event.action) == "kms.amazonaws.com";
  if (!event.secret_id.empty()) parameters[of_kms ? "keyId" : "secretId"] = event.secret_id;
  if (!event.version_id.empty()) parameters["versionId"] = event.version_id;
  if (!event.version_stage.empty()) parameters["versionStage"] = event.version_stage;
  out["requestParameters"] = parameters.empty() ? Json(nullptr) : std::move(parameters);
  out["responseElements"] = nullptr;
  Json local;
  if (!event.resource_arn.empty() && !of_kms) local["SecretId"] = event.resource_arn;
  local["uid"] = event.uid;
  local["gid"] = event.gid;
  local["pid"] = event.pid;
  local["door"] = DoorName(event.door);
  local["sequence"] = sequence;
  out["additionalEventData"] = std::move(local);
  if (of_kms && !event.resource_arn.empty()) {
    Json resource;
    resource["accountId"] = realm.account;
    resource["type"] = "AWS::KMS::Key";
    resource["ARN"] = event.resource_arn;
    out["resources"] = std::vector<Json>{resource};
  }
  if (!event.request_id.empty()) out["requestID"] = event.request_id;
  out["eventID"] = EventId(event, sequence);
  out["readOnly"] = IsReadOnly(event.action);
  out["eventType"] = event.door == Door::kInternal ? "AwsServiceEvent" : "AwsApiCall";
  out["managementEvent"] = true;
  out["recipientAccountId"] = realm.account;
  out["eventCategory"] = "Management";
  // Names are checked when they come in; an unknown principal's text might not be UTF-8.
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace secretfs::store
