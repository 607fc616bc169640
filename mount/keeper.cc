#include "mount/keeper.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>

#include "crypto/base/log.h"
#include "crypto/root_key_deposit.h"
#include "fs/fuse_mount.h"
#include "fs/shared_state.h"
#include "mount/keeper_link.h"
#include "mount/listen_socket.h"
#include "mount/privileges.h"
#include "mount/spawn.h"
#include "mount/toucher.h"
#include "mount/watchdog.h"

namespace secretfs::mount {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using SteadyTime = std::chrono::steady_clock::time_point;

constexpr milliseconds kTick{1000};
constexpr int kStartsMax = 10;
constexpr milliseconds kPauseMin{10};
constexpr milliseconds kPauseMax{5000};
// A daemon that lived longer than this was well.
constexpr seconds kYoung{10};
constexpr seconds kOpenFilesGrace{5};

SteadyTime Now() {
  return std::chrono::steady_clock::now();
}

Result<UniqueFd> BlockSignals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  sigset_t awaited;
  sigemptyset(&awaited);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&awaited, signal);
  UniqueFd fd(signalfd(-1, &awaited, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return FailErrno(Code::kUnavailable, "wait for signals", errno);
  return fd;
}

// A mount whose daemon and keeper were killed answers ENOTCONN to everybody. Detaching it harms
// nobody, and without that none could take its place.
Status ClearDeadMount(const std::string& mountpoint) {
  struct stat ignored{};
  if (stat(mountpoint.c_str(), &ignored) == 0 || errno != ENOTCONN) return {};
  TRY_ASSIGN(const bool is_ours, fs::IsSecretfsMounted(mountpoint));
  if (!is_ours) return {};
  Log(LogLevel::kWarning, mountpoint + ": detaching the mount of a daemon that is gone");
  return fs::UnmountFuse(mountpoint, /*lazy=*/true);
}

Result<UniqueFd> MemoryFileOf(const std::string& text) {
  UniqueFd fd(memfd_create("secretfs-settings", MFD_CLOEXEC));
  if (!fd.valid() || write(fd.get(), text.data(), text.size()) < 0) {
    return FailErrno(Code::kUnavailable, "keep the settings", errno);
  }
  return fd;
}

// A daemon, from its start to its end.
struct Child {
  pid_t pid = -1;
  UniqueFd process;  // Its pidfd.
  KeeperLink link;
  SteadyTime started_at;
  KeeperWord reached = KeeperWord::kFailed;  // The last step that it reported.
  bool told_to_stop = false;
  std::optional<Error> failure;  // What it said before it ended.
  struct Upgrade {
    UniqueFd program;
    Config config;
  };
  std::optional<Upgrade> upgrade;  // What it runs, and how, if that is not what ran before.
};

struct End {
  bool orderly = false;  // Exit status 0: it was told to stop, or the mount is gone.
  bool by_sigkill = false;
  std::string text;
};

End EndOf(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    return {.orderly = false,
            .by_sigkill = WTERMSIG(status) == SIGKILL,
            .text = "was killed by signal " + std::to_string(WTERMSIG(status))};
  }
  return {.orderly = WEXITSTATUS(status) == 0,
          .by_sigkill = false,
          .text = "ended with status " + std::to_string(WEXITSTATUS(status))};
}

class Keeper {
 public:
  Keeper(KeeperOptions options, const KeeperEvents& events)
      : options_(std::move(options)), mountpoint_(options_.config.mountpoint), events_(events) {}

  ~Keeper() {
    StopToucher();
    mount_.private_mount.Reset();
    // Whatever went wrong: a mount that nobody serves must not stay.
    const auto is_mounted = fs::HasMountOf(mount_.device_number);
    if (mount_.device.valid() && is_mounted && *is_mounted) {
      if (Status detached = fs::UnmountFuse(mountpoint_, /*lazy=*/true); !detached) {
        Log(LogLevel::kError, detached.error().message);
      }
    }
    for (auto* child : {&current_, &successor_}) {
      if (*child) {
        kill((*child)->pid, SIGKILL);
        EndOf((*child)->pid);
      }
    }
  }
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  Status Run() {
    TRY(Prepare());
    TRY_ASSIGN(current_, Start(program_.get(), options_.config));
    while (!ended_) {
      Wait();
      if (!ended_) HandleTimes();
    }
    return outcome_;
  }

 private:
  Status Prepare();
  Result<Child> Start(int program, const Config& config);

  void Wait();
  void HandleSignals();
  void HandleMessages(Child& child);
  void HandleWord(Child& child, KeeperMessage message);
  void HandleTimes();
  void HandleEndOfCurrent();
  void HandleEndOfSuccessor();
  void PromoteSuccessor();

