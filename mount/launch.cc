#include "mount/launch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>

#include "mount/keeper_link.h"
#include "mount/log_file.h"
#include "mount/spawn.h"

namespace secretfs::mount {
namespace {

constexpr size_t kReportBytesMax = 4096;
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
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

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

std::string ReportOf(const Error& error) {
  return EncodeError(error) + "\n";
}

Status OutcomeOf(std::string_view report) {
  if (report == kReadyReport) return {};
  while (report.ends_with('\n')) report.remove_suffix(1);
  return std::unexpected(DecodeError(report));
}

void SendPassphrase(UniqueFd pipe, const crypto::SecretBuffer& passphrase) {
  // It fits into an empty pipe whole, so this does not block; a daemon that is gone reports by its
  // silence.
  if (write(pipe.get(), passphrase.Reveal().data(), passphrase.size()) < 0) return;
}

}  // namespace

Status LaunchDaemon(const Launch& launch) {
  TRY_ASSIGN(const UniqueFd log, OpenLogFile(launch.log_path));
  TRY_ASSIGN(Pipe ready, OpenPipe());
  TRY_ASSIGN(Pipe passphrase, OpenPipe());

  SpawnPlan plan;
  plan.NewSession();
  plan.OpenForReading(STDIN_FILENO, "/dev/null");
  TRY(plan.Give(log.get(), 1));
  TRY(plan.Give(log.get(), STDERR_FILENO));
  TRY(plan.Give(ready.write.get(), kReadyFd));
  if (launch.passphrase) TRY(plan.Give(passphrase.read.get(), kPassphraseFd));
  plan.CloseFrom(launch.passphrase ? kPassphraseFd + 1 : kReadyFd + 1);
  TRY_ASSIGN(const pid_t pid, plan.Spawn("/proc/self/exe", launch.arguments));
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
