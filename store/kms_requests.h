#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crypto/key_spec.h"
#include "crypto/secret_buffer.h"
#include "store/kms_grant.h"
#include "store/kms_key.h"

// Requests and answers of store/kms_service.h about keys, named as AWS KMS names their members (API
// model 2014-11-01). A `key_id` is a key id, a key ARN, an alias name or an alias ARN where AWS
// takes all four; else a key id or key ARN. In answers it is the key's ARN. `request_id` goes to
// the audit event.
namespace secretfs::store {

using KmsKeyPtr = std::shared_ptr<const KmsKey>;

struct KeyRequest {
  std::string key_id;
  std::string request_id;
};

// --- keys
struct CreateKeyRequest {
  std::optional<std::string> policy;
  std::string description;
  std::optional<crypto::KeyUsage> key_usage;
  crypto::KeySpec key_spec = crypto::KeySpec::kSymmetricDefault;
  KeyOrigin origin = KeyOrigin::kAwsKms;
  bool bypass_policy_lockout_safety_check = false;
  std::map<std::string, std::string> tags;
  bool multi_region = false;
  std::string custom_key_store_id;
  std::string request_id;
};
struct DescribeKeyRequest {
  std::string key_id;
  std::vector<std::string> grant_tokens;
  std::string request_id;
};
struct UpdateKeyDescriptionRequest {
  std::string key_id;
  std::string description;
  std::string request_id;
};
struct ScheduleKeyDeletionRequest {
  std::string key_id;
  std::optional<int64_t> pending_window_in_days;
  // Local: false refuses with kConflict, naming them, while secrets are encrypted under the key.
  bool confirm = false;
  std::string request_id;
};
struct ScheduledKeyDeletion {
  std::string key_id;
  TimeMs deletion_date = 0;
  KeyState key_state = KeyState::kPendingDeletion;
  int pending_window_in_days = 0;
  // Local: secrets that cannot be read from now on, at most kSecretNamesShownMax of them.
  std::vector<std::string> secrets;
};
inline constexpr size_t kSecretNamesShownMax = 100;

// A page of a list. `marker` is opaque, belongs to the request that it came from, and is empty for
// the first page; `limit` unset means AWS's default.
struct PageRequest {
  std::optional<int64_t> limit;
  std::string marker;
};
template <typename Entry>
struct KmsPage {
  std::vector<Entry> entries;
  std::string next_marker;  // Empty: the end (Truncated false).
};
struct ListKeysRequest {
  PageRequest page;
  std::string request_id;
};
struct ListForKeyRequest {
  std::string key_id;
  PageRequest page;
  std::string request_id;
};
struct KeyTagsRequest {
  std::string key_id;
  std::map<std::string, std::string> set;
  std::vector<std::string> remove;
  std::string request_id;
};
struct KeyTag {
  std::string key;
  std::string value;
};

// --- policies
struct PutKeyPolicyRequest {
  std::string key_id;
  std::string policy_name = "default";
  std::string policy;
  bool bypass_policy_lockout_safety_check = false;
  std::string request_id;
};
struct GetKeyPolicyRequest {
  std::string key_id;
  std::string policy_name = "default";
  std::string request_id;
};

// --- aliases
struct Alias {
  std::string name;
  crypto::KeyId target{};
  TimeMs created_at = 0;
  TimeMs updated_at = 0;
};
struct AliasRequest {
  std::string alias_name;
  std::string target_key_id;  // Empty for DeleteAlias.
  std::string request_id;
};

// --- use
struct KeyUse {
  Action operation = Action::kKmsDecrypt;
  TimeMs at = 0;
};
struct KeyLastUsage {
  std::string key_id;
  std::optional<KeyUse> last;
  TimeMs tracking_start = 0;
  TimeMs key_creation = 0;
};

// --- rotation
struct EnableKeyRotationRequest {
  std::string key_id;
  std::optional<int64_t> rotation_period_in_days;
  std::string request_id;
};
struct KeyRotationStatus {
  std::string key_id;
  bool enabled = false;
  int period_in_days = 0;  // 0: not enabled.
  std::optional<TimeMs> next_rotation;
};
struct ListKeyRotationsRequest {
  std::string key_id;
  bool all_key_material = false;  // IncludeKeyMaterial: ALL_KEY_MATERIAL.
  PageRequest page;
  std::string request_id;
};
// A generation as ListKeyRotations shows it; `wrapped` is empty.
using KeyRotation = KeyMaterial;

// --- import
struct ParametersForImportRequest {
  std::string key_id;
  crypto::ImportWrapping wrapping;
  std::string request_id;
};
struct ParametersForImport {
  std::string key_id;
  Bytes import_token;
  Bytes public_key;
  TimeMs valid_to = 0;
};
enum class ImportType : uint8_t { kNewKeyMaterial, kExistingKeyMaterial };
struct ImportKeyMaterialRequest {
  std::string key_id;
  Bytes import_token;
  Bytes encrypted_key_material;
  std::optional<TimeMs> valid_to;
  bool expires = true;  // ExpirationModel: KEY_MATERIAL_EXPIRES.
  std::optional<ImportType> import_type;
  std::string key_material_description;
  std::string key_material_id;
  std::string request_id;
};
struct DeleteImportedKeyMaterialRequest {
  std::string key_id;
  std::string key_material_id;  // Empty: the only one, or the current.
  std::string request_id;
};
struct ImportedKeyMaterial {
  std::string key_id;
  std::string key_material_id;
};

// --- grants
struct CreateGrantRequest {
  std::string key_id;
  std::string grantee_principal;
  std::string retiring_principal;
  std::vector<GrantOperation> operations;
  GrantConstraints constraints;
  std::string name;
  std::vector<std::string> grant_tokens;
  bool dry_run = false;
  std::string request_id;
};
struct CreatedGrant {
  std::string grant_token;
  std::string grant_id;
};
struct ListGrantsRequest {
  std::string key_id;
  std::string grant_id;
  std::string grantee_principal;
  PageRequest page;
  std::string request_id;
};
struct ListRetirableGrantsRequest {
  std::string retiring_principal;
  PageRequest page;
  std::string request_id;
};
// By token, or by key and grant id.
struct EndGrantRequest {
  std::string key_id;
  std::string grant_id;
  std::string grant_token;  // RetireGrant.
  bool dry_run = false;
  std::string request_id;
};

}  // namespace secretfs::store
