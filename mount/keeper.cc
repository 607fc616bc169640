#include "mount/keeper.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <optional>

#include "crypto/base/log.h"
#include "crypto/root_key_deposit.h"
#include "fs/fuse_mount.h"
#include "fs/shared_state.h"
#include "mount/daemon_process.h"
#include "mount/kept_mount.h"
#include "mount/privileges.h"
#include "mount/restart_policy.h"
#include "mount/spawn.h"
#include "mount/toucher.h"
#include "mount/watchdog.h"

namespace secretfs::mount {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using SteadyTime = DaemonProcess::Time;

constexpr milliseconds kTick{1000};
constexpr seconds kOpenFilesGrace{5};
// How long a daemon may take from one step to the next, when there is nobody whom it could ask.
constexpr seconds kStepTime{30};
// How long one may take to finish what it does, for its successor.
constexpr seconds kHandOverTime{10};
constexpr int kWordsAtOnce = 16;

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
  TRY_ASSIGN(const bool is_ours, fs::IsSecretfsMounted(mountpoint));
  struct stat ignored{};
  if (!is_ours || stat(mountpoint.c_str(), &ignored) == 0 || errno != ENOTCONN) return {};
  Log(LogLevel::kWarning, mountpoint + ": detaching the mount of a daemon that is gone");
  return fs::UnmountFuse(mountpoint, /*lazy=*/true);
}

class Keeper {
 public:
  Keeper(KeeperOptions options, const KeeperEvents& events)
      : options_(std::move(options)),
        place_{options_.config.store, options_.config.mountpoint, options_.config.socket},
        events_(events) {}

  ~Keeper() {
    if (options_.leave_with_manager) TakeBackFromManager(options_.manager);
    EndWatching();
    // Whatever went wrong: a mount that nobody serves must not stay.
    const auto is_mounted = fs::HasMountOf(kept_.mount.device_number);
    if (kept_.mount.device.valid() && is_mounted && *is_mounted) Detach();
  }
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  Status Run() {
    TRY(Prepare());
    TRY(StartCurrent());
    while (!ended_) {
      Wait();
      if (!ended_) HandleTimes();
    }
    return outcome_;
  }

 private:
  Status Prepare();
  Status MakeState();
  Result<DaemonProcess> Start(int program, const Config& config);
  Status StartCurrent();

  void Wait();
  void HandleSignals();
  void HandleWords(DaemonProcess& daemon);
  void HandleWord(DaemonProcess& daemon, const KeeperMessage& message);
  void HandleLoaded(DaemonProcess& daemon);
  void HandleReady(DaemonProcess& daemon, bool can_be_succeeded);
  void HandleTimes();
  void HandleTick();
  void HandleEndOfCurrent();
  void HandleEndOfSuccessor();
  void LetOpen(DaemonProcess& daemon);
  void PromoteSuccessor();

  Status Mount();
  void LetServe(DaemonProcess& daemon);
  Status StartToucher();
  void HandleEndOfToucher();
  void HandleMountsChanged();
  void EndWatching();
  void ReplaceAfter(const ProcessEnd& end, const DaemonProcess& dead);
  void StartAgainAfter(const RestartPolicy::Death& death, const std::string& why);
  void Upgrade();
  Status StartSuccessor();
  void Unmount();
  void Detach();
  // The mount is over: `outcome` is what Run() returns.
  void EndWith(Status outcome) {
    if (!ended_) outcome_ = std::move(outcome);
    ended_ = true;
  }
  void GiveUp(const std::string& why);
  void SetLastEnd(const std::string& text);
  void RefuseUpgrade(const std::string& why);

  KeeperOptions options_;
  const MountPlace place_;
  const KeeperEvents& events_;
  std::string program_path_;  // Where an upgrade finds its program.
  UniqueFd program_;          // What serves now: a file that was replaced there stays at hand.
  UniqueFd signals_;
  KeptMount kept_;  // Not mounted yet: without a device.
  bool was_taken_over_ = false;
  fs::SharedStatePtr state_;
  UniqueFd mounts_;  // /proc/self/mountinfo, which tells when it changes.
  ChildProcess toucher_;

