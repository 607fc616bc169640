#include "mount/daemon_process.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
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
  std::vector<UniqueFd> parked;
  const std::array<std::pair<int, DaemonFd>, 8> places = {{{ends.daemon.fd(), kLinkFd},
                                                           {start.shared_state, kSharedStateFd},
                                                           {start.listener, kListenFd},
                                                           {start.deposit, kDepositFd},
                                                           {start.passphrase, kDaemonPassphraseFd},
                                                           {start.program, kProgramFd},
                                                           {start.toucher, kTouchFd},
                                                           {settings.get(), kConfigFd}}};
  for (const auto& [from, to] : places) {
    if (from < 0) continue;
    TRY_ASSIGN(UniqueFd above, SpawnPlan::Park(from));
    plan.Place(above.get(), to);
    parked.push_back(std::move(above));
  }
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
