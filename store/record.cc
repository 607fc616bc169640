#include "store/record.h"

#include <algorithm>

namespace secretfs::store {
namespace {

constexpr uint8_t kRecordVersion = 1;

std::unexpected<Error> Damaged(const char* what) {
  return Fail(Code::kCorrupt, std::string("a ") + what + " record cannot be decoded");
}

// A secret whose versions may be under different KMS keys.
constexpr uint8_t kSecretVersion2 = 2;

// Starts a reader behind the record version; an unknown version makes it fail.
ByteReader OpenReader(ByteSpan bytes) {
  ByteReader reader(bytes);
  if (reader.U8() != kRecordVersion) return ByteReader({});
  return reader;
}

template <size_t N>
std::array<uint8_t, N> ReadArray(ByteReader& in) {
  std::array<uint8_t, N> array{};
  ByteSpan bytes = in.Raw(N);
  std::ranges::copy(bytes, array.begin());
  return array;
}

void WriteVersion(ByteWriter& out, const Version& version) {
  out.U64(version.number).Sized(version.id).U64(static_cast<uint64_t>(version.created_at));
  out.U8(static_cast<uint8_t>(version.kind)).U32(version.size_bytes).U8(version.has_keys);
}

Version ReadVersion(ByteReader& in, bool& valid) {
  Version version;
  version.number = in.U64();
  version.id = in.SizedText();
  version.created_at = static_cast<TimeMs>(in.U64());
  uint8_t kind = in.U8();
  version.size_bytes = in.U32();
  uint8_t has_keys = in.U8();
  valid = valid && (kind == 1 || kind == 2) && has_keys <= 1;
  version.kind = static_cast<ValueKind>(kind);
  version.has_keys = has_keys == 1;
  return version;
}

}  // namespace

Bytes EncodeSecret(const Secret& secret) {
  const bool under_one_key = std::ranges::all_of(
      secret.versions, [&](const Version& v) { return v.kms_key == secret.kms_key; });
  const bool plain = secret.kms_key_id.empty() && under_one_key;
  ByteWriter out;
  out.U8(plain ? kRecordVersion : kSecretVersion2);
  out.U64(secret.path).Sized(secret.name).Sized(secret.arn_suffix);
  out.Sized(secret.description).U64(static_cast<uint64_t>(secret.created_at));
  out.U64(static_cast<uint64_t>(secret.changed_at));
  out.U8(secret.deletion_at.has_value());
  out.U64(static_cast<uint64_t>(secret.deletion_at.value_or(0)));
  out.Raw(secret.kms_key).U8(secret.ever_tagged);
  out.U16(static_cast<uint16_t>(secret.tags.size()));
  for (const auto& [key, value] : secret.tags) out.Sized(key).Sized(value);
  out.U16(static_cast<uint16_t>(secret.versions.size()));
  for (const Version& version : secret.versions) WriteVersion(out, version);
  out.U16(static_cast<uint16_t>(secret.labels.size()));
  for (const Label& label : secret.labels) {
    out.Sized(label.name).U64(label.version).U64(label.selector);
    out.U64(static_cast<uint64_t>(label.moved_at));
  }
  if (plain) return out.Take();
  out.Sized(secret.kms_key_id);
  for (const Version& version : secret.versions) out.Raw(version.kms_key);
  return out.Take();
}

Result<Secret> DecodeSecret(ByteSpan bytes) {
  ByteReader in(bytes);
  const uint8_t record_version = in.U8();
  Secret secret;
  bool valid = record_version == kRecordVersion || record_version == kSecretVersion2;
  secret.path = in.U64();
  secret.name = in.SizedText();
  secret.arn_suffix = in.SizedText();
  secret.description = in.SizedText();
  secret.created_at = static_cast<TimeMs>(in.U64());
  secret.changed_at = static_cast<TimeMs>(in.U64());
  bool deleted = in.U8() == 1;
  auto deletion_at = static_cast<TimeMs>(in.U64());
  if (deleted) secret.deletion_at = deletion_at;
  secret.kms_key = ReadArray<sizeof(crypto::KeyId)>(in);
  secret.ever_tagged = in.U8() == 1;
  for (int n = in.U16(); n > 0 && !in.failed(); --n) {
    std::string key = in.SizedText();
    secret.tags[std::move(key)] = in.SizedText();
  }
  for (int n = in.U16(); n > 0 && !in.failed(); --n) {
    secret.versions.push_back(ReadVersion(in, valid));
  }
  for (int n = in.U16(); n > 0 && !in.failed(); --n) {
    Label label;
    label.name = in.SizedText();
    label.version = in.U64();
    label.selector = in.U64();
    label.moved_at = static_cast<TimeMs>(in.U64());
    valid = valid && secret.FindVersionByNumber(label.version) != nullptr;
    secret.labels.push_back(std::move(label));
  }
  if (record_version == kSecretVersion2) secret.kms_key_id = in.SizedText();
  for (Version& version : secret.versions) {
    version.kms_key =
        record_version == kSecretVersion2 ? ReadArray<sizeof(crypto::KeyId)>(in) : secret.kms_key;
  }
  if (!in.Complete() || !valid) return Damaged("secret");
  return secret;
}

const KeyEntry* VersionRecord::FindKey(KeySlot slot) const {
  auto it = std::ranges::lower_bound(keys, slot, {}, &KeyEntry::slot);
  return it == keys.end() || it->slot != slot ? nullptr : &*it;
}

Bytes EncodeVersionRecord(const VersionRecord& record) {
  ByteWriter out;
  out.U8(kRecordVersion).U64(record.path).U32(static_cast<uint32_t>(record.keys.size()));
  for (const KeyEntry& entry : record.keys) out.U32(entry.slot).U32(entry.size_bytes);
  return out.Take();
}

Result<VersionRecord> DecodeVersionRecord(ByteSpan bytes) {
  ByteReader in = OpenReader(bytes);
  VersionRecord record;
  record.path = in.U64();
  for (uint32_t n = in.U32(); n > 0 && !in.failed(); --n) {
    KeyEntry entry{in.U32(), 0};
    entry.size_bytes = in.U32();
    record.keys.push_back(entry);
  }
  if (!in.Complete()) return Damaged("version");
  return record;
}

Bytes EncodePathRecord(const PathRecord& record) {
  return ByteWriter()
      .U8(kRecordVersion)
      .U64(record.id)
      .U64(record.parent)
      .Sized(record.component)
      .Take();
}

Result<PathRecord> DecodePathRecord(ByteSpan bytes) {
  ByteReader in = OpenReader(bytes);
  PathRecord record;
  record.id = in.U64();
  record.parent = in.U64();
  record.component = in.SizedText();
  if (!in.Complete()) return Damaged("path");
  return record;
}

Bytes EncodeInternedName(const InternedName& name) {
  return ByteWriter().U8(kRecordVersion).U64(name.id).U64(name.path).Sized(name.text).Take();
}

Result<InternedName> DecodeInternedName(ByteSpan bytes) {
  ByteReader in = OpenReader(bytes);
  InternedName name;
  name.id = in.U64();
  name.path = in.U64();
  name.text = in.SizedText();
  if (!in.Complete()) return Damaged("name");
  return name;
}

Bytes EncodeCounters(const Counters& counters) {
  ByteWriter out;
  out.U8(kRecordVersion).U64(counters.txn_id).U64(counters.secrets);
  out.U64(counters.next_path).U64(counters.next_selector);
  out.U64(counters.next_key_slot).U64(counters.next_change).U64(counters.next_outbox);
  return out.Take();
}

Result<Counters> DecodeCounters(ByteSpan bytes) {
  ByteReader in = OpenReader(bytes);
  Counters counters;
  counters.txn_id = in.U64();
  counters.secrets = in.U64();
  counters.next_path = in.U64();
  counters.next_selector = in.U64();
  counters.next_key_slot = in.U64();
  counters.next_change = in.U64();
  counters.next_outbox = in.U64();
  if (!in.Complete()) return Damaged("counter");
  return counters;
}

Bytes EncodeChange(const Change& change) {
  ByteWriter out;
  out.U8(kRecordVersion).U64(change.sequence).U64(change.path);
  out.U8(static_cast<uint8_t>(change.kind)).U64(static_cast<uint64_t>(change.at));
  return out.Take();
}

Result<Change> DecodeChange(ByteSpan bytes) {
  ByteReader in = OpenReader(bytes);
  Change change;
  change.sequence = in.U64();
  change.path = in.U64();
  uint8_t kind = in.U8();
  change.at = static_cast<TimeMs>(in.U64());
  if (!in.Complete() || kind < 1 || kind > 5) return Damaged("change");
  change.kind = static_cast<ChangeKind>(kind);
  return change;
}

}  // namespace secretfs::store
