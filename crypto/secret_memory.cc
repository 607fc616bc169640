#include "crypto/secret_memory.h"

#include <openssl/crypto.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <bit>
#include <type_traits>

#include "crypto/base/check.h"
#include "crypto/base/log.h"
#include "crypto/base/mutex.h"

namespace secretfs::crypto {
namespace {

// A two-level segregated fit allocator (Masmano et al., "TLSF", ECRTS 2004): every operation takes
// constant time and neighbouring free blocks are merged at once, so a steady load of mixed sizes
// reaches a size and stays there.
//
// A region is a run of blocks, each a Header and its payload, closed by a Header of size 0 that is
// in use. Free blocks keep their list links in the payload. Nothing of a block's former payload
// survives SecretFree().

constexpr size_t kAlignmentBytes = 16;
constexpr size_t kBlockBytesMin = 32;
constexpr size_t kChunkBytes = size_t{256} * 1024;
constexpr size_t kRegionBytes = size_t{64} * 1024 * 1024;
constexpr size_t kAllocationBytesMax = size_t{1} << 36;

struct Header {
  // The owner of a block reads `size_and_used` without the lock, so a neighbour may write only
  // `previous_bytes`.
  uint64_t size_and_used;   // Bytes of the block with its header, a multiple of 16; bit 0: in use.
  uint64_t previous_bytes;  // The same for the block before it in the region; 0: none.

