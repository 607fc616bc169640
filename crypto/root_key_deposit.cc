#include "crypto/root_key_deposit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>

#include "crypto/base/check.h"

namespace secretfs::crypto {
namespace {

// The file's content. `size_bytes` is written last: 0 means that nothing is there yet.
struct Deposit {
  std::atomic<uint32_t> size_bytes;
  uint8_t secret[kDepositBytesMax];
};

struct Unmap {
  void operator()(Deposit* deposit) const { munmap(deposit, sizeof(Deposit)); }
};

Result<std::unique_ptr<Deposit, Unmap>> Map(int fd) {
  void* memory = mmap(nullptr, sizeof(Deposit), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) {
    return FailErrno(Code::kUnavailable, "map the memory that keeps the root key", errno);
  }
  return std::unique_ptr<Deposit, Unmap>(static_cast<Deposit*>(memory));
}

}  // namespace

Result<UniqueFd> CreateDeposit() {
  UniqueFd fd(static_cast<int>(syscall(SYS_memfd_secret, O_CLOEXEC)));
  if (!fd.valid() || ftruncate(fd.get(), sizeof(Deposit)) != 0) {
    return FailErrno(Code::kUnavailable, "memory that keeps the root key (memfd_secret)", errno);
  }
  return fd;
}

Status LeaveInDeposit(int fd, const SecretBuffer& secret) {
  CHECK(secret.size() <= kDepositBytesMax);
  TRY_ASSIGN(const auto deposit, Map(fd));
  std::ranges::copy(secret.Reveal(), deposit->secret);
  deposit->size_bytes.store(static_cast<uint32_t>(secret.size()), std::memory_order_release);
  return {};
}

Result<std::optional<SecretBuffer>> TakeFromDeposit(int fd) {
  TRY_ASSIGN(const auto deposit, Map(fd));
  const size_t size = deposit->size_bytes.load(std::memory_order_acquire);
  if (size == 0 || size > kDepositBytesMax) return std::optional<SecretBuffer>();
  return std::optional(SecretBuffer::CopyOf(ByteSpan(deposit->secret).first(size)));
}

}  // namespace secretfs::crypto
