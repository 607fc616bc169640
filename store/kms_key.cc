#include "store/kms_key.h"

#include <algorithm>
#include <array>

#include "crypto/base/check.h"

namespace secretfs::store {

// --- names

std::string_view KeyStateName(KeyState state) {
  switch (state) {
    case KeyState::kEnabled:
      return "Enabled";
    case KeyState::kDisabled:
      return "Disabled";
    case KeyState::kPendingDeletion:
      return "PendingDeletion";
    case KeyState::kPendingImport:
      return "PendingImport";
    case KeyState::kPendingReplicaDeletion:
      return "PendingReplicaDeletion";
    case KeyState::kUnavailable:
      return "Unavailable";
    case KeyState::kCreating:
      return "Creating";
    case KeyState::kUpdating:
      return "Updating";
  }
  return "Unavailable";
}

std::string_view KeyOriginName(KeyOrigin origin) {
  switch (origin) {
    case KeyOrigin::kAwsKms:
      return "AWS_KMS";
    case KeyOrigin::kExternal:
      return "EXTERNAL";
    case KeyOrigin::kAwsCloudHsm:
      return "AWS_CLOUDHSM";
    case KeyOrigin::kExternalKeyStore:
      return "EXTERNAL_KEY_STORE";
  }
  return "AWS_KMS";
}

std::string_view KeyManagerName(KeyManager manager) {
  return manager == KeyManager::kAws ? "AWS" : "CUSTOMER";
}

std::string_view MaterialStateName(MaterialState state) {
  switch (state) {
    case MaterialState::kCurrent:
      return "CURRENT";
    case MaterialState::kNonCurrent:
      return "NON_CURRENT";
    case MaterialState::kPendingRotation:
      return "PENDING_ROTATION";
  }
  return "CURRENT";
}

std::string_view RotationTypeName(RotationType type) {
  switch (type) {
    case RotationType::kNone:
      return "";
    case RotationType::kAutomatic:
      return "AUTOMATIC";
    case RotationType::kOnDemand:
      return "ON_DEMAND";
  }
  return "";
}

// --- the key

const KeyMaterial* KmsKey::Current() const {
  auto it = std::ranges::find(materials, MaterialState::kCurrent, &KeyMaterial::state);
  return it == materials.end() ? nullptr : &*it;
}

const KeyMaterial* KmsKey::FindMaterial(const crypto::MaterialId& material) const {
  auto it = std::ranges::find(materials, material, &KeyMaterial::id);
  return it == materials.end() ? nullptr : &*it;
}

KeyMaterial* KmsKey::FindMaterial(const crypto::MaterialId& material) {
  auto it = std::ranges::find(materials, material, &KeyMaterial::id);
  return it == materials.end() ? nullptr : &*it;
}

const KeyMaterial* KmsKey::PendingRotation() const {
  auto it = std::ranges::find(materials, MaterialState::kPendingRotation, &KeyMaterial::state);
  return it == materials.end() ? nullptr : &*it;
}

bool KmsKey::HasAllMaterial() const {
  return Current() != nullptr && std::ranges::all_of(materials, [](const KeyMaterial& material) {
           return material.state == MaterialState::kPendingRotation || !material.wrapped.empty();
         });
}

std::optional<TimeMs> KmsKey::ValidTo() const {
  std::optional<TimeMs> earliest;
  for (const KeyMaterial& material : materials) {
    if (material.state == MaterialState::kPendingRotation) continue;
    if (material.wrapped.empty() || !material.valid_to) continue;
    earliest = std::min(earliest.value_or(*material.valid_to), *material.valid_to);
  }
  return earliest;
}

std::optional<TimeMs> KmsKey::ExpiryAt() const {
  const KeyMaterial* pending = PendingRotation();
  const auto earliest = ValidTo();
  if (pending == nullptr || !pending->valid_to) return earliest;
  return std::min(earliest.value_or(*pending->valid_to), *pending->valid_to);
}

KeyState KmsKey::StateAt(TimeMs now) const {
  const auto end = ValidTo();
  const bool ended = end && now >= *end;
  const bool counts = state == KeyState::kEnabled || state == KeyState::kDisabled;
  return ended && counts ? KeyState::kPendingImport : state;
}

std::optional<TimeMs> KmsKey::DueAt() const {
  std::optional<TimeMs> due = ExpiryAt();
  const auto consider = [&due](TimeMs at) { due = std::min(due.value_or(at), at); };
  if (deletion_at) consider(*deletion_at);
  // A key that is not enabled is not rotated, and catches up when it is again.
  if (rotation_enabled && state == KeyState::kEnabled) consider(next_rotation_at);
  return due;
}

void KmsKey::Rotate(KeyMaterial next, RotationType type, TimeMs now) {
  for (KeyMaterial& material : materials) {
    if (material.state == MaterialState::kCurrent) material.state = MaterialState::kNonCurrent;
  }
  next.state = MaterialState::kCurrent;
  next.rotation = type;
  next.rotated_at = now;
  std::erase_if(materials, [&](const KeyMaterial& material) { return material.id == next.id; });
  materials.push_back(std::move(next));
}

// --- the state table

namespace {

// What a cell of table 4.4 answers, by the footnote's number where it has one.
enum class Cell : uint8_t {
  kAllowed,
  kDisabled,            // [1]
  kPendingDeletion,     // [3], also where AWS's table says "2 or 3"
  kNotPendingDeletion,  // [4]
  kPendingImport,       // [5]
  kUnavailable,         // [11]
  kCreating,            // [14]
  kUpdating,            // [15]
};

// What an operation asks of the key's origin, before its state is looked at.
enum class OriginRule : uint8_t {
  kAny,
  kNotImported,  // [6] [7]
  kImported,     // [8] [9]
};

constexpr size_t kStateCount = 8;

struct Row {
  Action action;
  OriginRule origin;
  // In the order of KeyState.
  std::array<Cell, kStateCount> cells;
};

constexpr Cell kYes = Cell::kAllowed;
constexpr Cell k1 = Cell::kDisabled;
constexpr Cell k3 = Cell::kPendingDeletion;
constexpr Cell k4 = Cell::kNotPendingDeletion;
constexpr Cell k5 = Cell::kPendingImport;
constexpr Cell kB = Cell::kUnavailable;
constexpr Cell kE = Cell::kCreating;
constexpr Cell kF = Cell::kUpdating;
constexpr OriginRule kAny = OriginRule::kAny;
constexpr OriginRule kOwn = OriginRule::kNotImported;
constexpr OriginRule kImp = OriginRule::kImported;

using Cells = std::array<Cell, kStateCount>;
//                          Enabled Disabled PendingDel PendingImp PendRepDel Unavail Creating Upd.
constexpr Cells kAlways = {kYes, kYes, kYes, kYes, kYes, kYes, kYes, kYes};
constexpr Cells kCancel = {k4, k4, kYes, k4, kYes, k4, k4, k4};
constexpr Cells kEdits = {kYes, kYes, k3, kYes, k3, kYes, kYes, kYes};
constexpr Cells kGrants = {kYes, k1, k3, k5, k3, kYes, kE, kYes};
constexpr Cells kCrypto = {kYes, k1, k3, k5, k3, kB, kE, kYes};
constexpr Cells kDeleteMaterial = {kYes, kYes, kYes, kYes, kYes, kB, kE, kF};
constexpr Cells kSwitch = {kYes, kYes, k3, k5, k3, kYes, kE, kF};
constexpr Cells kRotation = {kYes, k1, k3, k5, k3, kB, kE, kYes};
constexpr Cells kImportParameters = {kYes, kYes, k3, kYes, k3, kB, kE, kF};
constexpr Cells kImport = {kYes, kYes, k3, kYes, k3, kB, kE, kYes};
constexpr Cells kSchedule = {kYes, kYes, k3, kYes, k3, kYes, kYes, kF};

constexpr std::array kTable = std::to_array<Row>({
    {Action::kKmsCancelKeyDeletion, kAny, kCancel},
    {Action::kKmsCreateAlias, kAny, kEdits},
    {Action::kKmsTagResource, kAny, kEdits},
    {Action::kKmsUntagResource, kAny, kEdits},
    {Action::kKmsUpdateKeyDescription, kAny, kEdits},
    {Action::kKmsCreateGrant, kAny, kGrants},
    {Action::kKmsDecrypt, kAny, kCrypto},
    {Action::kKmsEncrypt, kAny, kCrypto},
    {Action::kKmsGenerateDataKey, kAny, kCrypto},
    {Action::kKmsGenerateDataKeyPair, kAny, kCrypto},
    {Action::kKmsGenerateDataKeyPairWithoutPlaintext, kAny, kCrypto},
    {Action::kKmsGenerateDataKeyWithoutPlaintext, kAny, kCrypto},
    {Action::kKmsReEncryptFrom, kAny, kCrypto},
    {Action::kKmsReEncryptTo, kAny, kCrypto},
    {Action::kKmsDeleteAlias, kAny, kAlways},
    {Action::kKmsDescribeKey, kAny, kAlways},
    {Action::kKmsGetKeyPolicy, kAny, kAlways},
    {Action::kKmsListAliases, kAny, kAlways},
    {Action::kKmsListGrants, kAny, kAlways},
    {Action::kKmsListKeyPolicies, kAny, kAlways},
    {Action::kKmsListResourceTags, kAny, kAlways},
    {Action::kKmsPutKeyPolicy, kAny, kAlways},
    {Action::kKmsRetireGrant, kAny, kAlways},
    {Action::kKmsRevokeGrant, kAny, kAlways},
    {Action::kKmsDeleteImportedKeyMaterial, kImp, kDeleteMaterial},
    {Action::kKmsDisableKey, kAny, kSwitch},
    {Action::kKmsEnableKey, kAny, kSwitch},
    {Action::kKmsDisableKeyRotation, kOwn, kRotation},
    {Action::kKmsEnableKeyRotation, kOwn, kRotation},
    {Action::kKmsGenerateMac, kAny, kCrypto},
    {Action::kKmsGetPublicKey, kAny, kCrypto},
    {Action::kKmsSign, kAny, kCrypto},
    {Action::kKmsVerify, kAny, kCrypto},
    {Action::kKmsVerifyMac, kAny, kCrypto},
    {Action::kKmsGetKeyRotationStatus, kOwn, kAlways},
    {Action::kKmsGetParametersForImport, kImp, kImportParameters},
    {Action::kKmsImportKeyMaterial, kImp, kImport},
    {Action::kKmsScheduleKeyDeletion, kAny, kSchedule},
    // AWS answers [10] for the destination of an alias, and nothing for the key that loses it.
    {Action::kKmsUpdateAlias, kAny, kEdits},
    // Newer than AWS's table.
    {Action::kKmsDeriveSharedSecret, kAny, kCrypto},
    {Action::kKmsRotateKeyOnDemand, kAny, kCrypto},
    {Action::kKmsListKeyRotations, kAny, kAlways},
    {Action::kKmsGetKeyLastUsage, kAny, kAlways},
});

Status CheckOrigin(const KmsKey& key, OriginRule rule) {
  const bool imported = key.origin == KeyOrigin::kExternal;
  if (rule == OriginRule::kAny || imported == (rule == OriginRule::kImported)) return {};
  return Fail(Code::kUnsupported, key.arn + " origin is " + std::string(KeyOriginName(key.origin)) +
                                      " which is not valid for this operation.");
}

Status AnswerOf(Cell cell, const std::string& arn) {
  switch (cell) {
    case Cell::kAllowed:
      return {};
    case Cell::kDisabled:
      return Fail(Code::kDisabled, arn + " is disabled.");
    case Cell::kPendingDeletion:
      return Fail(Code::kFailedPrecondition, arn + " is pending deletion.");
    case Cell::kNotPendingDeletion:
      return Fail(Code::kFailedPrecondition, arn + " is not pending deletion.");
    case Cell::kPendingImport:
      return Fail(Code::kFailedPrecondition, arn + " is pending import.");
    case Cell::kUnavailable:
      return Fail(Code::kFailedPrecondition, arn + " is unavailable.");
    case Cell::kCreating:
      return Fail(Code::kFailedPrecondition, arn + " is creating.");
    case Cell::kUpdating:
      return Fail(Code::kFailedPrecondition, arn + " is updating.");
  }
  return {};
}

}  // namespace

Status CheckKeyState(const KmsKey& key, Action action, TimeMs now) {
  const auto* row = std::ranges::find(kTable, action, &Row::action);
  CHECK(row != kTable.end());
  TRY(CheckOrigin(key, row->origin));
  return AnswerOf(row->cells[static_cast<size_t>(key.StateAt(now)) - 1], key.arn);
}

// --- how keys are named

namespace {

constexpr size_t kAliasBytesMax = 256;
constexpr size_t kTagKeyCharactersMax = 128;
constexpr size_t kTagValueCharactersMax = 256;
constexpr size_t kUuidTextBytes = 36;

std::string ArnPrefix(const Realm& realm) {
  return "arn:aws:kms:" + realm.region + ":" + realm.account + ":";
}

bool IsAliasCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ':' ||
         c == '/' || c == '_' || c == '-';
}

size_t CountCharacters(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; }));
}

