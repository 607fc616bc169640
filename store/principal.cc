#include "store/principal.h"

#include <array>

#include "crypto/base/check.h"

namespace secretfs::store {

std::string_view DoorName(Door door) {
  switch (door) {
    case Door::kMount:
      return "mount";
    case Door::kSocket:
      return "socket";
    case Door::kInternal:
      return "internal";
  }
  return "unknown";
}

namespace {

constexpr std::string_view kSm = "secretsmanager.amazonaws.com";
constexpr std::string_view kKms = "kms.amazonaws.com";
constexpr std::string_view kTrail = "cloudtrail.amazonaws.com";

struct ActionFacts {
  Action action;
  std::string_view name;
  std::string_view source;
  bool read_only;
};

// As CloudTrail has them: what is done with data under a KMS key changes nothing, so is read-only.
constexpr std::array kActions = std::to_array<ActionFacts>({
    {Action::kCreateSecret, "CreateSecret", kSm, false},
    {Action::kPutSecretValue, "PutSecretValue", kSm, false},
    {Action::kUpdateSecret, "UpdateSecret", kSm, false},
    {Action::kGetSecretValue, "GetSecretValue", kSm, true},
    {Action::kDescribeSecret, "DescribeSecret", kSm, true},
    {Action::kListSecrets, "ListSecrets", kSm, true},
    {Action::kListSecretVersionIds, "ListSecretVersionIds", kSm, true},
    {Action::kUpdateSecretVersionStage, "UpdateSecretVersionStage", kSm, false},
    {Action::kDeleteSecret, "DeleteSecret", kSm, false},
    {Action::kRestoreSecret, "RestoreSecret", kSm, false},
    {Action::kTagResource, "TagResource", kSm, false},
    {Action::kUntagResource, "UntagResource", kSm, false},
    {Action::kDestroySecret, "EndSecretVersionDelete", kSm, false},
    {Action::kKmsDecrypt, "Decrypt", kKms, true},
    {Action::kKmsGenerateDataKey, "GenerateDataKey", kKms, true},
    {Action::kReadAuditTrail, "LookupEvents", kTrail, true},
    {Action::kRecordAuditGap, "RecordAuditGap", kTrail, false},
    {Action::kKmsCreateKey, "CreateKey", kKms, false},
    {Action::kKmsDescribeKey, "DescribeKey", kKms, true},
    {Action::kKmsListKeys, "ListKeys", kKms, true},
    {Action::kKmsEnableKey, "EnableKey", kKms, false},
    {Action::kKmsDisableKey, "DisableKey", kKms, false},
    {Action::kKmsUpdateKeyDescription, "UpdateKeyDescription", kKms, false},
    {Action::kKmsScheduleKeyDeletion, "ScheduleKeyDeletion", kKms, false},
    {Action::kKmsCancelKeyDeletion, "CancelKeyDeletion", kKms, false},
    {Action::kKmsGetKeyLastUsage, "GetKeyLastUsage", kKms, true},
    {Action::kKmsTagResource, "TagResource", kKms, false},
    {Action::kKmsUntagResource, "UntagResource", kKms, false},
    {Action::kKmsListResourceTags, "ListResourceTags", kKms, true},
    {Action::kKmsGetKeyPolicy, "GetKeyPolicy", kKms, true},
    {Action::kKmsPutKeyPolicy, "PutKeyPolicy", kKms, false},
    {Action::kKmsListKeyPolicies, "ListKeyPolicies", kKms, true},
    {Action::kKmsCreateAlias, "CreateAlias", kKms, false},
    {Action::kKmsUpdateAlias, "UpdateAlias", kKms, false},
    {Action::kKmsDeleteAlias, "DeleteAlias", kKms, false},
    {Action::kKmsListAliases, "ListAliases", kKms, true},
    {Action::kKmsEncrypt, "Encrypt", kKms, true},
    {Action::kKmsReEncryptFrom, "ReEncryptFrom", kKms, true},
    {Action::kKmsReEncryptTo, "ReEncryptTo", kKms, true},
    {Action::kKmsGenerateDataKeyWithoutPlaintext, "GenerateDataKeyWithoutPlaintext", kKms, true},
    {Action::kKmsGenerateDataKeyPair, "GenerateDataKeyPair", kKms, true},
    {Action::kKmsGenerateDataKeyPairWithoutPlaintext, "GenerateDataKeyPairWithoutPlaintext", kKms,
     true},
    {Action::kKmsGenerateRandom, "GenerateRandom", kKms, true},
    {Action::kKmsSign, "Sign", kKms, true},
    {Action::kKmsVerify, "Verify", kKms, true},
    {Action::kKmsGenerateMac, "GenerateMac", kKms, true},
    {Action::kKmsVerifyMac, "VerifyMac", kKms, true},
    {Action::kKmsDeriveSharedSecret, "DeriveSharedSecret", kKms, true},
    {Action::kKmsGetPublicKey, "GetPublicKey", kKms, true},
    {Action::kKmsEnableKeyRotation, "EnableKeyRotation", kKms, false},
    {Action::kKmsDisableKeyRotation, "DisableKeyRotation", kKms, false},
    {Action::kKmsGetKeyRotationStatus, "GetKeyRotationStatus", kKms, true},
    {Action::kKmsRotateKeyOnDemand, "RotateKeyOnDemand", kKms, false},
    {Action::kKmsListKeyRotations, "ListKeyRotations", kKms, true},
    {Action::kKmsGetParametersForImport, "GetParametersForImport", kKms, true},
    {Action::kKmsImportKeyMaterial, "ImportKeyMaterial", kKms, false},
    {Action::kKmsDeleteImportedKeyMaterial, "DeleteImportedKeyMaterial", kKms, false},
    {Action::kKmsCreateGrant, "CreateGrant", kKms, false},
    {Action::kKmsListGrants, "ListGrants", kKms, true},
    {Action::kKmsListRetirableGrants, "ListRetirableGrants", kKms, true},
    {Action::kKmsRetireGrant, "RetireGrant", kKms, false},
    {Action::kKmsRevokeGrant, "RevokeGrant", kKms, false},
    {Action::kKmsReEncrypt, "ReEncrypt", kKms, true},
    {Action::kKmsRotateKey, "RotateKey", kKms, false},
    {Action::kKmsDestroyKey, "DeleteKey", kKms, false},
    {Action::kKmsExpireKeyMaterial, "DeleteExpiredKeyMaterial", kKms, false},
    {Action::kKmsRewrapKeys, "RewrapKeys", kKms, false},
});

// Row of each number, so that the facts of an action cost one load.
constexpr auto kRowOfNumber = [] {
  std::array<uint8_t, 256> rows{};
  rows.fill(UINT8_MAX);
  for (size_t row = 0; row < kActions.size(); ++row) {
    rows[static_cast<uint8_t>(kActions[row].action)] = static_cast<uint8_t>(row);
  }
  return rows;
}();

const ActionFacts& FactsOf(Action action) {
  const uint8_t row = kRowOfNumber[static_cast<uint8_t>(action)];
  CHECK(row != UINT8_MAX);
  return kActions[row];
}

}  // namespace

std::optional<Action> ActionFromNumber(uint8_t number) {
  if (kRowOfNumber[number] == UINT8_MAX) return std::nullopt;
  return static_cast<Action>(number);
}

std::string_view ActionName(Action action) {
  return FactsOf(action).name;
}

std::string_view ActionSource(Action action) {
  return FactsOf(action).source;
}

bool IsReadOnly(Action action) {
  return FactsOf(action).read_only;
}

}  // namespace secretfs::store
