#include "mount/aws_kms_client.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "crypto/base64.h"
#include "mount/aws_answer.h"
#include "mount/aws_json.h"
#include "store/json_object.h"
#include "store/secret_name.h"

namespace secretfs::mount {
namespace {

constexpr std::string_view kAliasPrefix = "alias/";
constexpr size_t kUuidCharacters = 36;

std::optional<TimeMs> OptionalTime(const Json& object, const char* name) {
  if (!object.contains(name)) return std::nullopt;
  return TimeMember(object, name);
}

bool IsUuid(std::string_view text) {
  if (text.size() != kUuidCharacters) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (is_dash ? text[i] != '-' : std::isxdigit(static_cast<unsigned char>(text[i])) == 0) {
      return false;
    }
  }
  return true;
}

// Without the JSON library.
Result<crypto::SecretBuffer> MemberContent(const AwsAnswer& answer, std::string_view name) {
  const auto members = store::ScanJsonObject(answer.Reveal());
  if (!members) return UnexpectedAnswer();
  const auto found = std::ranges::find(*members, name, &store::JsonMember::key);
  if (found == members->end()) return UnexpectedAnswer();
  return store::JsonMemberContent(answer.Reveal(), *found);
}

}  // namespace

KmsRequest::KmsRequest(std::string_view operation) : operation_(operation) {}

void KmsRequest::Name(std::string_view name) {
  if (!members_.empty()) Raw(",");
  String(name);
  Raw(":");
}

void KmsRequest::String(std::string_view text) {
  is_utf8_ = is_utf8_ && store::IsValidUtf8(text);
  if (is_utf8_) store::AppendJsonString(AsBytes(text), members_);
}

KmsRequest& KmsRequest::Text(std::string_view name, std::string_view text) {
  return text.empty() ? *this : TextOrEmpty(name, text);
}

KmsRequest& KmsRequest::TextOrEmpty(std::string_view name, std::string_view text) {
  Name(name);
  String(text);
  return *this;
}

KmsRequest& KmsRequest::Number(std::string_view name, std::optional<int64_t> number) {
  if (!number) return *this;
  Name(name);
  Raw(std::to_string(*number));
  return *this;
}

KmsRequest& KmsRequest::Flag(std::string_view name, bool flag) {
  if (!flag) return *this;
  Name(name);
  Raw("true");
  return *this;
}

KmsRequest& KmsRequest::Texts(std::string_view name, const std::vector<std::string>& texts) {
  if (texts.empty()) return *this;
  Name(name);
  Raw("[");
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) Raw(",");
    String(texts[i]);
  }
  Raw("]");
  return *this;
}

KmsRequest& KmsRequest::Map(std::string_view name, const std::map<std::string, std::string>& map) {
  if (map.empty()) return *this;
  KmsRequest members("");
  for (const auto& [key, value] : map) {
    members.Name(key);
    members.String(value);
  }
  return Object(name, members);
}

KmsRequest& KmsRequest::Tags(std::string_view name,
                             const std::map<std::string, std::string>& tags) {
  if (tags.empty()) return *this;
  Name(name);
  Raw("[");
  bool is_first = true;
  for (const auto& [key, value] : tags) {
    Raw(is_first ? R"({"TagKey":)" : R"(,{"TagKey":)");
    String(key);
    Raw(R"(,"TagValue":)");
    String(value);
    Raw("}");
    is_first = false;
  }
  Raw("]");
  return *this;
}

KmsRequest& KmsRequest::Blob(std::string_view name, ByteSpan bytes) {
  Name(name);
  Raw("\"");
  members_.Append(crypto::Base64Encode(bytes).Reveal());
  Raw("\"");
  return *this;
}

KmsRequest& KmsRequest::Object(std::string_view name, const KmsRequest& members) {
  if (members.members_.empty()) return *this;
  Name(name);
  Raw("{");
  members_.Append(members.members_.Reveal());
  Raw("}");
  is_utf8_ = is_utf8_ && members.is_utf8_;
  return *this;
}

