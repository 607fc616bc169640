#include <utility>

#include "mount/aws_kms_members.h"
#include "mount/aws_kms_operations.h"

namespace secretfs::mount {
namespace {

// The service checks the name itself, but for one that only fills memory.
constexpr LengthLimits kAliasLimits{.characters_max = 256};

store::AliasRequest ReadAliasOfKey(MemberReader& in, const AwsCall& call) {
  return {.alias_name = in.RequiredText("AliasName", kAliasLimits),
          .target_key_id = in.RequiredText("TargetKeyId"),
          .request_id = call.request_id};
}

}  // namespace

AwsOutcome AwsKmsOperations::CreateAlias(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::AliasRequest request = ReadAliasOfKey(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY(kms_.CreateAlias(call.caller, request));
  return "{}";
}

AwsOutcome AwsKmsOperations::UpdateAlias(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::AliasRequest request = ReadAliasOfKey(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY(kms_.UpdateAlias(call.caller, request));
  return "{}";
}

AwsOutcome AwsKmsOperations::DeleteAlias(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::AliasRequest request{.alias_name = in.RequiredText("AliasName", kAliasLimits),
                                    .target_key_id = "",
                                    .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY(kms_.DeleteAlias(call.caller, request));
  return "{}";
}

AwsOutcome AwsKmsOperations::ListAliases(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::ListForKeyRequest request{
      .key_id = in.Text("KeyId").value_or(""), .page = ReadPage(in), .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const auto page, kms_.ListAliases(call.caller, request));
  Json out;
  out["Aliases"] = Json::array();
  for (const store::Alias& alias : page.entries) {
    Json entry;
    entry["AliasName"] = alias.name;
    entry["AliasArn"] = store::AliasArn(realm_, alias.name);
    entry["TargetKeyId"] = KeyIdText(alias.target);
    entry["CreationDate"] = SecondsOf(alias.created_at);
    entry["LastUpdatedDate"] = SecondsOf(alias.updated_at);
    out["Aliases"].push_back(std::move(entry));
  }
  PutPageEnd(out, page.next_marker);
  return ToText(out);
}

}  // namespace secretfs::mount