  std::optional<DaemonProcess> current_;
  std::optional<DaemonProcess> successor_;
  RestartPolicy policy_;
  std::optional<SteadyTime> restart_at_;
  std::optional<SteadyTime> toucher_restart_at_;
  std::optional<SteadyTime> stop_by_;  // Unmounted; what is still open by then is cut off.
  SteadyTime next_tick_ = Now() + kTick;
  Watchdog watchdog_;
  bool was_ready_ = false;
  bool can_be_succeeded_ = true;  // By a daemon that nobody can be asked for.
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
  TRY_ASSIGN(kept_, TakeKeptMount(std::move(options_.given), place_));
  was_taken_over_ = kept_.mount.device.valid();
  if (was_taken_over_) {
    Log(LogLevel::kInfo, place_.mountpoint + ": taking over the mount of the keeper before");
  } else {
    // What is left there of a mount that is not gone on with would keep it alive.
    if (options_.leave_with_manager) TakeBackFromManager(options_.manager);
    TRY(MakeState());
  }
  if (kept_.socket == nullptr) {
    TRY_ASSIGN(kept_.socket, ListenSocket::Open(place_.socket));
  }
  TRY_ASSIGN(state_, fs::MapSharedState(kept_.shared_state.get()));
  state_->keeper_pid = static_cast<uint64_t>(getpid());
  AskToBeSpared();
  return KeepOnlyKeeperCapabilities();
}

Status Keeper::MakeState() {
  TRY_ASSIGN(kept_.shared_state, fs::CreateSharedState());
  std::array<int, 2> pair{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    return FailErrno(Code::kUnavailable, "connect the toucher", errno);
  }
  kept_.to_toucher = UniqueFd(pair[0]);
  kept_.from_daemon = UniqueFd(pair[1]);
  if (options_.reprompt) return {};
  if (auto deposit = crypto::CreateDeposit()) {
    kept_.deposit = *std::move(deposit);
  } else {
    Log(LogLevel::kWarning,
        deposit.error().message + "; a daemon that is started again reads the root key itself");
  }
  return {};
}

Result<DaemonProcess> Keeper::Start(int program, const Config& config) {
  if (kept_.socket->IsShutDown()) {
    kept_.socket.reset();
    TRY_ASSIGN(kept_.socket, ListenSocket::Open(place_.socket));
  }
  TRY_ASSIGN(DaemonProcess daemon, StartDaemon({.program = program,
                                                .config = &config,
                                                .arguments = &options_.daemon_arguments,
                                                .shared_state = kept_.shared_state.get(),
                                                .listener = kept_.socket->fd(),
                                                .deposit = kept_.deposit.get(),
                                                .passphrase = options_.passphrase.get(),
                                                .toucher = kept_.to_toucher.get()}));
  options_.passphrase.Reset();
  state_->generation.fetch_add(1);
  return daemon;
}

Status Keeper::StartCurrent() {
  TRY_ASSIGN(current_, Start(program_.get(), options_.config));
  // The first may ask somebody for a passphrase, who takes the time that it takes.
  if (was_ready_ || was_taken_over_) current_->due_at = Now() + kStepTime;
  return {};
}

