#include <utility>

#include "mount/aws_kms_members.h"
#include "mount/aws_kms_operations.h"

namespace secretfs::mount {
namespace {

constexpr LengthLimits kPrincipalLimits{.characters_max = 256};
constexpr LengthLimits kGrantIdLimits{.characters_max = 128};

std::vector<store::GrantOperation> ReadOperations(MemberReader& in) {
  in.Require("Operations");
  std::vector<store::GrantOperation> operations;
  for (const std::string& name : in.TextList("Operations")) {
    const std::optional<store::GrantOperation> operation = store::ParseGrantOperation(name);
    if (operation) {
      operations.push_back(*operation);
      continue;
    }
    std::vector<std::string_view> known;
    for (uint8_t number = 1; number <= store::kGrantOperationMax; ++number) {
      known.push_back(store::GrantOperationName(static_cast<store::GrantOperation>(number)));
    }
    in.FailOnChoice("Operations", name, known);
  }
  return operations;
}

store::GrantConstraints ReadConstraints(MemberReader& in) {
  store::GrantConstraints constraints;
  if (in.Has("EncryptionContextEquals")) {
    constraints.encryption_context_equals = in.TextMap("EncryptionContextEquals");
  }
  if (in.Has("EncryptionContextSubset")) {
    constraints.encryption_context_subset = in.TextMap("EncryptionContextSubset");
  }
  return constraints;
}

Json ConstraintsJson(const store::GrantConstraints& constraints) {
  Json out;
  if (constraints.encryption_context_subset) {
    out["EncryptionContextSubset"] = *constraints.encryption_context_subset;
  }
  if (constraints.encryption_context_equals) {
    out["EncryptionContextEquals"] = *constraints.encryption_context_equals;
  }
  return out;
}

Json GrantJson(const store::Grant& grant, const store::Realm& realm) {
  Json out;
  out["KeyId"] = store::KeyArn(realm, grant.key);
  out["GrantId"] = ToHex(grant.id);
  if (!grant.name.empty()) out["Name"] = grant.name;
  out["CreationDate"] = SecondsOf(grant.created_at);
  out["GranteePrincipal"] = grant.grantee_principal;
  if (!grant.retiring_principal.empty()) out["RetiringPrincipal"] = grant.retiring_principal;
  out["IssuingAccount"] = "arn:aws:iam::" + realm.account + ":root";
  out["Operations"] = Json::array();
  for (store::GrantOperation operation : grant.operations) {
    out["Operations"].push_back(store::GrantOperationName(operation));
  }
  if (!grant.constraints.empty()) out["Constraints"] = ConstraintsJson(grant.constraints);
  return out;
}

}  // namespace

std::string AwsKmsOperations::GrantsJson(const store::KmsPage<store::Grant>& page) const {
  Json out;
  out["Grants"] = Json::array();
  for (const store::Grant& grant : page.entries) out["Grants"].push_back(GrantJson(grant, realm_));
  PutPageEnd(out, page.next_marker);
  return ToText(out);
}

AwsOutcome AwsKmsOperations::CreateGrant(AwsCall& call) {
  MemberReader in(call.message.members);
  MemberReader constraints(in.Object("Constraints"));
  const store::CreateGrantRequest request{
      .key_id = in.RequiredText("KeyId"),
      .grantee_principal = in.RequiredText("GranteePrincipal", kPrincipalLimits),
      .retiring_principal = in.Text("RetiringPrincipal", kPrincipalLimits).value_or(""),
      .operations = ReadOperations(in),
      .constraints = ReadConstraints(constraints),
      .name = in.Text("Name", kPrincipalLimits).value_or(""),
      .grant_tokens = in.TextList("GrantTokens", kGrantTokenLimits),
      .dry_run = in.Flag("DryRun"),
      .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  if (constraints.failed()) return RefuseMember(constraints);
  TRY_ASSIGN(const store::CreatedGrant created, kms_.CreateGrant(call.caller, request));
  Json out;
  out["GrantToken"] = created.grant_token;
  out["GrantId"] = created.grant_id;
  return ToText(out);
}

AwsOutcome AwsKmsOperations::ListGrants(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::ListGrantsRequest request{
      .key_id = in.RequiredText("KeyId"),
      .grant_id = in.Text("GrantId", kGrantIdLimits).value_or(""),
      .grantee_principal = in.Text("GranteePrincipal", kPrincipalLimits).value_or(""),
      .page = ReadPage(in),
      .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const auto page, kms_.ListGrants(call.caller, request));
  return GrantsJson(page);
}

AwsOutcome AwsKmsOperations::ListRetirableGrants(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::ListRetirableGrantsRequest request{
      .retiring_principal = in.RequiredText("RetiringPrincipal", kPrincipalLimits),
      .page = ReadPage(in),
      .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const auto page, kms_.ListRetirableGrants(call.caller, request));
  return GrantsJson(page);
}

AwsOutcome AwsKmsOperations::RetireGrant(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::EndGrantRequest request{
      .key_id = in.Text("KeyId").value_or(""),
      .grant_id = in.Text("GrantId", kGrantIdLimits).value_or(""),
      .grant_token = in.Text("GrantToken", kGrantTokenLimits).value_or(""),
      .dry_run = in.Flag("DryRun"),
      .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY(kms_.RetireGrant(call.caller, request));
  return "{}";
}

AwsOutcome AwsKmsOperations::RevokeGrant(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::EndGrantRequest request{.key_id = in.RequiredText("KeyId"),
                                       .grant_id = in.RequiredText("GrantId", kGrantIdLimits),
                                       .grant_token = "",
                                       .dry_run = in.Flag("DryRun"),
                                       .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY(kms_.RevokeGrant(call.caller, request));
  return "{}";
}

}  // namespace secretfs::mount
