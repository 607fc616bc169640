#include <algorithm>
#include <utility>

#include "mount/aws_endpoint.h"
#include "mount/aws_error.h"
#include "mount/aws_json.h"
#include "store/secret_json.h"

namespace secretfs::mount {
namespace {

constexpr int64_t kMaxResultsDefault = 100;
constexpr LengthLimits kNameLimits{.characters_max = 512};
constexpr LengthLimits kKeyIdLimits{.characters_max = 2048};
constexpr LengthLimits kTokenLimits{.characters_max = 64};
constexpr LengthLimits kLabelLimits{.characters_max = 256, .items_max = 20};
constexpr LengthLimits kPageTokenLimits{.characters_max = 4096};

Json IdentityJson(const store::SecretIdentity& secret) {
  Json out;
  out["ARN"] = secret.arn;
  out["Name"] = secret.name;
  return out;
}

std::string WrittenJson(const store::WrittenVersion& written, bool with_stages) {
  Json out = IdentityJson(written.secret);
  if (!written.version_id.empty()) out["VersionId"] = written.version_id;
  if (with_stages && !written.version_stages.empty()) out["VersionStages"] = written.version_stages;
  return ToText(out);
}

// The value of a request, if it has one; AWS takes one form, not both.
std::expected<std::optional<store::NewValue>, AwsFailure> TakeValue(AwsMessage& message) {
  std::optional<crypto::SecretBuffer> text = message.Take("SecretString");
  std::optional<crypto::SecretBuffer> binary = message.Take("SecretBinary");
  if (text && binary) {
    return Refuse(Code::kInvalidArgument,
                  "You can't specify both a SecretString and a SecretBinary.");
  }
  std::optional<store::NewValue> value;
  if (text) value = {store::ValueKind::kString, *std::move(text)};
  if (binary) value = {store::ValueKind::kBinary, *std::move(binary)};
  return value;
}

// Members that change what a write means and that nothing here can honour: to ignore one would be
// to lie.
std::string UnsupportedWriteMember(MemberReader& in) {
  if (in.Has("AddReplicaRegions")) return "AddReplicaRegions: this store has one region.";
  if (in.Has("Type")) return "Type: managed external secrets are not known here.";
  return "";
}

// What CreateSecret, PutSecretValue and UpdateSecret check alike.
std::optional<AwsFailure> CheckWrite(MemberReader& in) {
  const std::string unsupported = UnsupportedWriteMember(in);
  if (in.failed()) return RefuseMember(in).error();
  if (!unsupported.empty()) return AwsFailure(Error{Code::kInvalidArgument, unsupported});
  return std::nullopt;
}

// The prefix of ListSecrets' name filter; `problem` says why the filters are not that.
std::string NamePrefix(const Json& members, std::string& problem) {
  const auto filters = members.find("Filters");
  if (filters == members.end() || filters->is_null() || filters->empty()) return "";
  const Json empty;
  const Json& filter = filters->is_array() && filters->size() == 1 ? filters->front() : empty;
  const bool is_name = filter.is_object() && filter.value("Key", Json()) == Json("name");
  const Json values = is_name ? filter.value("Values", Json()) : empty;
  const bool is_one_text = values.is_array() && values.size() == 1 && values.front().is_string();
  const std::string prefix = is_one_text ? values.front().get<std::string>() : "";
  if (!is_one_text || prefix.starts_with('!')) {
    problem =
        "Filters: one filter with the key name and one value that is not negated is known here.";
  }
  return prefix;
}

}  // namespace

AwsOutcome AwsEndpoint::CreateSecret(AwsCall& call) {
  MemberReader in(call.message.members);
  store::CreateRequest request{
      .name = in.RequiredText("Name", kNameLimits),
      .client_request_token = in.Text("ClientRequestToken", kTokenLimits).value_or(""),
      .description = in.Text("Description").value_or(""),
      .value = std::nullopt,
      .tags = in.Tags("Tags"),
      .kms_key_id = in.Text("KmsKeyId", kKeyIdLimits).value_or(""),
      .request_id = call.request_id};
  if (auto failure = CheckWrite(in)) return std::unexpected(*std::move(failure));
  TRY_ASSIGN(request.value, TakeValue(call.message));
  TRY_ASSIGN(const auto written, service_.CreateSecret(call.caller, std::move(request)));
  return WrittenJson(written, /*with_stages=*/false);
}

AwsOutcome AwsEndpoint::PutSecretValue(AwsCall& call) {
  MemberReader in(call.message.members);
  store::PutRequest request{
      .secret_id = in.RequiredText("SecretId"),
      .client_request_token = in.Text("ClientRequestToken", kTokenLimits).value_or(""),
      .value = {},
      .version_stages = in.TextList("VersionStages", kLabelLimits),
      .if_version = in.Text("IfVersionId", kTokenLimits),
      .request_id = call.request_id};
  if (auto failure = CheckWrite(in)) return std::unexpected(*std::move(failure));
  TRY_ASSIGN(auto value, TakeValue(call.message));
  if (value) request.value = *std::move(value);
  TRY_ASSIGN(const auto written, service_.PutSecretValue(call.caller, std::move(request)));
  return WrittenJson(written, /*with_stages=*/true);
}

AwsOutcome AwsEndpoint::UpdateSecret(AwsCall& call) {
  MemberReader in(call.message.members);
  store::UpdateRequest request{
      .secret_id = in.RequiredText("SecretId"),
      .client_request_token = in.Text("ClientRequestToken", kTokenLimits).value_or(""),
      .description = in.Text("Description"),
      .value = std::nullopt,
      .kms_key_id = in.Text("KmsKeyId", kKeyIdLimits),
      .request_id = call.request_id};
  if (auto failure = CheckWrite(in)) return std::unexpected(*std::move(failure));
  TRY_ASSIGN(request.value, TakeValue(call.message));
  TRY_ASSIGN(const auto written, service_.UpdateSecret(call.caller, std::move(request)));
  return WrittenJson(written, /*with_stages=*/false);
}

AwsOutcome AwsEndpoint::GetSecretValue(AwsCall& call) {
  MemberReader in(call.message.members);
  const std::string secret_id = in.RequiredText("SecretId");
  const store::VersionSelector selector{in.Text("VersionId", kTokenLimits),
                                        in.Text("VersionStage", kLabelLimits)};
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::SecretValue value,
             service_.GetSecretValue(call.caller, secret_id, selector, call.request_id));
  Json out = IdentityJson(value.secret);
  out["VersionId"] = value.version_id;
  if (!value.version_stages.empty()) out["VersionStages"] = value.version_stages;
  out["CreatedDate"] = SecondsOf(value.created_at);
  return ComposeAwsMessage(out, value.kind, value.bytes.Reveal());
}