  void MountAndServe(Child& child);
  Status StartToucher();
  void StopToucher();
  void HandleEndOfToucher();
  void HandleMountsChanged();
  void ReplaceAfter(const End& end, const Child& dead);
  void Upgrade();
  void Unmount();
  // The mount is over: `outcome` is what Run() returns.
  void EndWith(Status outcome) {
    if (!ended_) outcome_ = std::move(outcome);
    ended_ = true;
  }
  void GiveUp(const std::string& why);
  void SetLastEnd(const std::string& text);

  KeeperOptions options_;
  const std::string mountpoint_;
  const KeeperEvents& events_;
  std::string program_path_;  // Where an upgrade finds its program.
  UniqueFd program_;          // What serves now: a file that was replaced there stays at hand.
  UniqueFd signals_;
  UniqueFd memory_;
  fs::SharedStatePtr state_;
  UniqueFd deposit_;
  std::unique_ptr<ListenSocket> socket_;
  UniqueFd listener_;
  fs::FuseMount mount_;  // Empty before it is mounted.
  UniqueFd mounts_;      // /proc/self/mountinfo, which tells when it changes.
  UniqueFd to_toucher_;
  UniqueFd from_daemon_;  // The toucher's end of it.
  pid_t toucher_ = -1;
  UniqueFd toucher_process_;

  std::optional<Child> current_;
  std::optional<Child> successor_;
  std::optional<SteadyTime> restart_at_;
  std::optional<SteadyTime> toucher_restart_at_;
  std::optional<SteadyTime> stop_by_;  // Unmounted; what is still open by then is cut off.
  SteadyTime next_tick_ = Now() + kTick;
  Watchdog watchdog_;
  bool was_ready_ = false;
  bool can_be_succeeded_ = true;  // By a daemon that nobody can be asked for.
  int failed_starts_ = 0;
  int young_deaths_ = 0;
  bool ended_ = false;
  Status outcome_;
};

Status Keeper::Prepare() {
  if (geteuid() == 0) {
    if (const auto user = FindUser(options_.config.user)) {
      TRY(GiveStoreTo(*user, options_.config.store, options_.config.audit_directory));
    } else {
      Log(LogLevel::kWarning, "there is no user " + options_.config.user +
                                  ", so the daemon stays root without root's capabilities; make "
                                  "one with: useradd --system " +
                                  options_.config.user);
    }
  }
  std::array<char, 4096> path{};
  const ssize_t size = readlink("/proc/self/exe", path.data(), path.size());
  if (size > 0) program_path_.assign(path.data(), static_cast<size_t>(size));
  program_ = UniqueFd(open("/proc/self/exe", O_PATH | O_CLOEXEC));
  if (!program_.valid()) return FailErrno(Code::kUnavailable, "/proc/self/exe", errno);
  TRY_ASSIGN(signals_, BlockSignals());
  TRY_ASSIGN(memory_, fs::CreateSharedState());
  TRY_ASSIGN(state_, fs::MapSharedState(memory_.get()));
  state_->keeper_pid = static_cast<uint64_t>(getpid());
  if (!options_.reprompt) {
    auto deposit = crypto::CreateDeposit();
    if (deposit) {
      deposit_ = *std::move(deposit);
    } else {
      Log(LogLevel::kWarning,
          deposit.error().message + "; a daemon that is started again reads the root key itself");
    }
  }
  TRY_ASSIGN(socket_, ListenSocket::Open(options_.config.socket));
  listener_ = socket_->TakeDescriptor();
  std::array<int, 2> pair{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    return FailErrno(Code::kUnavailable, "connect the toucher", errno);
  }
  to_toucher_ = UniqueFd(pair[0]);
  from_daemon_ = UniqueFd(pair[1]);
  return {};
}

