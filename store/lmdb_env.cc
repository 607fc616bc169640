#include "store/lmdb_env.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "crypto/base/check.h"
#include "crypto/base/mutex.h"
#include "crypto/base/unique_fd.h"
#include "store/fault_guard.h"
#include "store/lmdb_pages.h"

namespace secretfs::store {
namespace {

// Sparse address space, not disk: LMDB extends the file page by page. A fixed size spares every
// reader the remapping protocol of mdb_env_set_mapsize().
constexpr size_t kMapBytes = size_t{64} << 30;
constexpr unsigned kReadersMax = 512;
constexpr MDB_dbi kNoTable = UINT32_MAX;
constexpr size_t kResidentFileBytesMax = size_t{36} << 20;
// More than any record or envelope has.
constexpr size_t kRecordBytesMax = size_t{16} << 20;

// What store/lmdb_pages.h knows of the file.
static_assert(MDB_VERSION_MAJOR == 0 && MDB_VERSION_MINOR == 9);

MDB_txn* AsTxn(void* txn) {
  return static_cast<MDB_txn*>(txn);
}

MDB_val AsValue(ByteSpan bytes) {
  return {bytes.size(), const_cast<uint8_t*>(bytes.data())};  // LMDB does not write through it.
}

// Runs an LMDB call under the fault guard.
template <typename Call>
int Guarded(const Call& call) {
  volatile int code = MDB_CORRUPTED;
  FaultGuard::Run([&] { code = call(); });
  return code;
}

bool MeansDamage(int code) {
  switch (code) {
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
    case MDB_INVALID:
    case MDB_BAD_TXN:
    case MDB_CURSOR_FULL:
    case MDB_PAGE_FULL:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
    case EINVAL:  // A transaction that saw damage before.
      return true;
    default:
      return false;
  }
}

std::unexpected<Error> FailLmdb(int code, const std::string& directory, const char* what) {
  std::string text = "store " + directory + ": " + what + ": ";
  if (MeansDamage(code)) {
    return Fail(Code::kCorrupt, text + "the database is damaged; restore the store from a backup");
  }
  if (code == ENOSPC) return Fail(Code::kUnavailable, text + "the disk is full; free some space");
  if (code == MDB_MAP_FULL) {
    return Fail(Code::kLimitExceeded, text + "the store has reached its limit of 64 GiB");
  }
  return Fail(Code::kUnavailable, text + mdb_strerror(code));
}

void OnAssertion(MDB_env*, const char* message) {
  FaultGuard::Escape();
  std::fprintf(stderr, "secretfs: error: lmdb: %s\n", message);
}

}  // namespace

const char* TableName(Table table) {
  static constexpr std::array<const char*, kTableCount> kNames = {
      "meta",        "dirents",     "paths",      "secrets",   "versions",  "values", "selectors",
      "label_names", "key_names",   "key_slots",  "changes",   "deletions", "outbox", "kms_keys",
      "generations", "kms_aliases", "kms_grants", "kms_index", "kms_use"};
  return kNames[static_cast<size_t>(table)];
}

struct Env::Impl {
  std::string directory;
  UniqueFd lock;
  MDB_env* env = nullptr;
  // kNoTable: the store lacks it.
  std::array<std::atomic<MDB_dbi>, kTableCount> tables{};
  // Those that the write transaction has just created, for itself alone.
  std::array<std::optional<MDB_dbi>, kTableCount> created;
  const uint8_t* map = nullptr;
  size_t page_bytes = 0;
  std::atomic<bool> damaged{false};
  Mutex pool_mutex;
  std::vector<MDB_txn*> pool GUARDED_BY(pool_mutex);

  UniqueFd statm;

  // Only page table entries go: the data stays in the page cache, and a reader in the middle faults
  // it back in.
  void GiveBackPages() const {
    std::array<char, 128> text{};
    if (pread(statm.get(), text.data(), text.size() - 1, 0) <= 0) return;
    // Field 3 of /proc/self/statm, in pages.
    std::string_view fields = text.data();
    for (int i = 0; i < 2; ++i) fields.remove_prefix(std::min(fields.find(' ') + 1, fields.size()));
    size_t from_files = 0;
    std::from_chars(fields.data(), fields.data() + fields.size(), from_files);
    if (map == nullptr || from_files * page_bytes <= kResidentFileBytesMax) return;
    MDB_envinfo info{};
    mdb_env_info(env, &info);
    madvise(const_cast<uint8_t*>(map), (info.me_last_pgno + 1) * page_bytes, MADV_DONTNEED);
  }

