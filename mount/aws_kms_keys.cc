// Keys: CreateKey to GetKeyLastUsage.

#include <array>
#include <utility>

#include "mount/aws_kms_members.h"
#include "mount/aws_kms_operations.h"

namespace secretfs::mount {
namespace {

constexpr std::array kOrigins = {store::KeyOrigin::kAwsKms, store::KeyOrigin::kExternal,
                                 store::KeyOrigin::kAwsCloudHsm,
                                 store::KeyOrigin::kExternalKeyStore};

std::string KeyIdJson(const std::string& arn) {
  Json out;
  out["KeyId"] = arn;
  return ToText(out);
}

std::string MetadataJson(const store::KmsKey& key, const store::Realm& realm) {
  Json out;
  out["KeyMetadata"] = KeyMetadataJson(key, realm);
  return ToText(out);
}

}  // namespace

AwsOutcome AwsKmsOperations::CreateKey(AwsCall& call) {
  MemberReader in(call.message.members);
  const auto old_spec = ReadName<crypto::KeySpec>(in, "CustomerMasterKeySpec");
  const auto spec = ReadName<crypto::KeySpec>(in, "KeySpec");
  const store::CreateKeyRequest request{
      .policy = in.Text("Policy", kAnyLength),
      .description = in.Text("Description", kAnyLength).value_or(""),
      .key_usage = ReadName<crypto::KeyUsage>(in, "KeyUsage"),
      .key_spec = spec.value_or(old_spec.value_or(crypto::KeySpec::kSymmetricDefault)),
      .origin = in.OneOf<store::KeyOrigin>("Origin", kOrigins, &store::KeyOriginName)
                    .value_or(store::KeyOrigin::kAwsKms),
      .bypass_policy_lockout_safety_check = in.Flag("BypassPolicyLockoutSafetyCheck"),
      .tags = in.Tags("Tags", kKeyTagShape),
      .multi_region = in.Flag("MultiRegion"),
      .custom_key_store_id = in.Text("CustomKeyStoreId").value_or(""),
      .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  if (spec && old_spec) {
    return Refuse(Code::kValidation,
                  "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. "
                  "CustomerMasterKeySpec is deprecated.");
  }
  TRY_ASSIGN(const store::KmsKeyPtr key, kms_.CreateKey(call.caller, request));
  return MetadataJson(*key, realm_);
}

AwsOutcome AwsKmsOperations::DescribeKey(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::DescribeKeyRequest request = ReadDescribe(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::KmsKeyPtr key, kms_.DescribeKey(call.caller, request));
  return MetadataJson(*key, realm_);
}

AwsOutcome AwsKmsOperations::ListKeys(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::ListKeysRequest request{.page = ReadPage(in), .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const auto page, kms_.ListKeys(call.caller, request));
  Json out;
  out["Keys"] = Json::array();
  for (const crypto::KeyId& key : page.entries) {
    Json entry;
    entry["KeyId"] = KeyIdText(key);
    entry["KeyArn"] = store::KeyArn(realm_, key);
    out["Keys"].push_back(std::move(entry));
  }
  PutPageEnd(out, page.next_marker);
  return ToText(out);
}

AwsOutcome AwsKmsOperations::EnableKey(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::KeyRequest request = ReadKey(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY(kms_.EnableKey(call.caller, request));
  return "{}";
}

AwsOutcome AwsKmsOperations::DisableKey(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::KeyRequest request = ReadKey(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY(kms_.DisableKey(call.caller, request));
  return "{}";
}

AwsOutcome AwsKmsOperations::UpdateKeyDescription(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::UpdateKeyDescriptionRequest request{
      .key_id = in.RequiredText("KeyId"),
      .description = in.RequiredText("Description", kAnyLength),
      .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY(kms_.UpdateKeyDescription(call.caller, request));
  return "{}";
}

AwsOutcome AwsKmsOperations::ScheduleKeyDeletion(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::ScheduleKeyDeletionRequest request{
      .key_id = in.RequiredText("KeyId"),
      .pending_window_in_days = in.Integer("PendingWindowInDays"),
      .confirm = in.Flag("Confirm"),
      .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const auto scheduled, kms_.ScheduleKeyDeletion(call.caller, request));
  Json out;
  out["KeyId"] = scheduled.key_id;
  out["DeletionDate"] = SecondsOf(scheduled.deletion_date);
  out["KeyState"] = store::KeyStateName(scheduled.key_state);
  out["PendingWindowInDays"] = scheduled.pending_window_in_days;
  // Ours.
  if (!scheduled.secrets.empty()) out["Secrets"] = scheduled.secrets;
  return ToText(out);
}

AwsOutcome AwsKmsOperations::CancelKeyDeletion(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::KeyRequest request = ReadKey(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const std::string arn, kms_.CancelKeyDeletion(call.caller, request));
  return KeyIdJson(arn);
}

AwsOutcome AwsKmsOperations::GetKeyLastUsage(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::KeyRequest request = ReadKey(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::KeyLastUsage usage, kms_.GetKeyLastUsage(call.caller, request));
  Json out;
  out["KeyId"] = usage.key_id;
  if (usage.last) {
    Json last;
    last["Operation"] = store::ActionName(usage.last->operation);
    last["Timestamp"] = SecondsOf(usage.last->at);
    out["KeyLastUsage"] = std::move(last);
  }
  out["TrackingStartDate"] = SecondsOf(usage.tracking_start);
  out["KeyCreationDate"] = SecondsOf(usage.key_creation);
  return ToText(out);
}

}  // namespace secretfs::mount