Result<Child> Keeper::Start(int program, const Config& config) {
  TRY_ASSIGN(const UniqueFd settings, MemoryFileOf(FormatConfig(config)));
  TRY_ASSIGN(KeeperLink::Ends ends, KeeperLink::Connect());
  SpawnPlan plan;
  std::vector<UniqueFd> parked;
  const auto place = [&](int from, int to) -> Status {
    if (from < 0) return {};
    TRY_ASSIGN(UniqueFd above, SpawnPlan::Park(from));
    plan.Place(above.get(), to);
    parked.push_back(std::move(above));
    return {};
  };
  TRY(place(ends.daemon.fd(), kLinkFd));
  TRY(place(memory_.get(), kSharedStateFd));
  TRY(place(listener_.get(), kListenFd));
  TRY(place(deposit_.get(), kDepositFd));
  TRY(place(options_.passphrase.get(), kDaemonPassphraseFd));
  TRY(place(program, kProgramFd));
  TRY(place(to_toucher_.get(), kTouchFd));
  TRY(place(settings.get(), kConfigFd));
  plan.CloseFrom(kDaemonFdEnd);
  const std::string path = "/proc/self/fd/" + std::to_string(kProgramFd);
  TRY_ASSIGN(const pid_t pid, plan.Spawn(path.c_str(), options_.daemon_arguments));
  options_.passphrase.Reset();
  Child child{.pid = pid,
              .process = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))),
              .link = std::move(ends.keeper),
              .started_at = Now(),
              .failure = std::nullopt,
              .upgrade = std::nullopt};
  state_->generation.fetch_add(1);
  if (child.process.valid()) return child;
  const auto failure = FailErrno(Code::kUnavailable, "watch the daemon", errno);
  kill(pid, SIGKILL);
  EndOf(pid);
  return failure;
}

void Keeper::Wait() {
  SteadyTime wake = next_tick_;
  if (restart_at_) wake = std::min(wake, *restart_at_);
  if (stop_by_) wake = std::min(wake, *stop_by_);
  const auto wait = std::chrono::ceil<milliseconds>(wake - Now());
  std::array<pollfd, 7> fds = {pollfd{signals_.get(), POLLIN, 0},
                               pollfd{current_ ? current_->link.fd() : -1, POLLIN, 0},
                               pollfd{current_ ? current_->process.get() : -1, POLLIN, 0},
                               pollfd{successor_ ? successor_->link.fd() : -1, POLLIN, 0},
                               pollfd{successor_ ? successor_->process.get() : -1, POLLIN, 0},
                               pollfd{toucher_process_.get(), POLLIN, 0},
                               pollfd{mounts_.get(), POLLPRI, 0}};
  const int timeout_ms = static_cast<int>(std::max(milliseconds::zero(), wait).count());
  if (poll(fds.data(), fds.size(), timeout_ms) <= 0) return;
  if (fds[0].revents != 0) HandleSignals();
  if (fds[1].revents != 0 && current_) HandleMessages(*current_);
  if (fds[3].revents != 0 && successor_) HandleMessages(*successor_);
  if (fds[4].revents != 0 && successor_) HandleEndOfSuccessor();
  if (fds[2].revents != 0 && current_) HandleEndOfCurrent();
  if (fds[5].revents != 0) HandleEndOfToucher();
  if (fds[6].revents != 0) HandleMountsChanged();
}

void Keeper::HandleSignals() {
  signalfd_siginfo info{};
  while (read(signals_.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGHUP) {
      Upgrade();
    } else {
      Unmount();
    }
  }
}

void Keeper::HandleMessages(Child& child) {
  pollfd readable{child.link.fd(), POLLIN, 0};
  while (poll(&readable, 1, 0) == 1 && (readable.revents & POLLIN) != 0) {
    auto message = child.link.Receive();
    if (!message || !*message) break;
    HandleWord(child, **std::move(message));
    if (ended_) return;
  }
}

void Keeper::HandleWord(Child& child, KeeperMessage message) {
  child.reached = message.word;
  switch (message.word) {
    case KeeperWord::kLoaded:
      if (current_ && &child == &*current_) {
        // Its failure shows as its end.
        (void)child.link.Send(KeeperWord::kOpen);
      } else if (current_) {
        current_->told_to_stop = true;
        (void)current_->link.Send(KeeperWord::kStop);
      } else {
        // The one before died meanwhile.
        restart_at_.reset();
        PromoteSuccessor();
      }
      return;
    case KeeperWord::kOpened:
      MountAndServe(child);
      return;
    case KeeperWord::kReady:
      failed_starts_ = 0;
      watchdog_.Reset();
      can_be_succeeded_ = message.text.empty();
      if (child.upgrade) {
        state_->upgrades.fetch_add(1);
        program_ = std::move(child.upgrade->program);
        options_.config = std::move(child.upgrade->config);
        child.upgrade.reset();
      }
      if (!was_ready_) {
        was_ready_ = true;
        if (!events_.ready()) Unmount();
      }
      return;
    case KeeperWord::kFailed:
      child.failure = DecodeError(message.text);
      return;
    case KeeperWord::kOpen:
    case KeeperWord::kServe:
    case KeeperWord::kStop:
      break;
  }
  Log(LogLevel::kError, "the daemon says what only a keeper says");
}

