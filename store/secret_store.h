#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/aead.h"
#include "crypto/base/result.h"
#include "crypto/keyring.h"
#include "crypto/random.h"
#include "store/audit_event.h"
#include "store/audit_trail.h"
#include "store/lmdb_env.h"
#include "store/record.h"
#include "store/secret.h"
#include "store/secret_name.h"
#include "store/store_header.h"

namespace secretfs::store {

using SecretPtr = std::shared_ptr<const Secret>;
using VersionRecordPtr = std::shared_ptr<const VersionRecord>;

// The keys that seal a store's records, all derived from the one store key.
struct StoreKeys {
  explicit StoreKeys(const crypto::SecretBuffer& store_key);

  crypto::Aead records;
  crypto::SecretBuffer names;   // For the keyed hashes in table keys.
  crypto::SecretBuffer audit;   // For AuditTrail.
  crypto::SecretBuffer header;  // For the header's MAC.
};

// Records as objects: seals and unseals them, keeps the name tree and the interned names, and
// remembers decoded metadata (never a value) while no transaction has been committed since. Knows
// nothing of rules or audit; only secret_service.h uses it. Thread-safe.
class SecretStore {
 public:
  SecretStore(Env& env, StoreKeys keys, Realm realm, crypto::RandomSource& random);
  ~SecretStore();

  // Takes the counters from the store and checks that they belong to its newest transaction; call
  // once, before anything else but the first Mutation of a new store. Errors: kCorrupt.
  Status Load();
  // The key of secrets that name none: which of them it encrypts is not kept track of, since it
  // cannot be disabled or deleted. Before anything else but Load().
  void SetDefaultKey(const crypto::KeyId& key) { default_key_ = key; }
  // The number that the next mutation's event will get.
  Result<uint64_t> NextOutbox() const;

  // --- the name tree
  // The path of a name or nullopt. A path may be a prefix only.
  Result<std::optional<PathId>> FindPath(const SecretName& name) const;
  Result<std::optional<PathId>> FindChild(PathId parent, std::string_view component) const;
  Result<bool> PathExists(PathId path) const;
  // The name up to and including `path`, with a "/" after it: "prod/"; empty for the root.
  Result<std::string> PathText(PathId path) const;
  // Children of `parent` in a fixed order, from the first whose cursor is > `after` (0: from the
  // start). `visit` gets the child's cursor (1..2^62), returns false to stop.
  using ChildVisitor =
      std::function<bool(uint64_t cursor, PathId child, std::string_view component)>;
  Status ListChildren(PathId parent, uint64_t after, const ChildVisitor& visit) const;

  // --- secrets
  // Null if the path is no secret.
  Result<SecretPtr> Load(PathId path) const;
  // Null if the version does not exist (any more).
  Result<VersionRecordPtr> LoadVersion(SelectorId number) const;
  // Into `envelope`; says whether there is one.
  Result<bool> LoadEnvelope(SelectorId number, Bytes& envelope) const;
  // Secrets in order of creation, from the first path id > `after`; `visit` returns false to stop.
  Status ListSecrets(PathId after, const std::function<bool(const Secret&)>& visit) const;
  // Secrets whose scheduled deletion is due at `now`, at most `limit`; an entry that was altered is
  // skipped.
  Result<std::vector<PathId>> DueDeletions(TimeMs now, size_t limit) const;

  // --- interned names
  Result<std::optional<KeySlot>> FindKeySlot(std::string_view key) const;
  Result<std::string> KeyText(KeySlot slot) const;
  // The custom label behind a selector, with its secret's path; nullopt if there is none.
  Result<std::optional<InternedName>> FindLabelSelector(SelectorId selector) const;

  // --- the rest
  Result<std::vector<Change>> ChangesSince(uint64_t sequence, size_t limit) const;
  struct PendingEvent {
    uint64_t outbox;
    AuditEvent event;
  };
  // Events of committed mutations that the trail may not have yet, with outbox number > `after`.
  Result<std::vector<PendingEvent>> PendingEvents(uint64_t after) const;
  // What the last mutation knew to be on the disk.
  Result<AuditTrail::Position> LoadAuditPosition() const;
  Result<uint64_t> CountSecrets() const;
  // The number of the newest change; 0: there has been none.
  Result<uint64_t> LastChange() const;

