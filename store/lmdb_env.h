#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"

namespace secretfs::store {

class LmdbSnapshot;

// The tables of the store, each an LMDB database of its own. Keys: store/FORMAT.md.
enum class Table : uint8_t {
  kMeta,
  kDirents,
  kPaths,
  kSecrets,
  kVersions,
  kValues,
  kSelectors,
  kLabelNames,
  kKeyNames,
  kKeySlots,
  kChanges,
  kDeletions,
  kOutbox,
  kKmsKeys,
  kGenerations,
  // Of format 2.
  kKmsAliases,
  kKmsGrants,
  kKmsIndex,
  kKmsUse,
};
inline constexpr int kTableCount = 19;
// The tables that a store of format 1 has, which are all that the others have when it is opened.
inline constexpr int kTableCountOfFormat1 = 15;
const char* TableName(Table table);

// The only LMDB environment of the process (lmdb.h: never open one twice). Settings: MDB_NOTLS,
// MDB_NORDAHEAD, full sync, no WRITEMAP, a sparse 64 GiB map that is never resized.
//
// LMDB trusts its file: a damaged page makes it read outside the map or fail an assertion. Every
// call into it therefore runs under a fault guard that turns SIGSEGV, SIGBUS, SIGFPE and failed
// assertions into kCorrupt; and values that do not lie wholly inside the file are refused. What it
// would damage its own heap with while it writes is found before (store/lmdb_pages.h). After damage
// was met in a write transaction, no other one begins. Thread-safe.
class Env {
 public:
  enum class Mode : uint8_t { kCreate, kOpen };

  // `directory` holds data.mdb and lock.mdb (mode 0600). Takes the store's writer lock (flock on
  // `directory`) for the life of the Env. Errors: kNotFound (kOpen: no store there), kAlreadyExists
  // (kCreate: there is one), kFailedPrecondition (another process has it open), kCorrupt,
  // kUnavailable.
  static Result<std::unique_ptr<Env>> Open(const std::string& directory, Mode mode);
  ~Env();

  Env(const Env&) = delete;
  Env& operator=(const Env&) = delete;

  // The id of the newest committed transaction: two loads. A cache filled at this id is valid while
  // it stays.
  uint64_t LastTxnId() const;

  // Gives the map's resident pages back to the kernel's page cache when the process has more than
  // 36 MiB of file pages resident (a fault maps 16 pages at a time, so random reads of a large
  // store would add up to all of it), and clears reader slots of dead processes. Call each second:
  // to do it more often would cost more faults than it is worth.
  void Trim();

  const std::string& directory() const;

 private:
  friend class ReadTxn;
  friend class WriteTxn;
  struct Impl;
  explicit Env(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A consistent snapshot. Cheap: LMDB transactions are pooled and renewed. Not shared between
// threads.
class ReadTxn {
 public:
  explicit ReadTxn(Env& env);
  ~ReadTxn();
  ReadTxn(const ReadTxn&) = delete;
  ReadTxn& operator=(const ReadTxn&) = delete;

  // A copy, taken under the fault guard: a page that the disk cannot deliver is an error here, not
  // a signal later. nullopt: no such key. Errors: kCorrupt, kUnavailable.
  Result<std::optional<Bytes>> Get(Table table, ByteSpan key) const;
  // The same into `value`, whose memory is used again; says whether there is such a key.
  Result<bool> Get(Table table, ByteSpan key, Bytes& value) const;

  // Visits records in key order from the first key >= `from`, until `visit` returns false. The
  // spans are valid during the visit.
  using Visitor = std::function<Result<bool>(ByteSpan key, ByteSpan value)>;
  Status Scan(Table table, ByteSpan from, const Visitor& visit) const;

  uint64_t txn_id() const;

 private:
  friend class WriteTxn;
  std::optional<unsigned> FindTable(Table table) const;  // An MDB_dbi.
  ReadTxn(Env& env, void* lmdb_write_txn) : env_(env), txn_(lmdb_write_txn), owned_(false) {}

  Env& env_;
  void* txn_ = nullptr;  // An MDB_txn; lmdb.h is known to lmdb_env.cc alone. Null: the snapshot
                         // could not be taken.
  bool owned_ = true;
};

// The one write transaction (others wait in Begin). Aborted unless committed. Bound to its thread.
class WriteTxn {
 public:
  WriteTxn(const WriteTxn&) = delete;
  WriteTxn& operator=(const WriteTxn&) = delete;
  // Errors: kCorrupt, as for the calls below, without anything written; kUnavailable.
  static Result<std::unique_ptr<WriteTxn>> Begin(Env& env);
  ~WriteTxn();

  const ReadTxn& reader() const { return reader_; }
  // Creates the tables that the store lacks: until then they read as empty.
  Status CreateTables();
  // REQUIRES: the table exists.
  Status Put(Table table, ByteSpan key, ByteSpan value);
  // Returns whether the key was there.
  Result<bool> Delete(Table table, ByteSpan key);
  // Durable when this returns. Errors: kUnavailable (full disk, I/O error), with nothing changed.
  Status Commit();

 private:
  WriteTxn(Env& env, void* lmdb_txn);
  // Turns an LMDB return code into an error; one that means damage stops all further writing.
  Status Check(int code, const char* what);
  // The same for what is wrong with the file's pages.
  Status CheckPages(const Status& checked, const char* what);

  ReadTxn reader_;
  std::unique_ptr<LmdbSnapshot> pages_;  // Null if the file's mapping was not found.
};

}  // namespace secretfs::store