template <size_t N>
std::optional<std::array<uint8_t, N>> ParseHex(std::string_view hex) {
  if (hex.size() != 2 * N) return std::nullopt;
  // AWS's pattern for ids has lower-case letters alone.
  if (std::ranges::any_of(hex, [](char c) { return c >= 'A' && c <= 'F'; })) return std::nullopt;
  const auto bytes = FromHex(hex);
  if (!bytes) return std::nullopt;
  std::array<uint8_t, N> array;
  std::ranges::copy(*bytes, array.begin());
  return array;
}

}  // namespace

std::string KeyArn(const Realm& realm, const crypto::KeyId& key) {
  return ArnPrefix(realm) + "key/" + crypto::FormatUuid(key);
}

std::string AliasArn(const Realm& realm, std::string_view alias) {
  return ArnPrefix(realm).append(alias);
}

std::optional<crypto::KeyId> ParseKeyId(std::string_view text) {
  if (text.size() != kUuidTextBytes) return std::nullopt;
  std::string hex;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash != (text[i] == '-')) return std::nullopt;
    if (!dash) hex.push_back(text[i]);
  }
  return ParseHex<sizeof(crypto::KeyId)>(hex);
}

std::optional<crypto::MaterialId> ParseMaterialId(std::string_view hex) {
  return ParseHex<sizeof(crypto::MaterialId)>(hex);
}

