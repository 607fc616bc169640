#include "mount/daemon_process.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "mount/spawn.h"

namespace secretfs::mount {
namespace {

Result<UniqueFd> MemoryFileOf(const std::string& text) {
  UniqueFd fd(memfd_create("secretfs-settings", MFD_CLOEXEC));
  if (!fd.valid() || write(fd.get(), text.data(), text.size()) < 0) {
    return FailErrno(Code::kUnavailable, "keep the settings", errno);
  }
  return fd;
}

}  // namespace

Result<DaemonProcess> StartDaemon(const DaemonStart& start) {
  TRY_ASSIGN(const UniqueFd settings, MemoryFileOf(FormatConfig(*start.config)));
  TRY_ASSIGN(KeeperLink::Ends ends, KeeperLink::Connect());
  SpawnPlan plan;
  TRY(plan.Give(ends.daemon.fd(), kLinkFd));
  TRY(plan.Give(start.shared_state, kSharedStateFd));
  TRY(plan.Give(start.listener, kListenFd));
  TRY(plan.Give(start.deposit, kDepositFd));
  TRY(plan.Give(start.passphrase, kDaemonPassphraseFd));
  TRY(plan.Give(start.program, kProgramFd));
  TRY(plan.Give(start.toucher, kTouchFd));
  TRY(plan.Give(settings.get(), kConfigFd));
  plan.CloseFrom(kDaemonFdEnd);
  const std::string path = "/proc/self/fd/" + std::to_string(kProgramFd);
  TRY_ASSIGN(const pid_t pid, plan.Spawn(path.c_str(), *start.arguments));
  DaemonProcess daemon{.process = {},
                       .link = std::move(ends.keeper),
                       .started_at = std::chrono::steady_clock::now(),
                       .due_at = std::nullopt,
                       .failure = std::nullopt,
                       .upgrade = std::nullopt};
  TRY_ASSIGN(daemon.process, ChildProcess::Of(pid));
  return daemon;
}

}  // namespace secretfs::mount
