#include "store/secret_store.h"

#include <algorithm>
#include <array>

#include "crypto/base/mutex.h"
#include "crypto/kdf.h"
#include "store/table_key.h"

namespace secretfs::store {
namespace {

constexpr size_t kCacheSlots = 2048;
constexpr size_t kCacheLocks = 64;
constexpr size_t kTextHashBytes = 16;

crypto::SecretBuffer Derive(const crypto::SecretBuffer& store_key, std::string_view purpose) {
  Bytes info = ByteWriter().Sized("secretfs store v1").Sized(purpose).Take();
  return crypto::Hkdf(store_key.Reveal(), {}, info, crypto::kAesKeyBytes);
}

// Remembers decoded records by id for as long as no transaction is committed: an entry counts only
// while the store's newest transaction is the one that it was read under. Direct-mapped, so its
// memory is bounded.
template <typename Value>
class SnapshotCache {
 public:
  std::shared_ptr<const Value> Find(uint64_t id, uint64_t txn_id) {
    Slot& slot = slots_[id % kCacheSlots];
    MutexLock lock(locks_[id % kCacheLocks]);
    return slot.id == id && slot.txn_id == txn_id ? slot.value : nullptr;
  }
  void Store(uint64_t id, uint64_t txn_id, std::shared_ptr<const Value> value) {
    Slot& slot = slots_[id % kCacheSlots];
    MutexLock lock(locks_[id % kCacheLocks]);
    slot = {id, txn_id, std::move(value)};
  }

