#include "fs/shared_state.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "crypto/base/check.h"

namespace secretfs::fs {

// Zeros are a valid state, and no constructor must run over one that is in use.
static_assert(std::is_standard_layout_v<SharedState>);
static_assert(std::atomic<uint64_t>::is_always_lock_free);

void UnmapSharedState::operator()(SharedState* state) const {
  munmap(state, sizeof(SharedState));
}

Result<UniqueFd> CreateSharedState() {
  UniqueFd fd(memfd_create("secretfs-requests", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid() || ftruncate(fd.get(), sizeof(SharedState)) != 0 ||
      fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return FailErrno(Code::kUnavailable, "make the memory for requests", errno);
  }
  return fd;
}

Result<SharedStatePtr> MapSharedState(int fd) {
  struct stat info{};
  if (fstat(fd, &info) != 0) {
    return FailErrno(Code::kUnavailable, "map the memory for requests", errno);
  }
  const auto other_build = [] {
    return Fail(Code::kFailedPrecondition,
                "the running keeper's memory for requests is of another build; unmount, and mount "
                "again");
  };
  if (static_cast<size_t>(info.st_size) != sizeof(SharedState)) return other_build();
  void* memory = mmap(nullptr, sizeof(SharedState), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) {
    return FailErrno(Code::kUnavailable, "map the memory for requests", errno);
  }
  SharedStatePtr state(static_cast<SharedState*>(memory));
  uint64_t layout = 0;
  state->layout.compare_exchange_strong(layout, SharedState::kLayout);
  if (layout != 0 && layout != SharedState::kLayout) return other_build();
  return state;
}

Status ClaimFor(SharedState& state, std::string_view store_id) {
  CHECK(store_id.size() < sizeof state.store_id);
  if (state.store_id[0] == '\0') std::ranges::copy(store_id, state.store_id);
  if (std::string_view(state.store_id, strnlen(state.store_id, sizeof state.store_id)) ==
      store_id) {
    return {};
  }
  return Fail(Code::kFailedPrecondition,
              "this is another store than the one that is mounted; unmount, and mount again");
}

}  // namespace secretfs::fs