Result<crypto::SecretBuffer> KmsRequest::Body(std::string_view marker) const {
  if (!is_utf8_) return Fail(Code::kInvalidArgument, "an argument is not UTF-8 text");
  auto body = crypto::SecretBuffer::CopyOf(AsBytes("{"));
  body.Append(members_.Reveal());
  if (!marker.empty()) {
    body.Append(AsBytes(members_.empty() ? "\"Marker\":" : ",\"Marker\":"));
    store::AppendJsonString(AsBytes(marker), body);
  }
  body.Append(AsBytes("}"));
  return body;
}

Result<AwsAnswer> KmsClient::Call(const KmsRequest& request) const {
  TRY_ASSIGN(const crypto::SecretBuffer body, request.Body());
  TRY_ASSIGN(AwsAnswer answer,
             CallDaemon(socket_path_, "TrentService." + request.operation(), body));
  // Operations with nothing to say may answer nothing at all.
  if (answer.empty()) answer.Append(AsBytes("{}"));
  return answer;
}

Result<AwsAnswer> KmsClient::CallAll(const KmsRequest& request, const char* list) const {
  Json all;
  all[list] = Json::array();
  std::string marker;
  do {
    TRY_ASSIGN(const crypto::SecretBuffer body, request.Body(marker));
    TRY_ASSIGN(const AwsAnswer answer,
               CallDaemon(socket_path_, "TrentService." + request.operation(), body));
    TRY_ASSIGN(Json object, ParseObject(answer));
    const auto entries = object.find(list);
    if (entries == object.end() || !entries->is_array()) return UnexpectedAnswer();
    for (Json& entry : *entries) all[list].push_back(std::move(entry));
    marker = TextOf(object, "NextMarker");
  } while (!marker.empty());
  return crypto::SecretBuffer::CopyOf(AsBytes(ToText(all)));
}

Result<std::string> KmsClient::WithoutAlias(const std::string& key) const {
  const bool is_alias =
      key.starts_with(kAliasPrefix) ||
      (key.starts_with("arn:") && key.find(":" + std::string(kAliasPrefix)) != std::string::npos);
  if (!is_alias) return key;
  TRY_ASSIGN(const AwsAnswer answer, Call(KmsRequest("DescribeKey").Text("KeyId", key)));
  TRY_ASSIGN(const KmsKeySummary summary, ParseKeyMetadata(answer));
  return summary.arn;
}

std::string KmsKeyReference(const std::string& text) {
  const bool is_complete = text.empty() || text.starts_with("arn:") ||
                           text.starts_with(kAliasPrefix) || text.starts_with("mrk-") ||
                           IsUuid(text);
  return is_complete ? text : std::string(kAliasPrefix) + text;
}

Result<KmsKeySummary> ParseKeyMetadata(const AwsAnswer& answer) {
  TRY_ASSIGN(const Json object, ParseObject(answer));
  const auto found = object.find("KeyMetadata");
  if (found == object.end() || !found->is_object()) return UnexpectedAnswer();
  const Json& key = *found;
  KmsKeySummary summary{.id = TextOf(key, "KeyId"),
                        .arn = TextOf(key, "Arn"),
                        .description = TextOf(key, "Description"),
                        .state = TextOf(key, "KeyState"),
                        .spec = TextOf(key, "KeySpec"),
                        .usage = TextOf(key, "KeyUsage"),
                        .origin = TextOf(key, "Origin"),
                        .manager = TextOf(key, "KeyManager"),
                        .material_id = TextOf(key, "CurrentKeyMaterialId"),
                        .created_at = TimeMember(key, "CreationDate"),
                        .deletion_at = OptionalTime(key, "DeletionDate"),
                        .valid_to = OptionalTime(key, "ValidTo"),
                        .algorithms = {}};
  for (const char* name :
       {"EncryptionAlgorithms", "SigningAlgorithms", "MacAlgorithms", "KeyAgreementAlgorithms"}) {
    for (std::string& algorithm : TextsOf(key, name)) {
      summary.algorithms.push_back(std::move(algorithm));
    }
  }
  return summary;
}