  size_t size() const { return size_and_used & ~uint64_t{1}; }
  bool used() const { return (size_and_used & 1) != 0; }
  size_t payload_bytes() const { return size() - sizeof(Header); }
  void* payload() { return this + 1; }
  Header* Next() { return this + size() / sizeof(Header); }
  Header* Previous() { return this - previous_bytes / sizeof(Header); }
};
static_assert(sizeof(Header) == kAlignmentBytes);

struct Links {
  Header* next;
  Header* previous;
};
static_assert(sizeof(Header) + sizeof(Links) == kBlockBytesMin);

Links& LinksOf(Header* block) {
  return *static_cast<Links*>(block->payload());
}
Header* HeaderOf(void* payload) {
  return static_cast<Header*>(payload) - 1;
}

constexpr size_t RoundUp(size_t value, size_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Sizes below 256 have a list for each multiple of 16 (row 0); above, each power of two is a row of
// 16 lists.
constexpr size_t kColumns = 16;
constexpr size_t kRows = 32;
constexpr int kRowZeroBits = 8;
constexpr int kColumnBits = 4;

struct ListIndex {
  size_t row;
  size_t column;
};

constexpr int Log2(size_t value) {
  return static_cast<int>(std::bit_width(value)) - 1;
}

// The list that holds free blocks of exactly `size` (and of sizes up to the next list's).
constexpr ListIndex ListFor(size_t size) {
  const int log = Log2(size);
  if (log < kRowZeroBits) return {0, size / kAlignmentBytes};
  return {static_cast<size_t>(log - kRowZeroBits + 1),
          (size >> (log - kColumnBits)) & (kColumns - 1)};
}

// The least size >= `size` whose list holds no smaller block, so that any block found there fits.
constexpr size_t RoundUpToList(size_t size) {
  const int log = Log2(size);
  return log < kRowZeroBits ? size : RoundUp(size, size_t{1} << (log - kColumnBits));
}
static_assert(ListFor(kAllocationBytesMax * 2).row < kRows);

class Arena {
 public:
  constexpr Arena() = default;

  void* Allocate(size_t size_bytes) EXCLUDES(mutex_) {
    CHECK(size_bytes <= kAllocationBytesMax);
    const size_t size =
        std::max(kBlockBytesMin, RoundUp(size_bytes + sizeof(Header), kAlignmentBytes));
    MutexLock lock(mutex_);
    Header* block = Find(size);
    if (block == nullptr) {
      Grow(size);
      block = Find(size);
    }
    CHECK(block != nullptr);
    Remove(block);
    Split(block, size);
    block->size_and_used |= 1;
    used_bytes_ += block->payload_bytes();
    return block->payload();
  }

  void Free(void* payload) EXCLUDES(mutex_) {
    Header* block = HeaderOf(payload);
    // In a forked child every page reads as zero (MADV_WIPEONFORK): there is nothing left to wipe
    // or to reuse.
    if (block->size_and_used == 0) return;
    CHECK(block->used());
    explicit_bzero(payload, block->payload_bytes());
    MutexLock lock(mutex_);
    used_bytes_ -= block->payload_bytes();
    block->size_and_used &= ~uint64_t{1};
    Insert(Merge(block));
  }

  SecretMemoryStats Stats() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return {used_bytes_, reserved_bytes_, locked_bytes_};
  }

 private:
  Header* Find(size_t size) REQUIRES(mutex_) {
    auto [row, column] = ListFor(RoundUpToList(size));
    uint32_t columns = columns_free_[row] & (~uint32_t{0} << column);
    if (columns == 0) {
      const uint64_t rows = row + 1 < kRows ? rows_free_ & (~uint64_t{0} << (row + 1)) : 0;
      if (rows == 0) return nullptr;
      row = static_cast<size_t>(std::countr_zero(rows));
      columns = columns_free_[row];
    }
    Header* block = lists_[row][std::countr_zero(columns)];
    CHECK(block->size() >= size);
    return block;
  }

  void Insert(Header* block) REQUIRES(mutex_) {
    const auto [row, column] = ListFor(block->size());
    Header*& head = lists_[row][column];
    LinksOf(block) = {head, nullptr};
    if (head != nullptr) LinksOf(head).previous = block;
    head = block;
    columns_free_[row] |= uint32_t{1} << column;
    rows_free_ |= uint64_t{1} << row;
  }

  void Remove(Header* block) REQUIRES(mutex_) {
    const auto [row, column] = ListFor(block->size());
    const Links links = LinksOf(block);
    if (links.next != nullptr) LinksOf(links.next).previous = links.previous;
    if (links.previous != nullptr) {
      LinksOf(links.previous).next = links.next;
      return;
    }
    lists_[row][column] = links.next;
    if (links.next != nullptr) return;
    columns_free_[row] &= ~(uint32_t{1} << column);
    if (columns_free_[row] == 0) rows_free_ &= ~(uint64_t{1} << row);
  }

  // Gives back what `block` has beyond `size`. REQUIRES: `block` is free and in no list.
  void Split(Header* block, size_t size) REQUIRES(mutex_) {
    const size_t rest_bytes = block->size() - size;
    if (rest_bytes < kBlockBytesMin) return;
    block->size_and_used = size;
    Header* rest = block->Next();
    rest->size_and_used = rest_bytes;
    rest->previous_bytes = size;
    rest->Next()->previous_bytes = rest_bytes;
    Insert(rest);
  }

  // Joins `block` with its free neighbours. REQUIRES: `block` is free and in no list.
  Header* Merge(Header* block) REQUIRES(mutex_) {
    if (Header* next = block->Next(); !next->used()) {
      Remove(next);
      block->size_and_used += next->size();
    }
    if (block->previous_bytes != 0 && !block->Previous()->used()) {
      Header* previous = block->Previous();
      Remove(previous);
      previous->size_and_used += block->size();
      block = previous;
    }
    block->Next()->previous_bytes = block->size();
    return block;
  }

  // Commits enough chunks for one block of `size` bytes.
  void Grow(size_t size) REQUIRES(mutex_) {
    const size_t bytes = RoundUp(RoundUpToList(size) + 2 * sizeof(Header), kChunkBytes);
    if (static_cast<size_t>(region_end_ - committed_end_) < bytes) MapRegion(bytes);

    uint8_t* chunk = committed_end_;
    CHECK(mprotect(chunk, bytes, PROT_READ | PROT_WRITE) == 0);
    if (mlock(chunk, bytes) == 0) locked_bytes_ += bytes;
    committed_end_ += bytes;
    reserved_bytes_ += bytes;

    // The closing header of what was committed before becomes the header of the new block.
    Header* block;
    if (closing_ != nullptr) {
      block = closing_;
      block->size_and_used = bytes;
    } else {
      block = static_cast<Header*>(static_cast<void*>(chunk));
      *block = {bytes - sizeof(Header), 0};
    }
    closing_ = block->Next();
    *closing_ = {1, block->size()};
    Insert(Merge(block));
  }

  // Reserves addresses only; Grow() makes them memory, and the unlucky rest of the region before
  // stays unused.
  void MapRegion(size_t bytes) REQUIRES(mutex_) {
    const size_t region_bytes = std::max(bytes, kRegionBytes);
    void* region =
        mmap(nullptr, region_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(region != MAP_FAILED);
    CHECK(madvise(region, region_bytes, MADV_DONTDUMP) == 0);
    CHECK(madvise(region, region_bytes, MADV_WIPEONFORK) == 0);
    committed_end_ = static_cast<uint8_t*>(region);
    region_end_ = committed_end_ + region_bytes;
    closing_ = nullptr;
  }

  Mutex mutex_;
  uint64_t rows_free_ GUARDED_BY(mutex_) = 0;
  uint32_t columns_free_[kRows] GUARDED_BY(mutex_) = {};
  Header* lists_[kRows][kColumns] GUARDED_BY(mutex_) = {};
  uint8_t* committed_end_ GUARDED_BY(mutex_) = nullptr;
  uint8_t* region_end_ GUARDED_BY(mutex_) = nullptr;
  Header* closing_ GUARDED_BY(mutex_) = nullptr;  // Of the region that grows.
  size_t used_bytes_ GUARDED_BY(mutex_) = 0;
  size_t reserved_bytes_ GUARDED_BY(mutex_) = 0;
  size_t locked_bytes_ GUARDED_BY(mutex_) = 0;
};

// OpenSSL frees its globals after all static destructors ran, so the arena must need neither
// constructor nor destructor.
constinit Arena arena;
static_assert(std::is_trivially_destructible_v<Arena>);

// OPENSSL_malloc() and OPENSSL_realloc() call these with whatever size they were given, so the null
// and zero cases of OPENSSL_malloc(3) are decided here.
void* OpensslAllocate(size_t size_bytes, const char* /*file*/, int /*line*/) {
  return size_bytes == 0 ? nullptr : SecretAllocate(size_bytes);
}

void OpensslFree(void* block, const char* /*file*/, int /*line*/) {
  SecretFree(block);
}

void* OpensslReallocate(void* block, size_t size_bytes, const char* file, int line) {
  if (block == nullptr) return OpensslAllocate(size_bytes, file, line);
  if (size_bytes == 0) {
    SecretFree(block);
    return nullptr;
  }
  const size_t old_bytes = HeaderOf(block)->payload_bytes();
  if (size_bytes <= old_bytes && size_bytes >= old_bytes / 2) return block;
  void* moved = SecretAllocate(size_bytes);
  memcpy(moved, block, std::min(old_bytes, size_bytes));
  SecretFree(block);
  return moved;
}

// Without CAP_IPC_LOCK the limit counts. What cannot be raised so far is raised as far as it goes.
void RaiseLockedMemoryLimit() {
  constexpr rlim_t kLockedBytesMax = rlim_t{256} << 20;
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return;
  if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < kLockedBytesMax) {
    const rlimit raised{kLockedBytesMax, kLockedBytesMax};
    if (setrlimit(RLIMIT_MEMLOCK, &raised) == 0) return;
  }
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_MEMLOCK, &limit);
}

}  // namespace

void* SecretAllocate(size_t size_bytes) {
  return arena.Allocate(size_bytes);
}

void SecretFree(void* block) {
  if (block != nullptr) arena.Free(block);
}

SecretMemoryStats GetSecretMemoryStats() {
  return arena.Stats();
}

void ProtectProcess() {
  RaiseLockedMemoryLimit();
  const rlimit no_core{0, 0};
  CHECK(setrlimit(RLIMIT_CORE, &no_core) == 0);
  CHECK(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
  CHECK(CRYPTO_set_mem_functions(OpensslAllocate, OpensslReallocate, OpensslFree) == 1);
  if (!HeapWipesOnFree()) {
    Log(LogLevel::kWarning, "this build does not wipe heap memory when it is freed");
  }
}

}  // namespace secretfs::crypto