  ~Impl() {
    for (MDB_txn* txn : pool) mdb_txn_abort(txn);
    if (env != nullptr) {
      Guarded([this] {
        mdb_env_close(env);
        return 0;
      });
    }
  }

  // Whether LMDB's answer lies inside the file, as far as transaction data can tell. A damaged node
  // can claim up to 4 GiB.
  bool InsideFile(const MDB_val& value) const {
    MDB_envinfo info{};
    mdb_env_info(env, &info);
    if (value.mv_size > kRecordBytesMax) return false;
    const auto* begin = static_cast<const uint8_t*>(value.mv_data);
    size_t file_bytes = (info.me_last_pgno + 1) * page_bytes;
    // Without a map, or outside it: a dirty page of a write transaction, which is ordinary memory.
    if (map == nullptr || begin < map || begin >= map + kMapBytes) return true;
    return value.mv_size <= file_bytes && begin + value.mv_size <= map + file_bytes;
  }
};

namespace {

// Whoever may open the directory could lock the store, and keep its daemon from starting.
Status CheckPrivate(int directory_fd, const std::string& directory, Env::Mode mode) {
  if (mode == Env::Mode::kCreate && fchmod(directory_fd, 0700) != 0) {
    return FailErrno(Code::kPermissionDenied, directory + ": make it private", errno);
  }
  struct stat info{};
  if (fstat(directory_fd, &info) != 0) return FailErrno(Code::kUnavailable, directory, errno);
  if ((info.st_mode & 077) == 0) return {};
  return Fail(Code::kPermissionDenied,
              directory + ": the store's directory is open to others; run: chmod 700 " + directory);
}

Status OpenLock(const std::string& directory, Env::Mode mode, UniqueFd& lock) {
  lock = UniqueFd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock.valid()) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return Fail(
          Code::kNotFound,
          directory + ": no store here; create one with: secretfs init --store " + directory);
    }
    return FailErrno(errno == EACCES ? Code::kPermissionDenied : Code::kUnavailable, directory,
                     errno);
  }
  TRY(CheckPrivate(lock.get(), directory, mode));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return Fail(
        Code::kFailedPrecondition,
        directory + ": the store is in use by another secretfs process; see: secretfs status");
  }
  return {};
}

// Where the file is mapped: mdb_env_info() tells it only for MDB_FIXEDMAP. Found by path, since on
// some file systems the device number here is not that of stat(). Null if it is not found; then
// nothing is given back, InsideFile() has only the size to go by, and no page is checked before a
// write.
const uint8_t* FindMap(const std::string& path) {
  std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr), std::free);
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> maps(std::fopen("/proc/self/maps", "re"),
                                                       std::fclose);
  if (!maps || !real) return nullptr;
  std::array<char, PATH_MAX + 128> line{};
  while (std::fgets(line.data(), line.size(), maps.get()) != nullptr) {
    std::string_view text = line.data();
    if (text.ends_with('\n')) text.remove_suffix(1);
    uintptr_t begin = 0;
    std::from_chars(text.data(), text.data() + text.size(), begin, 16);
    if (begin != 0 && text.ends_with(" " + std::string(real.get()))) {
      return reinterpret_cast<const uint8_t*>(begin);
    }
  }
  return nullptr;
}

// LMDB takes the page size as the file gives it.
Status CheckSize(MDB_env* env, size_t file_bytes, const std::string& directory) {
  MDB_envinfo info{};
  MDB_stat page{};
  mdb_env_info(env, &info);
  mdb_env_stat(env, &page);
  if (!LmdbPageSizeIsValid(page.ms_psize)) return FailLmdb(MDB_CORRUPTED, directory, "open");
  if (file_bytes / page.ms_psize >= info.me_last_pgno + 1) return {};
  return Fail(Code::kCorrupt,
              "store " + directory +
                  ": data.mdb is shorter than it was when last written (truncated); "
                  "restore the store from a backup");
}

}  // namespace