AwsOutcome AwsEndpoint::DescribeSecret(AwsCall& call) {
  MemberReader in(call.message.members);
  const std::string secret_id = in.RequiredText("SecretId");
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::SecretPtr secret,
             service_.DescribeSecret(call.caller, secret_id, call.request_id));
  return store::DescribeSecretJson(*secret, service_.realm(), /*indented=*/false);
}

AwsOutcome AwsEndpoint::ListSecrets(AwsCall& call) {
  MemberReader in(call.message.members);
  std::string problem;
  const store::ListRequest request{
      .name_prefix = NamePrefix(call.message.members, problem),
      .include_planned_deletion = in.Flag("IncludePlannedDeletion"),
      .max_results = in.Integer("MaxResults").value_or(kMaxResultsDefault),
      .next_token = in.Text("NextToken", kPageTokenLimits).value_or(""),
      .request_id = call.request_id};
  const std::string order = in.Text("SortOrder").value_or("asc");
  const std::string sort_by = in.Text("SortBy").value_or("created-date");
  if (in.failed()) return RefuseMember(in);
  if (order != "asc" || sort_by != "created-date") {
    problem = "SortBy and SortOrder: secrets come in ascending order of creation only.";
  }
  if (!problem.empty()) return Refuse(Code::kInvalidArgument, problem);
  auto listed = service_.ListSecrets(call.caller, request);
  if (!listed && listed.error().code == Code::kInvalidArgument && !request.next_token.empty()) {
    return std::unexpected(AwsFailure(kInvalidNextToken, listed.error().message));
  }
  TRY_ASSIGN(const store::SecretPage page, std::move(listed));
  std::string text = R"({"SecretList":[)";
  for (const store::SecretPtr& secret : page.secrets) {
    text += (text.back() == '[' ? "" : ",") + store::SecretListEntryJson(*secret, service_.realm());
  }
  text += "]";
  if (!page.next_token.empty()) text += R"(,"NextToken":)" + ToText(Json(page.next_token));
  return text + "}";
}