Result<KeyReference> ParseKeyReference(std::string_view text, const Realm& realm) {
  std::string_view name = text;
  if (text.starts_with("arn:")) {
    const std::string prefix = ArnPrefix(realm);
    if (!text.starts_with(prefix)) {
      // "arn:aws:kms:<region>:..."
      std::string_view region = text;
      for (int i = 0; i < 3; ++i) {
        region.remove_prefix(std::min(region.find(':'), region.size() - 1) + 1);
      }
      region = region.substr(0, region.find(':'));
      return Fail(Code::kNotFound, "Invalid arn " + std::string(region));
    }
    name.remove_prefix(prefix.size());
    if (name.starts_with("key/"))
      name.remove_prefix(4);
    else if (!name.starts_with(kAliasPrefix))
      name = {};
  }
  if (name.starts_with(kAliasPrefix)) return KeyReference{std::nullopt, std::string(name)};
  if (const auto key = ParseKeyId(name)) return KeyReference{key, ""};
  return Fail(Code::kNotFound, "Invalid keyId '" + std::string(text) + "'");
}

Status ValidateAliasName(std::string_view alias) {
  if (alias.empty() || alias.size() > kAliasBytesMax) {
    return Fail(Code::kValidation,
                "1 validation error detected: Value '" + std::string(alias.substr(0, 64)) +
                    "' at 'aliasName' failed to satisfy constraint: Member must have length less "
                    "than or equal to 256");
  }
  if (!alias.starts_with(kAliasPrefix)) {
    return Fail(Code::kValidation,
                "Alias must start with the prefix \"alias/\". Please see "
                "https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html");
  }
  if (alias.size() == kAliasPrefix.size() || !std::ranges::all_of(alias, IsAliasCharacter)) {
    return Fail(Code::kValidation,
                "1 validation error detected: Value '" + std::string(alias) +
                    "' at 'aliasName' failed to satisfy constraint: Member must satisfy regular "
                    "expression pattern: ^[a-zA-Z0-9:/_-]+$");
  }
  return {};
}

Status ValidateKeyTags(const std::map<std::string, std::string>& tags) {
  if (tags.size() > kTagsPerKeyMax) return Fail(Code::kInvalidTag, "Too many tags");
  for (const auto& [key, value] : tags) {
    if (key.starts_with("aws:")) {
      return Fail(Code::kInvalidTag, "Tags beginning with aws: are reserved");
    }
    const size_t key_characters = CountCharacters(key);
    if (key_characters == 0 || key_characters > kTagKeyCharactersMax ||
        CountCharacters(value) > kTagValueCharactersMax) {
      return Fail(Code::kValidation,
                  "1 validation error detected: a tag key has 1 to 128 characters and a tag value "
                  "at most 256.");
    }
  }
  return {};
}

}  // namespace secretfs::store