void Keeper::Wait() {
  SteadyTime wake = next_tick_;
  if (restart_at_) wake = std::min(wake, *restart_at_);
  if (stop_by_) wake = std::min(wake, *stop_by_);
  const auto wait = std::chrono::ceil<milliseconds>(wake - Now());
  std::array<pollfd, 7> fds = {pollfd{signals_.get(), POLLIN, 0},
                               pollfd{current_ ? current_->link.fd() : -1, POLLIN, 0},
                               pollfd{current_ ? current_->process.fd() : -1, POLLIN, 0},
                               pollfd{successor_ ? successor_->link.fd() : -1, POLLIN, 0},
                               pollfd{successor_ ? successor_->process.fd() : -1, POLLIN, 0},
                               pollfd{toucher_.fd(), POLLIN, 0},
                               pollfd{mounts_.get(), POLLPRI, 0}};
  const int timeout_ms = static_cast<int>(std::max(milliseconds::zero(), wait).count());
  if (poll(fds.data(), fds.size(), timeout_ms) <= 0) return;
  if (fds[0].revents != 0) HandleSignals();
  if (fds[1].revents != 0 && current_) HandleWords(*current_);
  if (fds[3].revents != 0 && successor_) HandleWords(*successor_);
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

void Keeper::HandleWords(DaemonProcess& daemon) {
  pollfd readable{daemon.link.fd(), POLLIN, 0};
  for (int i = 0; i < kWordsAtOnce && !ended_; ++i) {
    if (poll(&readable, 1, 0) != 1) return;
    const auto message = daemon.link.Receive();
    if (!message) return;
    if (!*message) {
      // It is about to end, and told nothing more but by that.
      daemon.link = KeeperLink();
      daemon.due_at = Now() + kHandOverTime;
      return;
    }
    if (!MayFollow(daemon.reached, (*message)->word)) {
      Log(LogLevel::kError, "the daemon says what it may not say now; it is killed");
      daemon.process.Kill();
      daemon.link = KeeperLink();
      return;
    }
    // May move the daemon from one member to the other: it is not the same behind this.
    const bool goes_on = (*message)->word != KeeperWord::kLoaded;
    HandleWord(daemon, **message);
    if (!goes_on) return;
  }
}

void Keeper::HandleWord(DaemonProcess& daemon, const KeeperMessage& message) {
  daemon.reached = message.word;
  if (daemon.due_at && !daemon.told_to_stop) daemon.due_at = Now() + kStepTime;
  switch (message.word) {
    case KeeperWord::kLoaded:
      return HandleLoaded(daemon);
    case KeeperWord::kOpened:
      return LetServe(daemon);
    case KeeperWord::kReady:
      return HandleReady(daemon, message.text.empty());
    case KeeperWord::kFailed:
      daemon.failure = DecodeError(message.text);
      daemon.due_at = Now() + kHandOverTime;
      return;
    case KeeperWord::kStarted:
    case KeeperWord::kOpen:
    case KeeperWord::kServe:
    case KeeperWord::kStop:
      return;
  }
}

void Keeper::HandleLoaded(DaemonProcess& daemon) {
  if (current_ && &daemon == &*current_) return LetOpen(daemon);
  if (current_) {
    daemon.due_at.reset();
    current_->told_to_stop = true;
    current_->due_at = Now() + kHandOverTime;
    (void)current_->link.Send(KeeperWord::kStop);
    return;
  }
  // The one before died meanwhile.
  restart_at_.reset();
  PromoteSuccessor();
}

// If it does not hear this, its end says so.
void Keeper::LetOpen(DaemonProcess& daemon) {
  if (was_ready_) daemon.due_at = Now() + kStepTime;
  (void)daemon.link.Send(KeeperWord::kOpen);
}

void Keeper::LetServe(DaemonProcess& daemon) {
  if (Status mounted = Mount(); !mounted) return EndWith(std::move(mounted));
  (void)daemon.link.Send(KeeperWord::kServe, {}, kept_.mount.device.get());
}

void Keeper::HandleReady(DaemonProcess& daemon, bool can_be_succeeded) {
  if (!daemon.told_to_stop) daemon.due_at.reset();
  policy_.Served();
  watchdog_.Reset();
  can_be_succeeded_ = can_be_succeeded;
  if (daemon.upgrade) {
    state_->upgrades.fetch_add(1);
    program_ = std::move(daemon.upgrade->program);
    options_.config = std::move(daemon.upgrade->config);
    daemon.upgrade.reset();
  }
  if (was_ready_) return;
  was_ready_ = true;
  if (!events_.ready()) Unmount();
}

Status Keeper::Mount() {
  if (!kept_.mount.device.valid()) {
    TRY(ClearDeadMount(place_.mountpoint));
    TRY_ASSIGN(kept_.mount, fs::MountFuse({.mountpoint = place_.mountpoint,
                                           .allow_other = options_.config.allow_other}));
    if (options_.leave_with_manager) {
      TRY(LeaveWithManager(options_.manager, kept_, place_));
    }
  }
  if (mounts_.valid()) return {};
  mounts_ = UniqueFd(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
  return StartToucher();
}

Status Keeper::StartToucher() {
  // Once nobody watches any more it drops pages alone, for mounts in other namespaces.
  const std::vector<std::string> pages_alone = {options_.toucher_arguments.front()};
  TRY_ASSIGN(const StartedToucher started,
             StartToucherProcess(
                 {.socket = kept_.from_daemon.get(),
                  .root = kept_.mount.private_mount.get(),
                  .device = kept_.mount.device.get(),
                  .arguments = mounts_.valid() ? options_.toucher_arguments : pages_alone}));
  TRY_ASSIGN(toucher_, ChildProcess::Of(started.pid));
  state_->toucher_pid = static_cast<uint64_t>(started.pid);
  return {};
}

void Keeper::HandleEndOfToucher() {
  const auto end = toucher_.WaitForEnd(milliseconds::zero());
  if (!end) return;
  state_->toucher_pid = 0;
  Log(LogLevel::kError, "the process that raises inotify events " + end->text);
  toucher_restart_at_ = Now() + kTick;
}

// The private mount and the toucher's use of it keep the file system alive: without them, the end
// of the last mount that people can see is the end of all.
void Keeper::HandleMountsChanged() {
  const auto is_mounted = fs::HasMountOf(kept_.mount.device_number);
  if (!is_mounted || *is_mounted) return;
  // The manager's duplicate would keep it alive as well.
  if (options_.leave_with_manager) TakeBackFromManager(options_.manager);
  EndWatching();
  toucher_restart_at_ = Now() + kTick;
}

void Keeper::EndWatching() {
  mounts_.Reset();
  toucher_ = ChildProcess();
  if (state_) state_->toucher_pid = 0;
  kept_.mount.private_mount.Reset();
}

void Keeper::HandleTimes() {
  const SteadyTime now = Now();
  if (now >= next_tick_) HandleTick();
  for (auto* daemon : {&current_, &successor_}) {
    if (*daemon && (*daemon)->due_at && now >= *(*daemon)->due_at) {
      Log(LogLevel::kError, "the daemon does not get any further; it is killed");
      (*daemon)->due_at.reset();
      (*daemon)->process.Kill();
    }
  }
  if (stop_by_ && now >= *stop_by_) {
    Log(LogLevel::kWarning, place_.mountpoint + ": files are still open; ending without them");
    return EndWith({});
  }
  if (restart_at_ && now >= *restart_at_ && !stop_by_) {
    restart_at_.reset();
    if (const Status started = StartCurrent(); !started) {
      StartAgainAfter({}, started.error().message);
    }
  }
}

void Keeper::HandleTick() {
  const SteadyTime now = Now();
  next_tick_ = now + kTick;
  if (toucher_restart_at_ && !stop_by_ && now >= *toucher_restart_at_) {
    toucher_restart_at_.reset();
    if (const Status started = StartToucher(); !started) {
      Log(LogLevel::kError, started.error().message);
      toucher_restart_at_ = now + kTick;
    }
  }
  if (!current_ || current_->reached != KeeperWord::kReady) return;
  pollfd requests{kept_.mount.device.get(), POLLIN, 0};
  const bool are_waiting = poll(&requests, 1, 0) == 1 && (requests.revents & POLLIN) != 0;
  if (!watchdog_.IsStuck(*state_, are_waiting)) return;
  Log(LogLevel::kError, "the daemon has not answered a request for " +
                            std::to_string(kRequestSecondsMax) + " s; it is replaced");
  watchdog_.Reset();
  current_->process.Kill();
}

void Keeper::HandleEndOfCurrent() {
  HandleWords(*current_);  // What it said last.
  if (ended_) return;
  const auto end = current_->process.WaitForEnd(milliseconds::zero());
  if (!end) return;
  const DaemonProcess dead = *std::move(current_);
  current_.reset();
  if (stop_by_) return EndWith({});
  if (dead.told_to_stop && successor_) return PromoteSuccessor();
  if (end->orderly && !dead.told_to_stop && kept_.mount.device.valid() &&
      !fs::IsConnected(kept_.mount.device.get())) {
    Log(LogLevel::kInfo, place_.mountpoint + " is unmounted; the keeper ends");
    return EndWith({});
  }
  // Killed over the first request of all: its successor answers that.
  const bool is_mounted = kept_.mount.device.valid();
  if (was_ready_ || was_taken_over_ || (is_mounted && end->by_sigkill)) {
    return ReplaceAfter(*end, dead);
  }
  if (dead.failure) return EndWith(std::unexpected(*dead.failure));
  EndWith(Fail(Code::kInternal, "the daemon " + end->text + " before it was ready"));
}

void Keeper::PromoteSuccessor() {
  current_ = std::move(successor_);
  successor_.reset();
  if (current_->reached == KeeperWord::kLoaded) LetOpen(*current_);
}

void Keeper::ReplaceAfter(const ProcessEnd& end, const DaemonProcess& dead) {
  const std::string text = dead.failure ? dead.failure->message : end.text;
  Log(LogLevel::kError,
      "the daemon " + (dead.failure ? "failed: " + text : text) + "; it is replaced");
  SetLastEnd(dead.upgrade ? std::string(kUpgradeFailed) + text : text);
  state_->restarts.fetch_add(1);
  StartAgainAfter({.served = dead.reached == KeeperWord::kReady,
                   .by_sigkill = end.by_sigkill,
                   .lived = std::chrono::duration_cast<milliseconds>(Now() - dead.started_at)},
                  text);
}

void Keeper::StartAgainAfter(const RestartPolicy::Death& death, const std::string& why) {
  const auto pause = policy_.PauseAfter(death);
  if (!pause) {
    return GiveUp(std::to_string(RestartPolicy::kFailuresMax) +
                  " daemons in a row did not come up; the last: " + why);
  }
  restart_at_ = Now() + *pause;
}

void Keeper::HandleEndOfSuccessor() {
  HandleWords(*successor_);
  if (!successor_ || ended_) return;
  const auto end = successor_->process.WaitForEnd(milliseconds::zero());
  if (!end) return;
  const DaemonProcess dead = *std::move(successor_);
  successor_.reset();
  RefuseUpgrade(dead.failure ? dead.failure->message : "it " + end->text);
}

void Keeper::RefuseUpgrade(const std::string& why) {
  SetLastEnd(std::string(kUpgradeFailed) + why);
  Log(LogLevel::kError, "the upgrade failed: " + why);
}

void Keeper::Upgrade() {
  if (!current_ || successor_ || stop_by_ || current_->reached != KeeperWord::kReady) {
    return RefuseUpgrade("the daemon is being replaced; try again");
  }
  if (!can_be_succeeded_) {
    return RefuseUpgrade(
        "no root key is kept for a successor, and nobody could be asked for the passphrase; "
        "unmount, and mount again");
  }
  SetLastEnd("");
  if (const Status started = StartSuccessor(); !started) RefuseUpgrade(started.error().message);
}

Status Keeper::StartSuccessor() {
  UniqueFd program(open(program_path_.c_str(), O_PATH | O_CLOEXEC));
  if (!program.valid()) return FailErrno(Code::kUnavailable, program_path_, errno);
  TRY_ASSIGN(Config config, options_.reread_config());
  TRY_ASSIGN(successor_, Start(program.get(), config));
  successor_->upgrade = {std::move(program), std::move(config)};
  successor_->due_at = Now() + kStepTime;
  return {};
}

void Keeper::Unmount() {
  if (stop_by_) return;
  options_.manager.Notify("STOPPING=1");
  if (!kept_.mount.device.valid()) return EndWith({});
  if (options_.leave_with_manager) TakeBackFromManager(options_.manager);
  EndWatching();
  const Status unmounted =
      fs::UnmountFuse(place_.mountpoint, /*lazy=*/false, kept_.mount.device_number);
  if (!unmounted && unmounted.error().code == Code::kFailedPrecondition) {
    Log(LogLevel::kWarning, unmounted.error().message);
    Detach();
  }
  stop_by_ = Now() + kOpenFilesGrace;
  if (!current_) EndWith({});
}

void Keeper::Detach() {
  const Status detached =
      fs::UnmountFuse(place_.mountpoint, /*lazy=*/true, kept_.mount.device_number);
  if (!detached) Log(LogLevel::kError, detached.error().message);
}

void Keeper::GiveUp(const std::string& why) {
  Log(LogLevel::kError, place_.mountpoint + ": the mount ends: " + why);
  EndWatching();
  Detach();
  EndWith(Fail(Code::kUnavailable, place_.mountpoint + ": " + why));
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
