#include <algorithm>
#include <set>

#include "store/secret_store.h"
#include "store/table_key.h"

namespace secretfs::store {
namespace {

constexpr uint64_t kChangesKept = 65536;

std::unexpected<Error> OutOfIds(const char* what) {
  return Fail(Code::kLimitExceeded,
              std::string("the store has given out all its ") + what + "; move to a new store");
}

std::unexpected<Error> HashTaken(const std::string& text) {
  return Fail(
      Code::kLimitExceeded,
      "\"" + text + "\" collides with another name in this store's index; choose another name");
}

bool IsAwsLabel(std::string_view label) {
  return label == kCurrent || label == kPrevious || label == kPending;
}

}  // namespace

Result<std::unique_ptr<SecretStore::Mutation>> SecretStore::Begin() {
  TRY_ASSIGN(std::unique_ptr<WriteTxn> txn, WriteTxn::Begin(env_));
  auto mutation = std::unique_ptr<Mutation>(new Mutation(*this, std::move(txn)));
  auto bytes = GetRecord(mutation->txn_->reader(), Table::kMeta, CountersKey());
  if (!bytes) return std::unexpected(std::move(bytes).error());
  if (*bytes) {
    TRY_ASSIGN(mutation->counters_, DecodeCounters(**bytes));
  }
  return mutation;
}

SecretStore::Mutation::Mutation(SecretStore& store, std::unique_ptr<WriteTxn> txn)
    : store_(store), txn_(std::move(txn)) {}
SecretStore::Mutation::~Mutation() = default;

Status SecretStore::Mutation::Put(Table table, ByteSpan key, ByteSpan plaintext) {
  return txn_->Put(table, key, store_.SealRecord(table, key, plaintext));
}

Result<std::optional<Secret>> SecretStore::Mutation::Load(PathId path) {
  return store_.ReadSecret(txn_->reader(), path);
}

Result<std::optional<PathId>> SecretStore::Mutation::FindPath(const SecretName& name) {
  return store_.WalkPath(txn_->reader(), name);
}

Result<PathId> SecretStore::Mutation::EnsurePath(const SecretName& name) {
  PathId path = kRootPath;
  for (std::string_view view : name.Components()) {
    std::string component(view);
    Bytes key = TableKey(path, store_.NameHash(Table::kDirents, path, component));
    TRY_ASSIGN(std::optional<Bytes> bytes, store_.GetRecord(txn_->reader(), Table::kDirents, key));
    if (bytes) {
      TRY_ASSIGN(PathRecord known, DecodePathRecord(*bytes));
      if (known.component != component) return HashTaken(component);
      path = known.id;
      continue;
    }
    if (counters_.next_path > kPathIdMax) return OutOfIds("path ids");
    PathRecord record{counters_.next_path++, path, std::move(component)};
    Bytes encoded = EncodePathRecord(record);
    TRY(Put(Table::kDirents, key, encoded));
    TRY(Put(Table::kPaths, TableKey(record.id), encoded));
    path = record.id;
  }
  return path;
}

Status SecretStore::Mutation::PutSecret(Secret& secret) {
  for (Label& label : secret.labels) {
    if (label.selector != 0 || IsAwsLabel(label.name)) continue;
    TRY_ASSIGN(label.selector, InternLabel(secret.path, label.name));
  }
  TRY_ASSIGN(std::optional<Secret> before, Load(secret.path));
  if (!before) ++counters_.secrets;
  auto scheduled = before ? before->deletion_at : std::nullopt;
  if (scheduled != secret.deletion_at) {
    if (scheduled) {
      TRY(txn_->Delete(Table::kDeletions,
                       TableKey(static_cast<uint64_t>(*scheduled), secret.path)));
    }
    if (secret.deletion_at) {
      TRY(Put(Table::kDeletions, TableKey(static_cast<uint64_t>(*secret.deletion_at), secret.path),
              {}));
    }
  }
  TRY(IndexKeys(before ? &*before : nullptr, &secret));
  const Bytes generation = ByteWriter().U64(txn_->reader().txn_id()).Take();
  TRY(Put(Table::kGenerations, TableKey(secret.path), generation));
  return Put(Table::kSecrets, TableKey(secret.path),
             ByteWriter().Raw(generation).Raw(EncodeSecret(secret)).Take());
}

Status SecretStore::Mutation::PutVersion(SelectorId number, PathId path,
                                         const std::vector<KeySize>& keys, ByteSpan envelope) {
  if (number > kSelectorIdMax) return OutOfIds("version numbers");
  VersionRecord record;
  record.path = path;
  for (const KeySize& key : keys) {
    TRY_ASSIGN(KeySlot slot, InternKey(key.key));
    record.keys.push_back({slot, key.size_bytes});
  }
  std::ranges::sort(record.keys, {}, &KeyEntry::slot);
  TRY(Put(Table::kVersions, TableKey(number), EncodeVersionRecord(record)));
  // The envelope is sealed under its own data key and bound to this place (EnvelopePlace).
  return txn_->Put(Table::kValues, TableKey(number), envelope);
}

Status SecretStore::Mutation::RemoveVersion(SelectorId number) {
  TRY(txn_->Delete(Table::kVersions, TableKey(number)));
  TRY(txn_->Delete(Table::kValues, TableKey(number)));
  return {};
}

Status SecretStore::Mutation::RemoveSecret(const Secret& secret) {
  for (const Version& version : secret.versions) TRY(RemoveVersion(version.number));
  TRY(ForgetLabels(secret.path));
  TRY(IndexKeys(&secret, nullptr));
  if (secret.deletion_at) {
    TRY(txn_->Delete(Table::kDeletions,
                     TableKey(static_cast<uint64_t>(*secret.deletion_at), secret.path)));
  }
  TRY(txn_->Delete(Table::kGenerations, TableKey(secret.path)));
  TRY_ASSIGN(bool removed, txn_->Delete(Table::kSecrets, TableKey(secret.path)));
  if (removed) --counters_.secrets;
  return PruneEmptyPaths(secret.path);
}

Status SecretStore::Mutation::ForgetLabels(PathId path) {
  std::vector<Bytes> keys;
  std::vector<uint64_t> selectors;
  TRY(txn_->reader().Scan(
      Table::kLabelNames, TableKey(path, 0), [&](ByteSpan key, ByteSpan sealed) -> Result<bool> {
        if (ByteReader(key).U64() != path) return false;
        TRY_ASSIGN(Bytes bytes, store_.OpenRecord(Table::kLabelNames, key, sealed));
        TRY_ASSIGN(InternedName name, DecodeInternedName(bytes));
        keys.emplace_back(key.begin(), key.end());
        selectors.push_back(name.id);
        return true;
      }));
  for (const Bytes& key : keys) TRY(txn_->Delete(Table::kLabelNames, key));
  for (uint64_t selector : selectors) TRY(txn_->Delete(Table::kSelectors, TableKey(selector)));
  return {};
}

Status SecretStore::Mutation::PruneEmptyPaths(PathId path) {
  while (path != kRootPath) {
    TRY_ASSIGN(std::optional<Secret> secret, Load(path));
    bool has_children = false;
    TRY(txn_->reader().Scan(Table::kDirents, TableKey(path, 0),
                            [&](ByteSpan key, ByteSpan) -> Result<bool> {
                              has_children = ByteReader(key).U64() == path;
                              return false;
                            }));
    if (secret || has_children) return {};
    TRY_ASSIGN(std::optional<Bytes> bytes,
               store_.GetRecord(txn_->reader(), Table::kPaths, TableKey(path)));
    if (!bytes) return Fail(Code::kCorrupt, "a path record is missing from the store");
    TRY_ASSIGN(PathRecord record, DecodePathRecord(*bytes));
    uint64_t hash = store_.NameHash(Table::kDirents, record.parent, record.component);
    TRY(txn_->Delete(Table::kDirents, TableKey(record.parent, hash)));
    TRY(txn_->Delete(Table::kPaths, TableKey(path)));
    path = record.parent;
  }
  return {};
}

Result<KeySlot> SecretStore::Mutation::InternKey(const std::string& key) {
  Bytes table_key = store_.TextHash(Table::kKeySlots, key);
  TRY_ASSIGN(std::optional<Bytes> bytes,
             store_.GetRecord(txn_->reader(), Table::kKeySlots, table_key));
  if (bytes) {
    TRY_ASSIGN(InternedName known, DecodeInternedName(*bytes));
    if (known.text != key) return HashTaken(key);
    return static_cast<KeySlot>(known.id);
  }
  if (counters_.next_key_slot > kKeySlotMax) return OutOfIds("JSON key names");
  InternedName name{counters_.next_key_slot++, 0, key};
  Bytes encoded = EncodeInternedName(name);
  TRY(Put(Table::kKeySlots, table_key, encoded));
  TRY(Put(Table::kKeyNames, TableKey(name.id), encoded));
  return static_cast<KeySlot>(name.id);
}

// A label keeps its selector when it goes and comes again, so that its directory stays the same for
// watchers.
Result<SelectorId> SecretStore::Mutation::InternLabel(PathId path, const std::string& label) {
  Bytes key = TableKey(path, store_.NameHash(Table::kLabelNames, path, label));
  TRY_ASSIGN(std::optional<Bytes> bytes, store_.GetRecord(txn_->reader(), Table::kLabelNames, key));
  if (bytes) {
    TRY_ASSIGN(InternedName known, DecodeInternedName(*bytes));
    if (known.text != label) return HashTaken(label);
    return known.id;
  }
  InternedName name{store_.ReserveSelector(), path, label};
  if (name.id > kSelectorIdMax) return OutOfIds("staging label ids");
  Bytes encoded = EncodeInternedName(name);
  TRY(Put(Table::kLabelNames, key, encoded));
  TRY(Put(Table::kSelectors, TableKey(name.id), encoded));
  return name.id;
}

Status SecretStore::Mutation::PutHeader(const StoreHeader& header) {
  return txn_->Put(Table::kMeta, HeaderKey(),
                   EncodeStoreHeader(header, store_.keys_.header.Reveal()));
}

Status SecretStore::Mutation::CreateTables() {
  return txn_->CreateTables();
}

Status SecretStore::Mutation::PutEnvelope(SelectorId number, ByteSpan envelope) {
  return txn_->Put(Table::kValues, TableKey(number), envelope);
}

Status SecretStore::Mutation::IndexKeys(const Secret* before, const Secret* after) {
  const auto keys_of = [this](const Secret* secret) {
    std::set<crypto::KeyId> keys;
    if (secret == nullptr) return keys;
    keys.insert(secret->kms_key);
    for (const Version& version : secret->versions) keys.insert(version.kms_key);
    keys.erase(store_.default_key_);
    return keys;
  };
  const std::set<crypto::KeyId> old_keys = keys_of(before);
  const std::set<crypto::KeyId> new_keys = keys_of(after);
  for (const crypto::KeyId& key : old_keys) {
    if (!new_keys.contains(key)) {
      TRY(txn_->Delete(Table::kKmsIndex, SecretUnderKey(key, before->path)));
    }
  }
  for (const crypto::KeyId& key : new_keys) {
    if (!old_keys.contains(key)) TRY(Put(Table::kKmsIndex, SecretUnderKey(key, after->path), {}));
  }
  return {};
}

Status SecretStore::Mutation::AppendChange(PathId path, ChangeKind kind, TimeMs at) {
  Change change{counters_.next_change++, path, kind, at};
  if (change.sequence > kChangesKept) {
    TRY(txn_->Delete(Table::kChanges, TableKey(change.sequence - kChangesKept)));
  }
  return Put(Table::kChanges, TableKey(change.sequence), EncodeChange(change));
}

Result<uint64_t> SecretStore::Mutation::AppendEvent(const AuditEvent& event) {
  uint64_t outbox = counters_.next_outbox++;
  TRY(Put(Table::kOutbox, TableKey(outbox), EncodeAuditEvent(ViewOf(event))));
  return outbox;
}

Status SecretStore::Mutation::SetAuditPosition(const AuditTrail::Position& position) {
  std::vector<Bytes> moved;
  TRY(txn_->reader().Scan(Table::kOutbox, {}, [&](ByteSpan key, ByteSpan) -> Result<bool> {
    if (ByteReader(key).U64() > position.outbox) return false;
    moved.emplace_back(key.begin(), key.end());
    return true;
  }));
  for (const Bytes& key : moved) TRY(txn_->Delete(Table::kOutbox, key));
  Bytes encoded =
      ByteWriter().U64(position.head.sequence).Raw(position.head.hash).U64(position.outbox).Take();
  return Put(Table::kMeta, AuditPositionKey(), encoded);
}

Status SecretStore::Mutation::Commit() {
  counters_.txn_id = txn_->reader().txn_id();
  counters_.next_selector = store_.next_selector_.load();
  TRY(Put(Table::kMeta, CountersKey(), EncodeCounters(counters_)));
  return txn_->Commit();
}

}  // namespace secretfs::store
