#include "crypto/root_key_deposit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

#include "crypto/base/check.h"

namespace secretfs::crypto {
namespace {

// `size_bytes` is written last: 0 means that nothing is there yet.
struct Place {
  std::atomic<uint32_t> size_bytes;
  uint8_t secret[kDepositBytesMax];
};

// The file's content. Programs of before there were two places made files that end with the first.
struct Deposit {
  Place places[2];
};

struct Unmap {
  void operator()(Deposit* deposit) const { munmap(deposit, sizeof(Deposit)); }
};

struct MappedDeposit {
  std::unique_ptr<Deposit, Unmap> memory;
  std::span<Place> places;  // Those that the file has.
};

Result<MappedDeposit> Map(int fd) {
  struct stat info{};
  void* memory = fstat(fd, &info) != 0
                     ? MAP_FAILED
                     : mmap(nullptr, sizeof(Deposit), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) {
    return FailErrno(Code::kUnavailable, "map the memory that keeps the root key", errno);
  }
  MappedDeposit mapped{std::unique_ptr<Deposit, Unmap>(static_cast<Deposit*>(memory)), {}};
  const size_t count = std::cmp_less(info.st_size, sizeof(Deposit)) ? 1 : 2;
  mapped.places = std::span(mapped.memory->places).first(count);
  return mapped;
}

void Wipe(Place& place) {
  place.size_bytes.store(0, std::memory_order_release);
  explicit_bzero(place.secret, sizeof place.secret);
}

}  // namespace

Result<UniqueFd> CreateDeposit() {
  UniqueFd fd(static_cast<int>(syscall(SYS_memfd_secret, O_CLOEXEC)));
  if (!fd.valid() || ftruncate(fd.get(), sizeof(Deposit)) != 0) {
    return FailErrno(Code::kUnavailable, "memory that keeps the root key (memfd_secret)", errno);
  }
  return fd;
}

Result<int> LeaveInDeposit(int fd, const SecretBuffer& secret) {
  CHECK(secret.size() <= kDepositBytesMax);
  TRY_ASSIGN(const MappedDeposit deposit, Map(fd));
  int number = 0;
  for (Place& place : deposit.places) {
    if (place.size_bytes.load(std::memory_order_acquire) == 0) {
      std::ranges::copy(secret.Reveal(), place.secret);
      place.size_bytes.store(static_cast<uint32_t>(secret.size()), std::memory_order_release);
      return number;
    }
    ++number;
  }
  return Fail(Code::kFailedPrecondition,
              "the memory that keeps the root key for the next daemon has no place left for "
              "another; unmount, mount again, and try again");
}

Status KeepInDeposit(int fd, int place) {
  TRY_ASSIGN(const MappedDeposit deposit, Map(fd));
  for (size_t i = 0; i < deposit.places.size(); ++i) {
    if (std::cmp_not_equal(i, place)) Wipe(deposit.places[i]);
  }
  return {};
}

Status EmptyDeposit(int fd) {
  return KeepInDeposit(fd, -1);
}

Result<std::vector<LeftSecret>> TakeFromDeposit(int fd) {
  TRY_ASSIGN(const MappedDeposit deposit, Map(fd));
  std::vector<LeftSecret> left;
  int number = 0;
  for (const Place& place : deposit.places) {
    const size_t size = place.size_bytes.load(std::memory_order_acquire);
    if (size > 0 && size <= kDepositBytesMax) {
      left.push_back({number, SecretBuffer::CopyOf(ByteSpan(place.secret).first(size))});
    }
    ++number;
  }
  return left;
}

}  // namespace secretfs::crypto