void Keeper::MountAndServe(Child& child) {
  if (!mount_.device.valid()) {
    const auto mount = [&]() -> Status {
      TRY(ClearDeadMount(mountpoint_));
      TRY_ASSIGN(mount_, fs::MountFuse({.mountpoint = mountpoint_,
                                        .allow_other = options_.config.allow_other}));
      return StartToucher();
    };
    if (Status mounted = mount(); !mounted) return EndWith(std::move(mounted));
  }
  (void)child.link.Send(KeeperWord::kServe, {}, mount_.device.get());
}

Status Keeper::StartToucher() {
  SpawnPlan plan;
  TRY_ASSIGN(const UniqueFd socket, SpawnPlan::Park(from_daemon_.get()));
  plan.Place(socket.get(), kToucherSocketFd);
  UniqueFd root;
  if (mount_.private_mount.valid()) {
    TRY_ASSIGN(root, SpawnPlan::Park(mount_.private_mount.get()));
    plan.Place(root.get(), kToucherRootFd);
  }
  plan.CloseFrom(kToucherRootFd + 1);
  TRY_ASSIGN(toucher_, plan.Spawn("/proc/self/exe", options_.toucher_arguments));
  toucher_process_ = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, toucher_, 0)));
  state_->toucher_pid = static_cast<uint64_t>(toucher_);
  mounts_ = UniqueFd(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
  return {};
}

void Keeper::StopToucher() {
  if (toucher_ <= 0) return;
  kill(toucher_, SIGKILL);
  state_->toucher_pid = 0;
  toucher_process_.Reset();
  toucher_ = -1;
}

void Keeper::HandleEndOfToucher() {
  const End end = EndOf(toucher_);
  toucher_ = -1;
  toucher_process_.Reset();
  state_->toucher_pid = 0;
  Log(LogLevel::kError, "the process that raises inotify events " + end.text);
  toucher_restart_at_ = Now() + kTick;
}

// The private mount and the toucher's use of it keep the file system alive: without them, the end
// of the last mount that people can see is the end of all.
void Keeper::HandleMountsChanged() {
  const auto is_mounted = fs::HasMountOf(mount_.device_number);
  if (!is_mounted || *is_mounted) return;
  mounts_.Reset();
  StopToucher();
  mount_.private_mount.Reset();
}

void Keeper::HandleTimes() {
  const SteadyTime now = Now();
  if (now >= next_tick_) {
    next_tick_ = now + kTick;
    if (toucher_restart_at_ && mounts_.valid() && now >= *toucher_restart_at_) {
      toucher_restart_at_.reset();
      if (Status started = StartToucher(); !started) Log(LogLevel::kError, started.error().message);
    }
    if (current_ && was_ready_ && watchdog_.IsStuck(*state_)) {
      Log(LogLevel::kError, "the daemon has not answered a request for " +
                                std::to_string(kRequestSecondsMax) + " s; it is replaced");
      watchdog_.Reset();
      kill(current_->pid, SIGKILL);
    }
  }
  if (stop_by_ && now >= *stop_by_) {
    Log(LogLevel::kWarning, mountpoint_ + ": files are still open; ending without them");
    return EndWith({});
  }
  if (restart_at_ && now >= *restart_at_ && !stop_by_) {
    restart_at_.reset();
    auto started = Start(program_.get(), options_.config);
    if (started) {
      current_ = *std::move(started);
    } else if (++failed_starts_ >= kStartsMax) {
      return GiveUp(started.error().message);
    } else {
      Log(LogLevel::kError, started.error().message);
      restart_at_ = Now() + kTick;
    }
  }
}

void Keeper::HandleEndOfCurrent() {
  HandleMessages(*current_);  // What it said last.
  if (ended_) return;
  const Child dead = std::move(*current_);
  current_.reset();
  const End end = EndOf(dead.pid);
  if (stop_by_) return EndWith({});
  if (dead.told_to_stop && successor_) return PromoteSuccessor();
  if (end.orderly && dead.reached == KeeperWord::kReady && !dead.told_to_stop) {
    Log(LogLevel::kInfo, mountpoint_ + " is unmounted; the keeper ends");
    return EndWith({});
  }
  // Killed over the first request of all: its successor answers that.
  const bool goes_on = was_ready_ || (mount_.device.valid() && end.by_sigkill);
  if (!goes_on) {
    if (dead.failure) return EndWith(std::unexpected(*dead.failure));
    return EndWith(Fail(Code::kInternal, "the daemon " + end.text + " before it was ready"));
  }
  ReplaceAfter(end, dead);
}

void Keeper::PromoteSuccessor() {
  current_ = std::move(successor_);
  successor_.reset();
  (void)current_->link.Send(KeeperWord::kOpen);
}