Result<std::unique_ptr<Env>> Env::Open(const std::string& directory, Mode mode) {
  FaultGuard::Install();
  auto impl = std::make_unique<Impl>();
  impl->directory = directory;
  TRY(OpenLock(directory, mode, impl->lock));
  struct stat data{};
  bool exists = stat((directory + "/data.mdb").c_str(), &data) == 0;
  if (mode == Mode::kOpen && !exists) {
    return Fail(Code::kNotFound,
                directory + ": no store here; create one with: secretfs init --store " + directory);
  }
  if (mode == Mode::kCreate && exists) {
    return Fail(Code::kAlreadyExists,
                directory + ": there is a store already; choose another directory");
  }
  if (mdb_env_create(&impl->env) != 0) return Fail(Code::kUnavailable, "LMDB: out of memory");
  CHECK(mdb_env_get_maxkeysize(impl->env) == kLmdbKeyBytesMax);
  mdb_env_set_assert(impl->env, OnAssertion);
  mdb_env_set_mapsize(impl->env, kMapBytes);
  mdb_env_set_maxdbs(impl->env, kTableCount);
  mdb_env_set_maxreaders(impl->env, kReadersMax);
  int code = Guarded(
      [&] { return mdb_env_open(impl->env, directory.c_str(), MDB_NOTLS | MDB_NORDAHEAD, 0600); });
  if (code != 0) {
    if (code == EACCES) return FailErrno(Code::kPermissionDenied, directory + "/data.mdb", code);
    return FailLmdb(code, directory, "open");
  }
  MDB_stat page{};
  mdb_env_stat(impl->env, &page);
  impl->page_bytes = page.ms_psize;
  if (exists) TRY(CheckSize(impl->env, static_cast<size_t>(data.st_size), directory));
  impl->map = FindMap(directory + "/data.mdb");
  impl->statm = UniqueFd(open("/proc/self/statm", O_RDONLY | O_CLOEXEC));

  MDB_txn* txn = nullptr;
  code = Guarded([&] {
    int result = mdb_txn_begin(impl->env, nullptr, mode == Mode::kOpen ? MDB_RDONLY : 0, &txn);
    for (int i = 0; result == 0 && i < kTableCount; ++i) {
      MDB_dbi dbi = kNoTable;
      result = mdb_dbi_open(txn, TableName(static_cast<Table>(i)),
                            mode == Mode::kCreate ? MDB_CREATE : 0, &dbi);
      if (result == MDB_NOTFOUND && i >= kTableCountOfFormat1) result = 0;
      impl->tables[i] = dbi;
    }
    return result;
  });
  if (code == 0) {
    code = Guarded([&] { return mdb_txn_commit(txn); });
  } else if (txn != nullptr) {
    Guarded([&] {
      mdb_txn_abort(txn);
      return 0;
    });
  }
  if (code != 0) return FailLmdb(code == MDB_NOTFOUND ? MDB_CORRUPTED : code, directory, "open");
  return std::unique_ptr<Env>(new Env(std::move(impl)));
}

