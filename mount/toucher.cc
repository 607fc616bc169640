#include "mount/toucher.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>

#include "mount/privileges.h"
#include "mount/system_call_filter.h"

namespace secretfs::mount {
namespace {

void Touch(int root, const char* path) {
  constexpr timespec kKeep{.tv_sec = 0, .tv_nsec = UTIME_OMIT};
  constexpr timespec kNow{.tv_sec = 0, .tv_nsec = UTIME_NOW};
  const std::array<timespec, 2> times = {kKeep, kNow};
  // A file that is gone by now has nobody to tell.
  if (utimensat(root, path, times.data(), AT_SYMLINK_NOFOLLOW) != 0) return;
  const UniqueFd file(openat(root, path, O_WRONLY | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC));
}

}  // namespace

Status RunToucher(const ToucherOptions& options) {
  if (!options.socket.valid()) {
    return Fail(Code::kInvalidArgument, "this is for secretfs mount to start");
  }
  pthread_setname_np(pthread_self(), "secretfs-touch");
  BeSparedNoMore();
  TRY(BecomeNobody());
  // Its root keeps the file system alive, which without a keeper nobody could end.
  const pid_t keeper = getppid();
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != keeper) return {};
  if (options.system_call_filter) TRY(FilterSystemCalls(FilteredProcess::kToucher));
  const std::string prefix = options.root.valid() ? "" : options.prefix + "/";
  const int root = options.root.valid() ? options.root.get() : AT_FDCWD;
  std::array<char, PATH_MAX> bytes;
  while (true) {
    const ssize_t size = recv(options.socket.get(), bytes.data(), bytes.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return {};
    const std::string path = prefix + std::string(bytes.data(), static_cast<size_t>(size));
    Touch(root, path.c_str());
  }
}

}  // namespace secretfs::mount
