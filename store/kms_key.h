#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/key_spec.h"
#include "crypto/keyring.h"
#include "store/principal.h"
#include "store/secret_name.h"

namespace secretfs::store {

// Quotas of AWS KMS ("AWS KMS quotas", aws-semantics 4.11) and bounds of its API model.
inline constexpr size_t kKmsKeysMax = 100'000;  // Customer managed.
inline constexpr size_t kAliasesPerKeyMax = 50;
inline constexpr size_t kGrantsPerKeyMax = 50'000;
inline constexpr size_t kTagsPerKeyMax = 50;
inline constexpr size_t kKeyPolicyBytesMax = 32'768;
inline constexpr size_t kKeyDescriptionBytesMax = 8192;
inline constexpr int kRotationPeriodDaysMin = 90;
inline constexpr int kRotationPeriodDaysMax = 2560;
inline constexpr int kRotationPeriodDaysDefault = 365;
inline constexpr uint32_t kOnDemandRotationsMax = 25;
inline constexpr int kKeyDeletionDaysMin = 7;
inline constexpr int kKeyDeletionDaysMax = 30;
inline constexpr int kImportValidityDaysMax = 365;

inline constexpr std::string_view kAliasPrefix = "alias/";
inline constexpr std::string_view kAwsAliasPrefix = "alias/aws/";
inline constexpr std::string_view kSecretsManagerAlias = "alias/aws/secretsmanager";
inline constexpr std::string_view kSecretsManagerKeyDescription =
    "Default key that protects my Secrets Manager data when no other key is defined";

// Records store the numbers of these: never renumber.
enum class KeyState : uint8_t {
  kEnabled = 1,
  kDisabled = 2,
  kPendingDeletion = 3,
  kPendingImport = 4,
  // What a single host never comes to, and the table below answers all the same.
  kPendingReplicaDeletion = 5,
  kUnavailable = 6,
  kCreating = 7,
  kUpdating = 8,
};
enum class KeyOrigin : uint8_t {
  kAwsKms = 1,
  kExternal = 2,     // Imported.
  kAwsCloudHsm = 3,  // Custom key stores: asked for, never made.
  kExternalKeyStore = 4,
};
enum class KeyManager : uint8_t { kAws = 1, kCustomer = 2 };
enum class MaterialState : uint8_t { kCurrent = 1, kNonCurrent = 2, kPendingRotation = 3 };
enum class RotationType : uint8_t { kNone = 0, kAutomatic = 1, kOnDemand = 2 };

// As AWS writes them: "PendingDeletion", "AWS_KMS", "CUSTOMER", "NON_CURRENT", "ON_DEMAND".
std::string_view KeyStateName(KeyState state);
std::string_view KeyOriginName(KeyOrigin origin);
std::string_view KeyManagerName(KeyManager manager);
std::string_view MaterialStateName(MaterialState state);
std::string_view RotationTypeName(RotationType type);

// One generation of a key. A generation of AWS_KMS origin has its material until the key is
// destroyed; an imported one may lose it and get the same again.
struct KeyMaterial {
  crypto::MaterialId id{};
  TimeMs created_at = 0;
  MaterialState state = MaterialState::kCurrent;
  // How and when it became current; kNone for the first.
  RotationType rotation = RotationType::kNone;
  TimeMs rotated_at = 0;
  Bytes wrapped;                   // By the root key; empty: deleted or expired.
  std::optional<TimeMs> valid_to;  // Imported with an end.
  std::string description;         // KeyMaterialDescription of an import.
};

// Everything about one KMS key but its aliases, grants and use: a value type on which the state
// machine works, stored as one record and so changed atomically.
//
// State machine (aws-semantics 4.4). CreateKey makes a key Enabled, or PendingImport if its
// material is to be imported. Enable and Disable move between Enabled and Disabled.
// ScheduleKeyDeletion makes any of these PendingDeletion; CancelKeyDeletion makes that Disabled,
// or PendingImport if there is no material. Importing the missing material makes PendingImport
// Enabled; deleting or losing any of it makes Enabled and Disabled PendingImport. In every state
// but Enabled the key does nothing with data.
struct KmsKey {
  crypto::KeyId id{};
  std::string arn;  // Not stored: computed when the key is loaded.
  std::string description;
  crypto::KeySpec spec = crypto::KeySpec::kSymmetricDefault;
  crypto::KeyUsage usage = crypto::KeyUsage::kEncryptDecrypt;
  KeyState state = KeyState::kEnabled;
  KeyOrigin origin = KeyOrigin::kAwsKms;
  KeyManager manager = KeyManager::kCustomer;
  TimeMs created_at = 0;
  std::optional<TimeMs> deletion_at;  // Set exactly while the key is pending deletion.
  bool rotation_enabled = false;
  int rotation_period_days = kRotationPeriodDaysDefault;
  TimeMs next_rotation_at = 0;  // Meaningful while rotation is enabled.
  uint32_t on_demand_rotations = 0;
  std::map<std::string, std::string> tags;
  std::string policy;  // Empty: the default policy.
  Bytes public_key;    // SubjectPublicKeyInfo in DER; empty unless asymmetric with material.
  std::vector<KeyMaterial> materials;  // Oldest first.

