#include "mount/child_process.h"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "crypto/base/check.h"
#include "crypto/base/log.h"

namespace secretfs::mount {

Result<ChildProcess> ChildProcess::Of(pid_t pid) {
  // kill(2) takes other numbers for many processes at once.
  CHECK(pid > 0);
  UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (fd.valid()) return ChildProcess(pid, std::move(fd));
  const auto failure = FailErrno(Code::kUnavailable, "watch a process", errno);
  kill(pid, SIGKILL);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return failure;
}

ChildProcess::~ChildProcess() {
  if (!exists()) return;
  Kill();
  if (WaitForEnd(kEndsWithin)) return;
  Log(LogLevel::kError, "process " + std::to_string(pid_) + " was killed and does not end");
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), fd_(std::move(other.fd_)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this == &other) return *this;
  const ChildProcess before = std::move(*this);
  pid_ = std::exchange(other.pid_, -1);
  fd_ = std::move(other.fd_);
  return *this;
}

void ChildProcess::Kill() const {
  if (exists()) syscall(SYS_pidfd_send_signal, fd_.get(), SIGKILL, nullptr, 0);
}

std::optional<ProcessEnd> ChildProcess::WaitForEnd(std::chrono::milliseconds limit) {
  if (!exists()) return std::nullopt;
  const auto deadline = std::chrono::steady_clock::now() + limit;
  pollfd ended{fd_.get(), POLLIN, 0};
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    const int ready = poll(&ended, 1, left.count() > 0 ? static_cast<int>(left.count()) : 0);
    if (ready > 0) break;
    if (ready == 0) return std::nullopt;
  }
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  fd_.Reset();
  if (WIFSIGNALED(status)) {
    return ProcessEnd{.orderly = false,
                      .by_sigkill = WTERMSIG(status) == SIGKILL,
                      .text = "was killed by signal " + std::to_string(WTERMSIG(status))};
  }
  return ProcessEnd{.orderly = WEXITSTATUS(status) == 0,
                    .by_sigkill = false,
                    .text = "ended with status " + std::to_string(WEXITSTATUS(status))};
}

}  // namespace secretfs::mount