// A secret has some hundred versions at most, so all are at hand; pages are cut from them for
// clients that ask for pages. The token is the id of the last version that was given.
AwsOutcome AwsEndpoint::ListSecretVersionIds(AwsCall& call) {
  MemberReader in(call.message.members);
  const std::string secret_id = in.RequiredText("SecretId");
  const bool include_deprecated = in.Flag("IncludeDeprecated");
  const int64_t limit = in.Integer("MaxResults").value_or(kMaxResultsDefault);
  const std::optional<std::string> token = in.Text("NextToken", kPageTokenLimits);
  if (in.failed()) return RefuseMember(in);
  if (limit < 1 || limit > kMaxResultsDefault) {
    return Refuse(Code::kValidation,
                  "1 validation error detected: Value '" + std::to_string(limit) +
                      "' at 'maxResults' failed to satisfy constraint: Member must have value " +
                      (limit < 1 ? "greater than or equal to 1" : "less than or equal to 100"));
  }
  TRY_ASSIGN(const store::SecretPtr secret,
             service_.ListSecretVersionIds(call.caller, secret_id, call.request_id));
  Json out = Json::parse(store::ListVersionsJson(*secret, service_.realm(), include_deprecated));
  const Json all = std::move(out["Versions"]);
  auto first = all.begin();
  if (token) {
    first = std::ranges::find_if(all, [&](const Json& v) { return v["VersionId"] == *token; });
    if (first == all.end()) {
      return std::unexpected(AwsFailure(kInvalidNextToken, "The NextToken is not valid."));
    }
    ++first;
  }
  const bool is_last_page = all.end() - first <= limit;
  const auto last = is_last_page ? all.end() : first + limit;
  out["Versions"] = Json::array();
  std::copy(first, last, std::back_inserter(out["Versions"]));
  if (!is_last_page) out["NextToken"] = out["Versions"].back()["VersionId"];
  return ToText(out);
}

AwsOutcome AwsEndpoint::UpdateSecretVersionStage(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::MoveLabelRequest request{
      .secret_id = in.RequiredText("SecretId"),
      .version_stage = in.RequiredText("VersionStage", kLabelLimits),
      .remove_from_version_id = in.Text("RemoveFromVersionId", kTokenLimits),
      .move_to_version_id = in.Text("MoveToVersionId", kTokenLimits),
      .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const auto secret, service_.UpdateSecretVersionStage(call.caller, request));
  return ToText(IdentityJson(secret));
}

AwsOutcome AwsEndpoint::DeleteSecret(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::DeleteRequest request{.secret_id = in.RequiredText("SecretId"),
                                     .recovery_window_days = in.Integer("RecoveryWindowInDays"),
                                     .force = in.Flag("ForceDeleteWithoutRecovery"),
                                     .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::DeletedSecret deleted, service_.DeleteSecret(call.caller, request));
  Json out = IdentityJson(deleted.secret);
  out["DeletionDate"] = SecondsOf(deleted.deletion_at);
  return ToText(out);
}

AwsOutcome AwsEndpoint::RestoreSecret(AwsCall& call) {
  MemberReader in(call.message.members);
  const std::string secret_id = in.RequiredText("SecretId");
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const auto secret, service_.RestoreSecret(call.caller, secret_id, call.request_id));
  return ToText(IdentityJson(secret));
}

AwsOutcome AwsEndpoint::TagResource(AwsCall& call) {
  MemberReader in(call.message.members);
  in.Require("Tags");
  const store::TagRequest request{.secret_id = in.RequiredText("SecretId"),
                                  .set = in.Tags("Tags"),
                                  .remove = {},
                                  .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY(service_.TagResource(call.caller, request));
  return "{}";
}

AwsOutcome AwsEndpoint::UntagResource(AwsCall& call) {
  MemberReader in(call.message.members);
  in.Require("TagKeys");
  const store::TagRequest request{.secret_id = in.RequiredText("SecretId"),
                                  .set = {},
                                  .remove = in.TextList("TagKeys"),
                                  .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY(service_.UntagResource(call.caller, request));
  return "{}";
}

}  // namespace secretfs::mount