Env::Env(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Env::~Env() = default;

const std::string& Env::directory() const {
  return impl_->directory;
}

uint64_t Env::LastTxnId() const {
  MDB_envinfo info{};
  mdb_env_info(impl_->env, &info);
  return info.me_last_txnid;
}

void Env::Trim() {
  int dead = 0;
  mdb_reader_check(impl_->env, &dead);
  impl_->GiveBackPages();
}

ReadTxn::ReadTxn(Env& env) : env_(env) {
  MDB_txn* txn = nullptr;
  {
    MutexLock lock(env.impl_->pool_mutex);
    if (!env.impl_->pool.empty()) {
      txn = env.impl_->pool.back();
      env.impl_->pool.pop_back();
    }
  }
  if (txn != nullptr && Guarded([&] { return mdb_txn_renew(txn); }) != 0) {
    mdb_txn_abort(txn);
    txn = nullptr;
  }
  if (txn == nullptr &&
      Guarded([&] { return mdb_txn_begin(env.impl_->env, nullptr, MDB_RDONLY, &txn); }) != 0) {
    return;
  }
  txn_ = txn;
}

ReadTxn::~ReadTxn() {
  if (!owned_ || txn_ == nullptr) return;
  mdb_txn_reset(AsTxn(txn_));
  MutexLock lock(env_.impl_->pool_mutex);
  env_.impl_->pool.push_back(AsTxn(txn_));
}

uint64_t ReadTxn::txn_id() const {
  return txn_ == nullptr ? 0 : mdb_txn_id(AsTxn(txn_));
}

std::optional<unsigned> ReadTxn::FindTable(Table table) const {
  const Env::Impl& impl = *env_.impl_;
  const auto number = static_cast<size_t>(table);
  if (!owned_ && impl.created[number]) return impl.created[number];
  const MDB_dbi dbi = impl.tables[number];
  return dbi == kNoTable ? std::nullopt : std::optional<unsigned>(dbi);
}

Result<std::optional<Bytes>> ReadTxn::Get(Table table, ByteSpan key) const {
  Bytes value;
  TRY_ASSIGN(const bool found, Get(table, key, value));
  return found ? std::optional<Bytes>(std::move(value)) : std::nullopt;
}

Result<bool> ReadTxn::Get(Table table, ByteSpan key, Bytes& copy) const {
  const Env::Impl& impl = *env_.impl_;
  if (txn_ == nullptr) return Fail(Code::kUnavailable, "store: too many readers at once");
  const auto dbi = FindTable(table);
  if (!dbi) return false;
  MDB_val key_value = AsValue(key);
  MDB_val value{};
  int code = Guarded([&] { return mdb_get(AsTxn(txn_), *dbi, &key_value, &value); });
  if (code == MDB_NOTFOUND) return false;
  if (code == 0 && !impl.InsideFile(value)) code = MDB_CORRUPTED;
  if (code != 0) return FailLmdb(code, impl.directory, TableName(table));
  copy.resize(value.mv_size);
  code = Guarded([&] {
    std::copy_n(static_cast<const uint8_t*>(value.mv_data), value.mv_size, copy.data());
    return 0;
  });
  if (code != 0) return FailLmdb(code, impl.directory, TableName(table));
  return true;
}

Status ReadTxn::Scan(Table table, ByteSpan from, const Visitor& visit) const {
  const Env::Impl& impl = *env_.impl_;
  if (txn_ == nullptr) return Fail(Code::kUnavailable, "store: too many readers at once");
  const auto dbi = FindTable(table);
  if (!dbi) return {};
  MDB_cursor* cursor = nullptr;
  int code = Guarded([&] { return mdb_cursor_open(AsTxn(txn_), *dbi, &cursor); });
  if (code != 0) return FailLmdb(code, impl.directory, TableName(table));
  std::unique_ptr<MDB_cursor, void (*)(MDB_cursor*)> closer(cursor, mdb_cursor_close);

  MDB_val key = AsValue(from);
  MDB_val value{};
  MDB_cursor_op step = from.empty() ? MDB_FIRST : MDB_SET_RANGE;
  Bytes key_copy;
  Bytes value_copy;
  for (;;) {
    code = Guarded([&] { return mdb_cursor_get(cursor, &key, &value, step); });
    if (code == MDB_NOTFOUND) return {};
    if (code == 0 && (!impl.InsideFile(key) || !impl.InsideFile(value))) code = MDB_CORRUPTED;
    if (code != 0) return FailLmdb(code, impl.directory, TableName(table));
    key_copy.resize(key.mv_size);
    value_copy.resize(value.mv_size);
    code = Guarded([&] {
      std::copy_n(static_cast<const uint8_t*>(key.mv_data), key.mv_size, key_copy.data());
      std::copy_n(static_cast<const uint8_t*>(value.mv_data), value.mv_size, value_copy.data());
      return 0;
    });
    if (code != 0) return FailLmdb(code, impl.directory, TableName(table));
    TRY_ASSIGN(bool go_on, visit(key_copy, value_copy));
    if (!go_on) return {};
    step = MDB_NEXT;
  }
}

WriteTxn::WriteTxn(Env& env, void* lmdb_txn) : reader_(env, lmdb_txn) {
  const Env::Impl& impl = *env.impl_;
  if (impl.map == nullptr) return;
  pages_ = std::make_unique<LmdbSnapshot>(ByteSpan(impl.map, kMapBytes), impl.page_bytes,
                                          reader_.txn_id());
}

Result<std::unique_ptr<WriteTxn>> WriteTxn::Begin(Env& env) {
  const std::string& directory = env.directory();
  if (env.impl_->damaged) return FailLmdb(MDB_CORRUPTED, directory, "write");
  MDB_txn* txn = nullptr;
  int code = Guarded([&] { return mdb_txn_begin(env.impl_->env, nullptr, 0, &txn); });
  // After a fault LMDB's writer lock is still held: nobody may wait for it.
  if (code == MDB_CORRUPTED) env.impl_->damaged = true;
  if (code != 0) return FailLmdb(code, directory, "write");
  std::unique_ptr<WriteTxn> write(new WriteTxn(env, txn));
  // The transaction that this one waited for may have met damage.
  if (env.impl_->damaged) return FailLmdb(MDB_CORRUPTED, directory, "write");
  if (write->pages_) TRY(write->CheckPages(write->pages_->Open(), "write"));
  return write;
}

WriteTxn::~WriteTxn() {
  if (reader_.txn_ == nullptr) return;
  reader_.env_.impl_->created = {};  // LMDB closes them.
  int code = Guarded([&] {
    mdb_txn_abort(AsTxn(reader_.txn_));
    return 0;
  });
  if (code != 0) reader_.env_.impl_->damaged = true;
}

Status WriteTxn::Check(int code, const char* what) {
  if (code == 0) return {};
  // After damage the list of free pages cannot be trusted, and the next write could land on live
  // data.
  if (MeansDamage(code)) reader_.env_.impl_->damaged = true;
  return FailLmdb(code, reader_.env_.directory(), what);
}

Status WriteTxn::CheckPages(const Status& checked, const char* what) {
  if (checked) return {};
  reader_.env_.impl_->damaged = true;
  return FailLmdb(MDB_CORRUPTED, reader_.env_.directory(),
                  (std::string(what) + ": " + checked.error().message).c_str());
}

Status WriteTxn::CreateTables() {
  Env::Impl& impl = *reader_.env_.impl_;
  for (int i = kTableCountOfFormat1; i < kTableCount; ++i) {
    const auto table = static_cast<Table>(i);
    if (reader_.FindTable(table)) continue;
    MDB_dbi dbi = 0;
    TRY(Check(Guarded([&] {
                return mdb_dbi_open(AsTxn(reader_.txn_), TableName(table), MDB_CREATE, &dbi);
              }),
              TableName(table)));
    impl.created[i] = dbi;
    if (pages_) pages_->AddTable(TableName(table));
  }
  return {};
}

Status WriteTxn::Put(Table table, ByteSpan key, ByteSpan value) {
  const auto dbi = reader_.FindTable(table);
  CHECK(dbi);
  if (pages_) TRY(CheckPages(pages_->CheckPut(TableName(table), key), TableName(table)));
  MDB_val key_value = AsValue(key);
  MDB_val data = AsValue(value);
  return Check(Guarded([&] { return mdb_put(AsTxn(reader_.txn_), *dbi, &key_value, &data, 0); }),
               TableName(table));
}

Result<bool> WriteTxn::Delete(Table table, ByteSpan key) {
  const auto dbi = reader_.FindTable(table);
  if (!dbi) return false;
  if (pages_) TRY(CheckPages(pages_->CheckDelete(TableName(table), key), TableName(table)));
  MDB_val key_value = AsValue(key);
  int code = Guarded([&] { return mdb_del(AsTxn(reader_.txn_), *dbi, &key_value, nullptr); });
  if (code == MDB_NOTFOUND) return false;
  TRY(Check(code, TableName(table)));
  return true;
}

Status WriteTxn::Commit() {
  // LMDB frees the transaction whether or not it commits; after a fault in here nobody may touch it
  // again.
  MDB_txn* txn = AsTxn(reader_.txn_);
  reader_.txn_ = nullptr;
  Env::Impl& impl = *reader_.env_.impl_;
  const auto created = std::exchange(impl.created, {});
  TRY(Check(Guarded([&] { return mdb_txn_commit(txn); }), "commit"));
  for (size_t i = 0; i < created.size(); ++i) {
    if (created[i]) impl.tables[i] = *created[i];
  }
  return {};
}

}  // namespace secretfs::store