  // A number that no version or label has or will have; not persisted until a mutation uses it, so
  // a gap is normal.
  SelectorId ReserveSelector();

  // What the envelope of version `number` is bound to.
  static Bytes EnvelopePlace(SelectorId number);

  // One atomic, durable change. Reads inside see the transaction's own writes.
  class Mutation {
   public:
    ~Mutation();
    Result<std::optional<Secret>> Load(PathId path);
    Result<std::optional<PathId>> FindPath(const SecretName& name);
    // Creates what is missing of the path.
    Result<PathId> EnsurePath(const SecretName& name);
    // Stores `secret` under its path; gives selectors to new custom labels; keeps the deletion
    // index.
    Status PutSecret(Secret& secret);
    // `keys`: the value's top-level JSON keys with the sizes of their files.
    struct KeySize {
      std::string key;
      uint32_t size_bytes;
    };
    Status PutVersion(SelectorId number, PathId path, const std::vector<KeySize>& keys,
                      ByteSpan envelope);
    // Removes the value and its wrapped data key. The file's pages keep the old envelope until LMDB
    // uses them again, so whoever has the root key can find it there until then.
    Status RemoveVersion(SelectorId number);
    // Removes the secret with its versions, and the directories that are empty then.
    Status RemoveSecret(const Secret& secret);
    // With the MAC under this store's key.
    Status PutHeader(const StoreHeader& header);
    // Creates the tables of format 2 that the store lacks.
    Status CreateTables();
    // Replaces the envelope of a version that exists.
    Status PutEnvelope(SelectorId number, ByteSpan envelope);
    Status AppendChange(PathId path, ChangeKind kind, TimeMs at);
    // The mutation's audit event; returns its outbox number.
    Result<uint64_t> AppendEvent(const AuditEvent& event);
    // Records that the trail has everything up to `position` on the disk.
    Status SetAuditPosition(const AuditTrail::Position& position);
    // Durable when this returns. Errors: kUnavailable, with nothing changed.
    Status Commit();

   private:
    friend class SecretStore;
    friend class KmsStore;
    Mutation(SecretStore& store, std::unique_ptr<WriteTxn> txn);
    Status Put(Table table, ByteSpan key, ByteSpan plaintext);
    Result<KeySlot> InternKey(const std::string& key);
    Result<SelectorId> InternLabel(PathId path, const std::string& label);
    Status ForgetLabels(PathId path);
    // Which KMS keys the secret's values need, for KmsStore::SecretsUnder().
    Status IndexKeys(const Secret* before, const Secret* after);
    Status PruneEmptyPaths(PathId path);

    SecretStore& store_;
    std::unique_ptr<WriteTxn> txn_;
    Counters counters_;
  };
  Result<std::unique_ptr<Mutation>> Begin();

 private:
  friend class KmsStore;
  struct Caches;

  Bytes SealRecord(Table table, ByteSpan key, ByteSpan plaintext) const;
  Result<Bytes> OpenRecord(Table table, ByteSpan key, ByteSpan sealed) const;
  // Get() and unseal; nullopt if absent.
  Result<std::optional<Bytes>> GetRecord(const ReadTxn& txn, Table table, ByteSpan key) const;
  Result<std::optional<PathRecord>> FindDirent(const ReadTxn& txn, PathId parent,
                                               std::string_view component) const;
  Result<std::optional<PathId>> WalkPath(const ReadTxn& txn, const SecretName& name) const;
  Result<std::optional<Secret>> ReadSecret(const ReadTxn& txn, PathId path) const;
  // Of a sealed record of kSecrets. Errors: kCorrupt, also for a record that is intact but not the
  // path's newest.
  Result<Secret> OpenSecret(const ReadTxn& txn, PathId path, ByteSpan sealed) const;
  Result<Counters> ReadCounters(const ReadTxn& txn) const;
  uint64_t NameHash(Table table, uint64_t scope, std::string_view text) const;
  // 16 bytes, for tables whose keys are names.
  Bytes TextHash(Table table, std::string_view text) const;

  Env& env_;
  StoreKeys keys_;
  const Realm realm_;
  crypto::RandomSource& random_;
  std::unique_ptr<Caches> caches_;
  std::atomic<SelectorId> next_selector_{1};
  crypto::KeyId default_key_{};
};

}  // namespace secretfs::store
