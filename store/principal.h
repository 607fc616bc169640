#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace secretfs::store {

// Who asks: an IAM ARN in the store's account, and the kernel facts it came from.
struct Principal {
  std::string arn;
  uint32_t uid = UINT32_MAX;  // UINT32_MAX: unknown to the kernel's answer; matches no rule.
  uint32_t gid = UINT32_MAX;
};

// Which door the request came through.
enum class Door : uint8_t { kMount = 1, kSocket = 2, kInternal = 3 };
std::string_view DoorName(Door door);

// A request's origin, valid for the call. `pid` is the calling thread (0: not visible from this pid
// namespace).
struct Caller {
  const Principal& principal;
  Door door;
  uint32_t pid = 0;
};

// Audit events store the numbers: never renumber.
enum class Action : uint8_t {
  kCreateSecret = 1,
  kPutSecretValue,
  kUpdateSecret,
  kGetSecretValue,
  kDescribeSecret,
  kListSecrets,
  kListSecretVersionIds,
  kUpdateSecretVersionStage,
  kDeleteSecret,
  kRestoreSecret,
  kTagResource,
  kUntagResource,
  kDestroySecret,  // The end of a recovery window: a service event, never asked for.
  kKmsDecrypt,
  kKmsGenerateDataKey,
  kReadAuditTrail,
  kRecordAuditGap,  // The trail's own: events are missing before this one. Never asked for.

  // AWS KMS.
  kKmsCreateKey = 64,
  kKmsDescribeKey,
  kKmsListKeys,
  kKmsEnableKey,
  kKmsDisableKey,
  kKmsUpdateKeyDescription,
  kKmsScheduleKeyDeletion,
  kKmsCancelKeyDeletion,
  kKmsGetKeyLastUsage,
  kKmsTagResource,
  kKmsUntagResource,
  kKmsListResourceTags,
  kKmsGetKeyPolicy,
  kKmsPutKeyPolicy,
  kKmsListKeyPolicies,
  kKmsCreateAlias,
  kKmsUpdateAlias,
  kKmsDeleteAlias,
  kKmsListAliases,
  kKmsEncrypt,
  kKmsReEncryptFrom,
  kKmsReEncryptTo,
  kKmsGenerateDataKeyWithoutPlaintext,
  kKmsGenerateDataKeyPair,
  kKmsGenerateDataKeyPairWithoutPlaintext,
  kKmsGenerateRandom,
  kKmsSign,
  kKmsVerify,
  kKmsGenerateMac,
  kKmsVerifyMac,
  kKmsDeriveSharedSecret,
  kKmsGetPublicKey,
  kKmsEnableKeyRotation,
  kKmsDisableKeyRotation,
  kKmsGetKeyRotationStatus,
  kKmsRotateKeyOnDemand,
  kKmsListKeyRotations,
  kKmsGetParametersForImport,
  kKmsImportKeyMaterial,
  kKmsDeleteImportedKeyMaterial,
  kKmsCreateGrant,
  kKmsListGrants,
  kKmsListRetirableGrants,
  kKmsRetireGrant,
  kKmsRevokeGrant,
  kKmsReEncrypt,  // What is recorded of kKmsReEncryptFrom and kKmsReEncryptTo together.
  // Service events: what upkeep does by itself. Never asked for.
  kKmsRotateKey,
  kKmsDestroyKey,
  kKmsExpireKeyMaterial,
  kKmsRewrapKeys,  // Local: the root key was changed.
};
// The action with this number in a record.
std::optional<Action> ActionFromNumber(uint8_t number);
// "GetSecretValue", as CloudTrail's eventName has it.
std::string_view ActionName(Action action);
// "secretsmanager.amazonaws.com"
std::string_view ActionSource(Action action);
bool IsReadOnly(Action action);

}  // namespace secretfs::store