Result<std::vector<std::string>> ParseKeyIds(const AwsAnswer& answer) {
  TRY_ASSIGN(const Json list, ParseList(answer, "Keys"));
  std::vector<std::string> ids;
  for (const Json& entry : list) ids.push_back(TextOf(entry, "KeyId"));
  return ids;
}

Result<std::vector<KmsAliasSummary>> ParseAliases(const AwsAnswer& answer) {
  TRY_ASSIGN(const Json list, ParseList(answer, "Aliases"));
  std::vector<KmsAliasSummary> aliases;
  for (const Json& entry : list) {
    aliases.push_back({TextOf(entry, "AliasName"), TextOf(entry, "TargetKeyId"),
                       TimeMember(entry, "LastUpdatedDate")});
  }
  return aliases;
}

Result<std::vector<KmsGrantSummary>> ParseGrants(const AwsAnswer& answer) {
  TRY_ASSIGN(const Json list, ParseList(answer, "Grants"));
  std::vector<KmsGrantSummary> grants;
  for (const Json& entry : list) {
    const auto constraints = entry.find("Constraints");
    const bool is_constrained = constraints != entry.end() && constraints->is_object();
    grants.push_back({.id = TextOf(entry, "GrantId"),
                      .key = TextOf(entry, "KeyId"),
                      .name = TextOf(entry, "Name"),
                      .grantee = TextOf(entry, "GranteePrincipal"),
                      .retiring = TextOf(entry, "RetiringPrincipal"),
                      .operations = TextsOf(entry, "Operations"),
                      .constraints = is_constrained ? ToText(*constraints) : ""});
  }
  return grants;
}

Result<std::vector<KmsRotationSummary>> ParseRotations(const AwsAnswer& answer) {
  TRY_ASSIGN(const Json list, ParseList(answer, "Rotations"));
  std::vector<KmsRotationSummary> rotations;
  for (const Json& entry : list) {
    rotations.push_back({.material_id = TextOf(entry, "KeyMaterialId"),
                         .state = TextOf(entry, "KeyMaterialState"),
                         .type = TextOf(entry, "RotationType"),
                         .rotated_at = TimeMember(entry, "RotationDate")});
  }
  return rotations;
}

Result<KmsRotationStatus> ParseRotationStatus(const AwsAnswer& answer) {
  TRY_ASSIGN(const Json object, ParseObject(answer));
  const auto period = object.find("RotationPeriodInDays");
  return KmsRotationStatus{.enabled = object.value("KeyRotationEnabled", Json(false)) == Json(true),
                           .period_days = period != object.end() && period->is_number_integer()
                                              ? period->get<int64_t>()
                                              : 0,
                           .next_at = TimeMember(object, "NextRotationDate")};
}

Result<std::map<std::string, std::string>> ParseKeyTags(const AwsAnswer& answer) {
  TRY_ASSIGN(const Json list, ParseList(answer, "Tags"));
  std::map<std::string, std::string> tags;
  for (const Json& tag : list) tags[TextOf(tag, "TagKey")] = TextOf(tag, "TagValue");
  return tags;
}

Result<TimeMs> ParseTimeMember(const AwsAnswer& answer, const char* name) {
  TRY_ASSIGN(const Json object, ParseObject(answer));
  return TimeMember(object, name);
}

Result<std::string> ParseTextMember(const AwsAnswer& answer, std::string_view name) {
  TRY_ASSIGN(const crypto::SecretBuffer content, MemberContent(answer, name));
  return std::string(AsText(content.Reveal()));
}

Result<crypto::SecretBuffer> ParseBlob(const AwsAnswer& answer, std::string_view name) {
  TRY_ASSIGN(const crypto::SecretBuffer content, MemberContent(answer, name));
  auto bytes = crypto::Base64Decode(content.Reveal());
  if (!bytes) return UnexpectedAnswer();
  return *std::move(bytes);
}

}  // namespace secretfs::mount
