#include "mount/launch.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <string_view>

#include "mount/log_file.h"

namespace secretfs::mount {
namespace {

constexpr size_t kReportBytesMax = 4096;
// Above every number that the child's descriptors get, so that placing one cannot overwrite
// another.
constexpr int kParkedFdMin = 16;
constexpr std::string_view kReadyReport = "ready\n";

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Result<Pipe> OpenPipe() {
  std::array<int, 2> fds{};
  if (pipe2(fds.data(), O_CLOEXEC) != 0) {
    return FailErrno(Code::kUnavailable, "open a pipe", errno);
  }
  const UniqueFd read_low(fds[0]);
  const UniqueFd write_low(fds[1]);
  Pipe pipe{UniqueFd(fcntl(fds[0], F_DUPFD_CLOEXEC, kParkedFdMin)),
            UniqueFd(fcntl(fds[1], F_DUPFD_CLOEXEC, kParkedFdMin))};
  if (!pipe.read.valid() || !pipe.write.valid()) {
    return FailErrno(Code::kUnavailable, "open a pipe", errno);
  }
  return pipe;
}

// posix_spawn's two property lists, destroyed when done with.
class SpawnPlan {
 public:
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigemptyset(&none);
    sigset_t all;
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnPlan() {
    posix_spawnattr_destroy(&attributes_);
    posix_spawn_file_actions_destroy(&actions_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  void OpenForReading(int fd, const char* path) {
    posix_spawn_file_actions_addopen(&actions_, fd, path, O_RDONLY, 0);
  }
  void Place(const UniqueFd& from, int to) {
    posix_spawn_file_actions_adddup2(&actions_, from.get(), to);
  }
  void CloseFrom(int fd) { posix_spawn_file_actions_addclosefrom_np(&actions_, fd); }

  Result<pid_t> Spawn(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "secretfs");
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    pid_t pid = -1;
    const int failed =
        posix_spawn(&pid, "/proc/self/exe", &actions_, &attributes_, pointers.data(), environ);
    if (failed != 0) return FailErrno(Code::kUnavailable, "start the daemon", failed);
    return pid;
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

Result<std::string> ReadReport(int fd) {
  std::string report(kReportBytesMax, '\0');
  size_t size = 0;
  while (size < report.size()) {
    const ssize_t got = read(fd, report.data() + size, report.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno(Code::kUnavailable, "wait for the daemon", errno);
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  report.resize(size);
  return report;
}

std::unexpected<Error> EndedEarly(pid_t pid, const std::string& log_path) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  const std::string how = WIFSIGNALED(status)
                              ? "was killed by signal " + std::to_string(WTERMSIG(status))
                              : "ended with status " + std::to_string(WEXITSTATUS(status));
  return Fail(Code::kInternal, "the daemon " + how + " before it was ready; see " + log_path);
}

// "<code> <message>\n", the code as its number: both ends are the same program.
std::string ReportOf(const Error& error) {
  return std::to_string(static_cast<int>(error.code)) + " " + error.message + "\n";
}

Status OutcomeOf(std::string_view report) {
  if (report == kReadyReport) return {};
  int code = 0;
  const auto [end, bad] = std::from_chars(report.data(), report.data() + report.size(), code);
  const bool known = bad == std::errc() && code >= 0 && code <= static_cast<int>(Code::kInternal);
  if (!known || end == report.data() + report.size()) {
    return Fail(Code::kInternal, "the daemon reports nonsense");
  }
  std::string_view message = report.substr(static_cast<size_t>(end - report.data()) + 1);
  while (message.ends_with('\n')) message.remove_suffix(1);
  return Fail(static_cast<Code>(code), std::string(message));
}

void SendPassphrase(UniqueFd pipe, const crypto::SecretBuffer& passphrase) {
  // It fits into an empty pipe whole, so this does not block; a daemon that is gone reports by its
  // silence.
  if (write(pipe.get(), passphrase.Reveal().data(), passphrase.size()) < 0) return;
}

}  // namespace

Status LaunchDaemon(const Launch& launch) {
  TRY_ASSIGN(const UniqueFd log_low, OpenLogFile(launch.log_path));
  const UniqueFd log(fcntl(log_low.get(), F_DUPFD_CLOEXEC, kParkedFdMin));
  TRY_ASSIGN(Pipe ready, OpenPipe());
  TRY_ASSIGN(Pipe passphrase, OpenPipe());

  SpawnPlan plan;
  plan.OpenForReading(STDIN_FILENO, "/dev/null");
  plan.Place(log, 1);
  plan.Place(log, STDERR_FILENO);
  plan.Place(ready.write, kReadyFd);
  if (launch.passphrase) plan.Place(passphrase.read, kPassphraseFd);
  plan.CloseFrom(launch.passphrase ? kPassphraseFd + 1 : kReadyFd + 1);
  TRY_ASSIGN(const pid_t pid, plan.Spawn(launch.arguments));
  ready.write.Reset();
  passphrase.read.Reset();
  if (launch.passphrase) {
    // A daemon that dies early must be an error here, not a signal.
    struct sigaction ignore{};
    struct sigaction before{};
    ignore.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &ignore, &before);
    SendPassphrase(std::move(passphrase.write), *launch.passphrase);
    sigaction(SIGPIPE, &before, nullptr);
  }
  passphrase.write.Reset();
  TRY_ASSIGN(const std::string report, ReadReport(ready.read.get()));
  if (report.empty()) return EndedEarly(pid, launch.log_path);
  return OutcomeOf(report);
}

UniqueFd AdoptDescriptor(int fd) {
  if (fd >= 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
  return UniqueFd(fd);
}

bool Readiness::Report(const Status& outcome) {
  if (!fd_.valid()) return true;
  const std::string report = outcome ? std::string(kReadyReport) : ReportOf(outcome.error());
  const bool heard = write(fd_.get(), report.data(), report.size()) >= 0;
  fd_.Reset();
  return heard;
}

}  // namespace secretfs::mount