  bool symmetric() const { return spec == crypto::KeySpec::kSymmetricDefault; }
  // The generation that encrypts and signs; null before the first import.
  const KeyMaterial* Current() const;
  const KeyMaterial* FindMaterial(const crypto::MaterialId& material) const;
  KeyMaterial* FindMaterial(const crypto::MaterialId& material);
  const KeyMaterial* PendingRotation() const;
  // No generation that is or was current lacks its material.
  bool HasAllMaterial() const;
  // The earliest end of imported material (KeyMetadata.ValidTo), if any has one. Material that
  // waits for its rotation does not count: the key works without it.
  std::optional<TimeMs> ValidTo() const;
  // The same with what waits for its rotation: when upkeep has material to take away.
  std::optional<TimeMs> ExpiryAt() const;
  // The state at `now`: imported material that has reached its end is gone before upkeep says so.
  KeyState StateAt(TimeMs now) const;
  // When upkeep has to do something about this key next.
  std::optional<TimeMs> DueAt() const;

  // Makes `next` the current generation; the one before stays for decryption.
  void Rotate(KeyMaterial next, RotationType type, TimeMs now);
};

// Whether `action` is allowed on a key in its state at `now`: table 4.4 of aws-semantics, with its
// footnotes on origin. Pure.
//
// Errors: kDisabled, kFailedPrecondition (KMSInvalidStateException) and kUnsupported with AWS's
// messages, which name the key's ARN.
Status CheckKeyState(const KmsKey& key, Action action, TimeMs now);

std::string KeyArn(const Realm& realm, const crypto::KeyId& key);
std::string AliasArn(const Realm& realm, std::string_view alias);

// The four ways in which a request names a key.
struct KeyReference {
  std::optional<crypto::KeyId> key;
  std::string alias;  // "alias/x", if `key` is not set.
};
// Errors: kNotFound with AWS's messages: "Invalid keyId 'x'", "Invalid arn <region>".
Result<KeyReference> ParseKeyReference(std::string_view text, const Realm& realm);

// "01234567-89ab-cdef-0123-456789abcdef" in lower case, or nullopt.
std::optional<crypto::KeyId> ParseKeyId(std::string_view text);
std::optional<crypto::MaterialId> ParseMaterialId(std::string_view hex);

// Errors: kValidation (pattern, length, missing prefix) with AWS's messages.
Status ValidateAliasName(std::string_view alias);
// Errors: kInvalidTag with AWS's messages.
Status ValidateKeyTags(const std::map<std::string, std::string>& tags);

}  // namespace secretfs::store