 private:
  struct Slot {
    uint64_t id = 0;
    uint64_t txn_id = 0;
    std::shared_ptr<const Value> value;
  };
  std::array<Slot, kCacheSlots> slots_;
  std::array<Mutex, kCacheLocks> locks_;
};

constexpr size_t kGenerationBytes = sizeof(uint64_t);

}  // namespace

struct SecretStore::Caches {
  SnapshotCache<Secret> secrets;
  SnapshotCache<VersionRecord> versions;
  SnapshotCache<InternedName> keys;  // By a hash of the text, which is then compared.
};

StoreKeys::StoreKeys(const crypto::SecretBuffer& store_key)
    : records(Derive(store_key, "records")),
      names(Derive(store_key, "names")),
      audit(Derive(store_key, "audit")),
      header(Derive(store_key, "header")) {}

SecretStore::SecretStore(Env& env, StoreKeys keys, Realm realm, crypto::RandomSource& random)
    : env_(env),
      keys_(std::move(keys)),
      realm_(std::move(realm)),
      random_(random),
      caches_(std::make_unique<Caches>()) {}
SecretStore::~SecretStore() = default;

Status SecretStore::Load() {
  ReadTxn txn(env_);
  TRY_ASSIGN(Counters counters, ReadCounters(txn));
  if (counters.txn_id != txn.txn_id()) {
    return Fail(Code::kCorrupt,
                "store " + env_.directory() +
                    ": its newest transaction is not whole; restore the store from a "
                    "backup");
  }
  next_selector_ = counters.next_selector;
  return {};
}

// --- sealing

namespace {

Bytes RecordPlace(Table table, ByteSpan key) {
  std::string_view name = TableName(table);
  return ByteWriter(2 * sizeof(uint32_t) + name.size() + key.size()).Sized(name).Sized(key).Take();
}

}  // namespace

Bytes SecretStore::SealRecord(Table table, ByteSpan key, ByteSpan plaintext) const {
  return keys_.records.Seal(plaintext, RecordPlace(table, key), random_);
}

Result<Bytes> SecretStore::OpenRecord(Table table, ByteSpan key, ByteSpan sealed) const {
  auto opened = keys_.records.OpenMetadata(sealed, RecordPlace(table, key));
  if (opened) return opened;
  return Fail(Code::kCorrupt, "store " + env_.directory() + ": a record of table " +
                                  TableName(table) +
                                  " was altered or is damaged; restore the store from a backup");
}

Result<std::optional<Bytes>> SecretStore::GetRecord(const ReadTxn& txn, Table table,
                                                    ByteSpan key) const {
  TRY_ASSIGN(std::optional<Bytes> sealed, txn.Get(table, key));
  if (!sealed) return std::optional<Bytes>();
  TRY_ASSIGN(Bytes plaintext, OpenRecord(table, key, *sealed));
  return std::optional<Bytes>(std::move(plaintext));
}

// 62 bits, never 0: a directory's cursor must fit a signed 64-bit offset with room for the entries
// that are not names.
uint64_t SecretStore::NameHash(Table table, uint64_t scope, std::string_view text) const {
  Bytes message = ByteWriter().U8(static_cast<uint8_t>(table)).U64(scope).Raw(AsBytes(text)).Take();
  crypto::Digest digest = crypto::HmacSha256(keys_.names.Reveal(), message);
  uint64_t hash = ByteReader(digest).U64() >> 2;
  return std::max<uint64_t>(hash, 1);
}

// --- the name tree

Result<std::optional<PathRecord>> SecretStore::FindDirent(const ReadTxn& txn, PathId parent,
                                                          std::string_view component) const {
  Bytes key = TableKey(parent, NameHash(Table::kDirents, parent, component));
  TRY_ASSIGN(std::optional<Bytes> bytes, GetRecord(txn, Table::kDirents, key));
  if (!bytes) return std::optional<PathRecord>();
  TRY_ASSIGN(PathRecord record, DecodePathRecord(*bytes));
  // Two names with one hash: EnsurePath() refuses the second.
  if (record.component != component) return std::optional<PathRecord>();
  return std::optional<PathRecord>(std::move(record));
}

Result<std::optional<PathId>> SecretStore::WalkPath(const ReadTxn& txn,
                                                    const SecretName& name) const {
  PathId path = kRootPath;
  for (std::string_view component : name.Components()) {
    TRY_ASSIGN(std::optional<PathRecord> dirent, FindDirent(txn, path, component));
    if (!dirent) return std::optional<PathId>();
    path = dirent->id;
  }
  return std::optional<PathId>(path);
}

Result<std::optional<PathId>> SecretStore::FindPath(const SecretName& name) const {
  ReadTxn txn(env_);
  return WalkPath(txn, name);
}

Result<std::optional<PathId>> SecretStore::FindChild(PathId parent,
                                                     std::string_view component) const {
  ReadTxn txn(env_);
  TRY_ASSIGN(std::optional<PathRecord> dirent, FindDirent(txn, parent, component));
  return dirent ? std::optional<PathId>(dirent->id) : std::nullopt;
}

Result<bool> SecretStore::PathExists(PathId path) const {
  if (path == kRootPath) return true;
  ReadTxn txn(env_);
  TRY_ASSIGN(std::optional<Bytes> record, txn.Get(Table::kPaths, TableKey(path)));
  return record.has_value();
}

Result<std::string> SecretStore::PathText(PathId path) const {
  ReadTxn txn(env_);
  std::string text;
  while (path != kRootPath) {
    TRY_ASSIGN(std::optional<Bytes> bytes, GetRecord(txn, Table::kPaths, TableKey(path)));
    if (!bytes) return Fail(Code::kStale, "the directory is gone");
    TRY_ASSIGN(PathRecord record, DecodePathRecord(*bytes));
    // Ids grow downwards, so a damaged record cannot make a loop.
    if (record.parent >= path) return Fail(Code::kCorrupt, "a path record is damaged");
    text.insert(0, record.component + "/");
    path = record.parent;
  }
  return text;
}

Status SecretStore::ListChildren(PathId parent, uint64_t after, const ChildVisitor& visit) const {
  ReadTxn txn(env_);
  return txn.Scan(Table::kDirents, TableKey(parent, after + 1),
                  [&](ByteSpan key, ByteSpan sealed) -> Result<bool> {
                    ByteReader in(key);
                    if (in.U64() != parent) return false;
                    uint64_t cursor = in.U64();
                    TRY_ASSIGN(Bytes bytes, OpenRecord(Table::kDirents, key, sealed));
                    TRY_ASSIGN(PathRecord record, DecodePathRecord(bytes));
                    return visit(cursor, record.id, record.component);
                  });
}

// --- secrets

Result<std::optional<Secret>> SecretStore::ReadSecret(const ReadTxn& txn, PathId path) const {
  TRY_ASSIGN(std::optional<Bytes> sealed, txn.Get(Table::kSecrets, TableKey(path)));
  if (!sealed) return std::optional<Secret>();
  TRY_ASSIGN(Secret secret, OpenSecret(txn, path, *sealed));
  return std::optional<Secret>(std::move(secret));
}

Result<Secret> SecretStore::OpenSecret(const ReadTxn& txn, PathId path, ByteSpan sealed) const {
  TRY_ASSIGN(Bytes bytes, OpenRecord(Table::kSecrets, TableKey(path), sealed));
  TRY_ASSIGN(std::optional<Bytes> newest, GetRecord(txn, Table::kGenerations, TableKey(path)));
  const ByteSpan generation = ByteSpan(bytes).first(std::min(bytes.size(), kGenerationBytes));
  if (!newest || !std::ranges::equal(*newest, generation)) {
    return Fail(Code::kCorrupt, "store " + env_.directory() +
                                    ": the record of a secret is not its newest; restore the "
                                    "store from a backup");
  }
  TRY_ASSIGN(Secret secret, DecodeSecret(ByteSpan(bytes).subspan(generation.size())));
  secret.arn = SecretArn(realm_, secret.name, secret.arn_suffix);
  for (Version& version : secret.versions) {
    version.under_default_key = version.kms_key == default_key_;
  }
  return secret;
}

Result<SecretPtr> SecretStore::Load(PathId path) const {
  if (SecretPtr cached = caches_->secrets.Find(path, env_.LastTxnId())) return cached;
  ReadTxn txn(env_);
  TRY_ASSIGN(std::optional<Secret> secret, ReadSecret(txn, path));
  if (!secret) return SecretPtr();
  auto loaded = std::make_shared<const Secret>(std::move(*secret));
  caches_->secrets.Store(path, txn.txn_id(), loaded);
  return loaded;
}

Result<VersionRecordPtr> SecretStore::LoadVersion(SelectorId number) const {
  if (VersionRecordPtr cached = caches_->versions.Find(number, env_.LastTxnId())) return cached;
  ReadTxn txn(env_);
  TRY_ASSIGN(std::optional<Bytes> bytes, GetRecord(txn, Table::kVersions, TableKey(number)));
  if (!bytes) return VersionRecordPtr();
  TRY_ASSIGN(VersionRecord record, DecodeVersionRecord(*bytes));
  auto loaded = std::make_shared<const VersionRecord>(std::move(record));
  caches_->versions.Store(number, txn.txn_id(), loaded);
  return loaded;
}

Result<bool> SecretStore::LoadEnvelope(SelectorId number, Bytes& envelope) const {
  ReadTxn txn(env_);
  return txn.Get(Table::kValues, TableKey(number), envelope);
}

Status SecretStore::ListSecrets(PathId after,
                                const std::function<bool(const Secret&)>& visit) const {
  ReadTxn txn(env_);
  return txn.Scan(Table::kSecrets, TableKey(after + 1),
                  [&](ByteSpan key, ByteSpan sealed) -> Result<bool> {
                    TRY_ASSIGN(Secret secret, OpenSecret(txn, ByteReader(key).U64(), sealed));
                    return visit(secret);
                  });
}

Result<std::vector<PathId>> SecretStore::DueDeletions(TimeMs now, size_t limit) const {
  std::vector<PathId> due;
  ReadTxn txn(env_);
  Status scanned =
      txn.Scan(Table::kDeletions, {}, [&](ByteSpan key, ByteSpan sealed) -> Result<bool> {
        ByteReader in(key);
        if (static_cast<TimeMs>(in.U64()) > now || due.size() == limit) return false;
        PathId path = in.U64();
        // The secret's own record decides, so what the index has lost or gained harms nothing.
        if (OpenRecord(Table::kDeletions, key, sealed)) due.push_back(path);
        return true;
      });
  TRY(scanned);
  return due;
}

// --- interned names

Bytes SecretStore::TextHash(Table table, std::string_view text) const {
  Bytes message = ByteWriter().U8(static_cast<uint8_t>(table)).Raw(AsBytes(text)).Take();
  crypto::Digest digest = crypto::HmacSha256(keys_.names.Reveal(), message);
  return Bytes(digest.begin(), digest.begin() + kTextHashBytes);
}

Result<std::optional<KeySlot>> SecretStore::FindKeySlot(std::string_view key) const {
  uint64_t quick_hash = std::hash<std::string_view>{}(key) | 1;
  uint64_t txn_id = env_.LastTxnId();
  if (auto cached = caches_->keys.Find(quick_hash, txn_id); cached && cached->text == key) {
    return std::optional<KeySlot>(static_cast<KeySlot>(cached->id));
  }
  ReadTxn txn(env_);
  TRY_ASSIGN(std::optional<Bytes> bytes,
             GetRecord(txn, Table::kKeySlots, TextHash(Table::kKeySlots, key)));
  if (!bytes) return std::optional<KeySlot>();
  TRY_ASSIGN(InternedName name, DecodeInternedName(*bytes));
  auto slot = static_cast<KeySlot>(name.id);
  caches_->keys.Store(quick_hash, txn.txn_id(),
                      std::make_shared<const InternedName>(std::move(name)));
  return std::optional<KeySlot>(slot);
}

Result<std::string> SecretStore::KeyText(KeySlot slot) const {
  ReadTxn txn(env_);
  TRY_ASSIGN(std::optional<Bytes> bytes, GetRecord(txn, Table::kKeyNames, TableKey(slot)));
  if (!bytes) return Fail(Code::kCorrupt, "a JSON key's name is missing from the store");
  TRY_ASSIGN(InternedName name, DecodeInternedName(*bytes));
  return name.text;
}

Result<std::optional<InternedName>> SecretStore::FindLabelSelector(SelectorId selector) const {
  ReadTxn txn(env_);
  TRY_ASSIGN(std::optional<Bytes> bytes, GetRecord(txn, Table::kSelectors, TableKey(selector)));
  if (!bytes) return std::optional<InternedName>();
  TRY_ASSIGN(InternedName name, DecodeInternedName(*bytes));
  return std::optional<InternedName>(std::move(name));
}

// --- the rest

Result<Counters> SecretStore::ReadCounters(const ReadTxn& txn) const {
  TRY_ASSIGN(std::optional<Bytes> bytes, GetRecord(txn, Table::kMeta, CountersKey()));
  if (!bytes)
    return Fail(Code::kCorrupt, "store " + env_.directory() + ": its counters are missing");
  return DecodeCounters(*bytes);
}

Result<uint64_t> SecretStore::NextOutbox() const {
  ReadTxn txn(env_);
  TRY_ASSIGN(Counters counters, ReadCounters(txn));
  return counters.next_outbox;
}

Result<uint64_t> SecretStore::LastChange() const {
  ReadTxn txn(env_);
  TRY_ASSIGN(Counters counters, ReadCounters(txn));
  return counters.next_change - 1;
}

Result<uint64_t> SecretStore::CountSecrets() const {
  ReadTxn txn(env_);
  TRY_ASSIGN(Counters counters, ReadCounters(txn));
  return counters.secrets;
}

Result<std::vector<Change>> SecretStore::ChangesSince(uint64_t sequence, size_t limit) const {
  std::vector<Change> changes;
  ReadTxn txn(env_);
  TRY(txn.Scan(Table::kChanges, TableKey(sequence + 1),
               [&](ByteSpan key, ByteSpan sealed) -> Result<bool> {
                 if (changes.size() == limit) return false;
                 TRY_ASSIGN(Bytes bytes, OpenRecord(Table::kChanges, key, sealed));
                 TRY_ASSIGN(Change change, DecodeChange(bytes));
                 changes.push_back(change);
                 return true;
               }));
  return changes;
}

Result<std::vector<SecretStore::PendingEvent>> SecretStore::PendingEvents(uint64_t after) const {
  std::vector<PendingEvent> events;
  ReadTxn txn(env_);
  TRY(txn.Scan(Table::kOutbox, TableKey(after + 1),
               [&](ByteSpan key, ByteSpan sealed) -> Result<bool> {
                 TRY_ASSIGN(Bytes bytes, OpenRecord(Table::kOutbox, key, sealed));
                 TRY_ASSIGN(AuditEvent event, DecodeAuditEvent(bytes));
                 events.push_back({ByteReader(key).U64(), std::move(event)});
                 return true;
               }));
  return events;
}

Result<AuditTrail::Position> SecretStore::LoadAuditPosition() const {
  ReadTxn txn(env_);
  TRY_ASSIGN(std::optional<Bytes> bytes, GetRecord(txn, Table::kMeta, AuditPositionKey()));
  AuditTrail::Position position;
  if (!bytes) return position;
  ByteReader in(*bytes);
  position.head.sequence = in.U64();
  std::ranges::copy(in.Raw(position.head.hash.size()), position.head.hash.begin());
  position.outbox = in.U64();
  if (!in.Complete()) return Fail(Code::kCorrupt, "the audit position cannot be decoded");
  return position;
}

SelectorId SecretStore::ReserveSelector() {
  return next_selector_.fetch_add(1);
}

Bytes SecretStore::EnvelopePlace(SelectorId number) {
  return RecordPlace(Table::kValues, TableKey(number));
}

}  // namespace secretfs::store
