// What belongs to a key besides itself: tags and policies.

#include <utility>

#include "mount/aws_kms_members.h"
#include "mount/aws_kms_operations.h"

namespace secretfs::mount {
namespace {

constexpr std::string_view kPolicyName = "default";  // The only one there is.
constexpr LengthLimits kPolicyNameLimits{.characters_max = 128};

store::ListForKeyRequest ReadListForKey(MemberReader& in, const AwsCall& call) {
  return {.key_id = in.RequiredText("KeyId"), .page = ReadPage(in), .request_id = call.request_id};
}

std::string ReadPolicyName(MemberReader& in) {
  return in.Text("PolicyName", kPolicyNameLimits).value_or(std::string(kPolicyName));
}

}  // namespace

AwsOutcome AwsKmsOperations::TagResource(AwsCall& call) {
  MemberReader in(call.message.members);
  in.Require("Tags");
  const store::KeyTagsRequest request{.key_id = in.RequiredText("KeyId"),
                                      .set = in.Tags("Tags", kKeyTagShape),
                                      .remove = {},
                                      .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY(kms_.TagResource(call.caller, request));
  return "{}";
}

AwsOutcome AwsKmsOperations::UntagResource(AwsCall& call) {
  MemberReader in(call.message.members);
  in.Require("TagKeys");
  const store::KeyTagsRequest request{.key_id = in.RequiredText("KeyId"),
                                      .set = {},
                                      .remove = in.TextList("TagKeys"),
                                      .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY(kms_.UntagResource(call.caller, request));
  return "{}";
}

AwsOutcome AwsKmsOperations::ListResourceTags(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::ListForKeyRequest request = ReadListForKey(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const auto page, kms_.ListResourceTags(call.caller, request));
  Json out;
  out["Tags"] = Json::array();
  for (const store::KeyTag& tag : page.entries) {
    Json entry;
    entry[kKeyTagShape.key] = tag.key;
    entry[kKeyTagShape.value] = tag.value;
    out["Tags"].push_back(std::move(entry));
  }
  PutPageEnd(out, page.next_marker);
  return ToText(out);
}

AwsOutcome AwsKmsOperations::GetKeyPolicy(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::GetKeyPolicyRequest request{.key_id = in.RequiredText("KeyId"),
                                           .policy_name = ReadPolicyName(in),
                                           .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const std::string policy, kms_.GetKeyPolicy(call.caller, request));
  Json out;
  out["Policy"] = policy;
  out["PolicyName"] = request.policy_name;
  return ToText(out);
}

AwsOutcome AwsKmsOperations::PutKeyPolicy(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::PutKeyPolicyRequest request{
      .key_id = in.RequiredText("KeyId"),
      .policy_name = ReadPolicyName(in),
      .policy = in.RequiredText("Policy", kAnyLength),
      .bypass_policy_lockout_safety_check = in.Flag("BypassPolicyLockoutSafetyCheck"),
      .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY(kms_.PutKeyPolicy(call.caller, request));
  return "{}";
}

AwsOutcome AwsKmsOperations::ListKeyPolicies(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::ListForKeyRequest request = ReadListForKey(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const auto page, kms_.ListKeyPolicies(call.caller, request));
  Json out;
  out["PolicyNames"] = page.entries;
  PutPageEnd(out, page.next_marker);
  return ToText(out);
}

}  // namespace secretfs::mount