void Keeper::ReplaceAfter(const End& end, const Child& dead) {
  const std::string text = dead.failure ? dead.failure->message : end.text;
  Log(LogLevel::kError, "the daemon (pid " + std::to_string(dead.pid) + ") " +
                            (dead.failure ? "failed: " + text : text) + "; it is replaced");
  SetLastEnd(dead.upgrade ? std::string(kUpgradeFailed) + text : text);
  state_->restarts.fetch_add(1);
  failed_starts_ += dead.reached == KeeperWord::kReady ? 0 : 1;
  if (failed_starts_ >= kStartsMax) {
    return GiveUp(std::to_string(kStartsMax) +
                  " daemons in a row did not come up; the last: " + text);
  }
  const bool died_young = Now() - dead.started_at < kYoung;
  const bool from_outside = end.by_sigkill && dead.reached == KeeperWord::kReady;
  young_deaths_ = died_young && !from_outside ? std::min(young_deaths_ + 1, 20) : 0;
  milliseconds pause = milliseconds::zero();
  if (young_deaths_ > 0) pause = std::min(kPauseMax, kPauseMin * (1 << (young_deaths_ - 1)));
  restart_at_ = Now() + pause;
}

void Keeper::HandleEndOfSuccessor() {
  HandleMessages(*successor_);
  if (!successor_ || ended_) return;
  const Child dead = std::move(*successor_);
  successor_.reset();
  const End end = EndOf(dead.pid);
  const std::string text = dead.failure ? dead.failure->message : "it " + end.text;
  SetLastEnd(std::string(kUpgradeFailed) + text);
  Log(LogLevel::kError, "the upgrade failed: " + text);
}

void Keeper::Upgrade() {
  if (!current_ || successor_ || stop_by_ || current_->reached != KeeperWord::kReady) {
    SetLastEnd(std::string(kUpgradeFailed) + "the daemon is being replaced; try again");
    return;
  }
  if (!can_be_succeeded_) {
    SetLastEnd(std::string(kUpgradeFailed) +
               "no root key is kept for a successor, and nobody could be asked for the passphrase; "
               "unmount, and mount again");
    return;
  }
  SetLastEnd("");
  const auto start = [&]() -> Status {
    UniqueFd program(open(program_path_.c_str(), O_PATH | O_CLOEXEC));
    if (!program.valid()) return FailErrno(Code::kUnavailable, program_path_, errno);
    TRY_ASSIGN(Config config, options_.reread_config());
    TRY_ASSIGN(successor_, Start(program.get(), config));
    successor_->upgrade = {std::move(program), std::move(config)};
    return {};
  };
  if (const Status started = start(); !started) {
    SetLastEnd(std::string(kUpgradeFailed) + started.error().message);
    Log(LogLevel::kError, "the upgrade failed: " + started.error().message);
  }
}

void Keeper::Unmount() {
  if (stop_by_) return;
  if (!mount_.device.valid()) return EndWith({});
  events_.stopping();
  mounts_.Reset();
  StopToucher();
  mount_.private_mount.Reset();
  const Status unmounted = fs::UnmountFuse(mountpoint_, /*lazy=*/false);
  if (!unmounted && unmounted.error().code == Code::kFailedPrecondition) {
    Log(LogLevel::kWarning, unmounted.error().message);
    if (Status detached = fs::UnmountFuse(mountpoint_, /*lazy=*/true); !detached) {
      Log(LogLevel::kError, detached.error().message);
    }
  }
  stop_by_ = Now() + kOpenFilesGrace;
  if (!current_) EndWith({});
}

void Keeper::GiveUp(const std::string& why) {
  Log(LogLevel::kError, mountpoint_ + ": the mount ends: " + why);
  if (Status detached = fs::UnmountFuse(mountpoint_, /*lazy=*/true); !detached) {
    Log(LogLevel::kError, detached.error().message);
  }
  EndWith(Fail(Code::kUnavailable, mountpoint_ + ": " + why));
}

void Keeper::SetLastEnd(const std::string& text) {
  const size_t size = std::min(text.size(), sizeof state_->last_end - 1);
  std::copy_n(text.data(), size, state_->last_end);
  state_->last_end[size] = '\0';
}

}  // namespace

Status RunKeeper(KeeperOptions options, const KeeperEvents& events) {
  pthread_setname_np(pthread_self(), "secretfs-keeper");
  // What this process was started with open is not for the daemon to take for the keeper's.
  close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  Keeper keeper(std::move(options), events);
  return keeper.Run();
}

}  // namespace secretfs::mount
