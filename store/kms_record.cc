#include "store/kms_record.h"

#include <algorithm>
#include <functional>
#include <set>

namespace secretfs::store {
namespace {

constexpr uint8_t kKeyVersion = 2;
constexpr uint8_t kKeyVersionOfFormat1 = 1;
constexpr uint8_t kRecordVersion = 1;
// The end of the year 9999. No clock says more, and periods can be added to it.
constexpr uint64_t kTimeMax = 253'402'300'799'999;

std::unexpected<Error> Damaged(const char* what) {
  return Fail(Code::kCorrupt, std::string("a ") + what + " record cannot be decoded");
}

template <size_t N>
std::array<uint8_t, N> ReadArray(ByteReader& in) {
  std::array<uint8_t, N> array{};
  std::ranges::copy(in.Raw(N), array.begin());
  return array;
}

Bytes ReadBytes(ByteReader& in) {
  const ByteSpan bytes = in.Sized();
  return Bytes(bytes.begin(), bytes.end());
}

void WriteTime(ByteWriter& out, TimeMs at) {
  out.U64(static_cast<uint64_t>(at));
}
TimeMs ReadTime(ByteReader& in, bool& valid) {
  const uint64_t at = in.U64();
  valid = valid && at <= kTimeMax;
  return valid ? static_cast<TimeMs>(at) : 0;
}

void WriteOptionalTime(ByteWriter& out, const std::optional<TimeMs>& at) {
  out.U8(at.has_value());
  WriteTime(out, at.value_or(0));
}

// A number from 1 to `last`, as an enumerator.
template <typename Enum>
Enum ReadEnum(ByteReader& in, Enum last, bool& valid) {
  const uint8_t number = in.U8();
  valid = valid && number >= 1 && number <= static_cast<uint8_t>(last);
  return static_cast<Enum>(number);
}

template <typename Enum>
Enum ReadCryptoEnum(ByteReader& in, bool& valid) {
  const auto value = crypto::FromNumber<Enum>(in.U8());
  valid = valid && value;
  return value.value_or(Enum{1});
}

bool ReadFlag(ByteReader& in, bool& valid) {
  const uint8_t flag = in.U8();
  valid = valid && flag <= 1;
  return flag == 1;
}

std::optional<TimeMs> ReadOptionalTime(ByteReader& in, bool& valid) {
  const bool has = ReadFlag(in, valid);
  const TimeMs at = ReadTime(in, valid);
  return has ? std::optional(at) : std::nullopt;
}

void WriteMap(ByteWriter& out, const std::map<std::string, std::string>& map) {
  out.U16(static_cast<uint16_t>(map.size()));
  for (const auto& [name, value] : map) out.Sized(name).Sized(value);
}
std::map<std::string, std::string> ReadMap(ByteReader& in) {
  std::map<std::string, std::string> map;
  for (int n = in.U16(); n > 0 && !in.failed(); --n) {
    std::string name = in.SizedText();
    map[std::move(name)] = in.SizedText();
  }
  return map;
}

void WriteMaterial(ByteWriter& out, const KeyMaterial& material) {
  out.Raw(material.id);
  WriteTime(out, material.created_at);
  out.U8(static_cast<uint8_t>(material.state)).U8(static_cast<uint8_t>(material.rotation));
  WriteTime(out, material.rotated_at);
  out.Sized(material.wrapped);
  WriteOptionalTime(out, material.valid_to);
  out.Sized(material.description);
}

KeyMaterial ReadMaterial(ByteReader& in, bool& valid) {
  KeyMaterial material;
  material.id = ReadArray<sizeof(crypto::MaterialId)>(in);
  material.created_at = ReadTime(in, valid);
  material.state = ReadEnum(in, MaterialState::kPendingRotation, valid);
  const uint8_t rotation = in.U8();
  valid = valid && rotation <= static_cast<uint8_t>(RotationType::kOnDemand);
  material.rotation = static_cast<RotationType>(rotation);
  material.rotated_at = ReadTime(in, valid);
  material.wrapped = ReadBytes(in);
  material.valid_to = ReadOptionalTime(in, valid);
  material.description = in.SizedText();
  return material;
}

// The only kind of key that format 1 knew.
KmsKey ReadVersion1(ByteReader& in, bool& valid) {
  KmsKey key;
  key.id = ReadArray<sizeof(crypto::KeyId)>(in);
  in.Sized();  // Its alias: always the one below.
  key.created_at = ReadTime(in, valid);
  key.manager = KeyManager::kAws;
  key.description = kSecretsManagerKeyDescription;
  key.rotation_enabled = true;
  key.next_rotation_at = key.created_at + kRotationPeriodDaysDefault * kMsPerDay;
  for (uint32_t n = in.U32(); n > 0 && !in.failed(); --n) {
    KeyMaterial material;
    material.id = ReadArray<sizeof(crypto::MaterialId)>(in);
    material.created_at = ReadTime(in, valid);
    material.wrapped = ReadBytes(in);
    material.state = n == 1 ? MaterialState::kCurrent : MaterialState::kNonCurrent;
    key.materials.push_back(std::move(material));
  }
  return key;
}

// What holds of every key, whatever was done to it.
bool IsPossible(const KmsKey& key) {
  std::set<crypto::MaterialId> ids;
  for (const KeyMaterial& material : key.materials) ids.insert(material.id);
  const auto usages = crypto::UsagesOf(key.spec);
  return ids.size() == key.materials.size() &&
         std::ranges::find(usages, key.usage) != usages.end() &&
         key.rotation_period_days >= kRotationPeriodDaysMin &&
         key.rotation_period_days <= kRotationPeriodDaysMax &&
         key.deletion_at.has_value() == (key.state == KeyState::kPendingDeletion);
}

KmsKey ReadVersion2(ByteReader& in, bool& valid) {
  KmsKey key;
  key.id = ReadArray<sizeof(crypto::KeyId)>(in);
  key.spec = ReadCryptoEnum<crypto::KeySpec>(in, valid);
  key.usage = ReadCryptoEnum<crypto::KeyUsage>(in, valid);
  // The rest of AWS's is never made.
  key.state = ReadEnum(in, KeyState::kPendingImport, valid);
  key.origin = ReadEnum(in, KeyOrigin::kExternal, valid);
  key.manager = ReadEnum(in, KeyManager::kCustomer, valid);
  key.created_at = ReadTime(in, valid);
  key.deletion_at = ReadOptionalTime(in, valid);
  key.rotation_enabled = ReadFlag(in, valid);
  key.rotation_period_days = in.U16();
  key.next_rotation_at = ReadTime(in, valid);
  key.on_demand_rotations = in.U32();
  key.description = in.SizedText();
  key.policy = in.SizedText();
  key.public_key = ReadBytes(in);
  key.tags = ReadMap(in);
  for (uint32_t n = in.U32(); n > 0 && !in.failed(); --n) {
    key.materials.push_back(ReadMaterial(in, valid));
  }
  valid = valid && IsPossible(key);
  return key;
}

}  // namespace

Bytes EncodeKmsKey(const KmsKey& key) {
  ByteWriter out;
  out.U8(kKeyVersion).Raw(key.id);
  out.U8(static_cast<uint8_t>(key.spec)).U8(static_cast<uint8_t>(key.usage));
  out.U8(static_cast<uint8_t>(key.state)).U8(static_cast<uint8_t>(key.origin));
  out.U8(static_cast<uint8_t>(key.manager));
  WriteTime(out, key.created_at);
  WriteOptionalTime(out, key.deletion_at);
  out.U8(key.rotation_enabled).U16(static_cast<uint16_t>(key.rotation_period_days));
  WriteTime(out, key.next_rotation_at);
  out.U32(key.on_demand_rotations);
  out.Sized(key.description).Sized(key.policy).Sized(key.public_key);
  WriteMap(out, key.tags);
  out.U32(static_cast<uint32_t>(key.materials.size()));
  for (const KeyMaterial& material : key.materials) WriteMaterial(out, material);
  return out.Take();
}

Bytes EncodeKmsKeyV1(const KmsKey& key, std::string_view alias) {
  ByteWriter out;
  out.U8(kKeyVersionOfFormat1).Raw(key.id).Sized(alias);
  WriteTime(out, key.created_at);
  out.U32(static_cast<uint32_t>(key.materials.size()));
  for (const KeyMaterial& material : key.materials) {
    out.Raw(material.id);
    WriteTime(out, material.created_at);
    out.Sized(material.wrapped);
  }
  return out.Take();
}

Result<KmsKey> DecodeKmsKey(ByteSpan bytes) {
  ByteReader in(bytes);
  const uint8_t version = in.U8();
  bool valid = version == kKeyVersion || version == kKeyVersionOfFormat1;
  if (!valid) return Damaged("KMS key");
  KmsKey key = version == kKeyVersion ? ReadVersion2(in, valid) : ReadVersion1(in, valid);
  const auto currents =
      std::ranges::count(key.materials, MaterialState::kCurrent, &KeyMaterial::state);
  // Only an imported key may be without.
  valid = valid && (currents == 1 || (currents == 0 && key.origin == KeyOrigin::kExternal));
  if (!in.Complete() || !valid) return Damaged("KMS key");
  // One form only: maps are in order, and what is not set is zero.
  if (version == kKeyVersion && !std::ranges::equal(EncodeKmsKey(key), bytes)) {
    return Damaged("KMS key");
  }
  return key;
}

Bytes EncodeAlias(const Alias& alias) {
  ByteWriter out;
  out.U8(kRecordVersion).Sized(alias.name).Raw(alias.target);
  WriteTime(out, alias.created_at);
  WriteTime(out, alias.updated_at);
  return out.Take();
}

Result<Alias> DecodeAlias(ByteSpan bytes) {
  ByteReader in(bytes);
  bool valid = in.U8() == kRecordVersion;
  Alias alias;
  alias.name = in.SizedText();
  alias.target = ReadArray<sizeof(crypto::KeyId)>(in);
  alias.created_at = ReadTime(in, valid);
  alias.updated_at = ReadTime(in, valid);
  if (!in.Complete() || !valid) return Damaged("alias");
  return alias;
}

Bytes EncodeGrant(const Grant& grant) {
  ByteWriter out;
  out.U8(kRecordVersion).Raw(grant.id).Raw(grant.key).Sized(grant.name);
  out.Sized(grant.grantee_principal).Sized(grant.retiring_principal).Sized(grant.issued_by);
  WriteTime(out, grant.created_at);
  out.U8(static_cast<uint8_t>(grant.operations.size()));
  for (const GrantOperation operation : grant.operations) out.U8(static_cast<uint8_t>(operation));
  for (const auto& context :
       {grant.constraints.encryption_context_equals, grant.constraints.encryption_context_subset}) {
    out.U8(context.has_value());
    if (context) WriteMap(out, *context);
  }
  return out.Take();
}

Result<Grant> DecodeGrant(ByteSpan bytes) {
  ByteReader in(bytes);
  bool valid = in.U8() == kRecordVersion;
  Grant grant;
  grant.id = ReadArray<sizeof(GrantId)>(in);
  grant.key = ReadArray<sizeof(crypto::KeyId)>(in);
  grant.name = in.SizedText();
  grant.grantee_principal = in.SizedText();
  grant.retiring_principal = in.SizedText();
  grant.issued_by = in.SizedText();
  grant.created_at = ReadTime(in, valid);
  for (int n = in.U8(); n > 0 && !in.failed(); --n) {
    grant.operations.push_back(
        ReadEnum(in, static_cast<GrantOperation>(kGrantOperationMax), valid));
  }
  for (auto* context : {&grant.constraints.encryption_context_equals,
                        &grant.constraints.encryption_context_subset}) {
    if (ReadFlag(in, valid)) *context = ReadMap(in);
  }
  const bool in_order =
      std::ranges::adjacent_find(grant.operations, std::ranges::greater_equal()) ==
      grant.operations.end();
  const bool two_constraints =
      grant.constraints.encryption_context_equals && grant.constraints.encryption_context_subset;
  valid = valid && in_order && !grant.operations.empty() && !two_constraints;
  if (!in.Complete() || !valid) return Damaged("grant");
  if (!std::ranges::equal(EncodeGrant(grant), bytes)) return Damaged("grant");
  return grant;
}

Bytes EncodeKeyUse(const KeyUse& use) {
  ByteWriter out;
  out.U8(kRecordVersion).U8(static_cast<uint8_t>(use.operation));
  WriteTime(out, use.at);
  return out.Take();
}

Result<KeyUse> DecodeKeyUse(ByteSpan bytes) {
  ByteReader in(bytes);
  bool valid = in.U8() == kRecordVersion;
  const auto operation = ActionFromNumber(in.U8());
  KeyUse use;
  use.at = ReadTime(in, valid);
  if (!in.Complete() || !valid || !operation) return Damaged("key use");
  use.operation = *operation;
  return use;
}

Bytes EncodeKmsCounts(const KmsCounts& counts) {
  return ByteWriter()
      .U8(kRecordVersion)
      .U32(counts.keys)
      .U32(counts.aliases)
      .U32(counts.grants)
      .Take();
}

Result<KmsCounts> DecodeKmsCounts(ByteSpan bytes) {
  ByteReader in(bytes);
  const bool known = in.U8() == kRecordVersion;
  KmsCounts counts;
  counts.keys = in.U32();
  counts.aliases = in.U32();
  counts.grants = in.U32();
  if (!in.Complete() || !known) return Damaged("KMS count");
  return counts;
}

}  // namespace secretfs::store
