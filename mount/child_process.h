#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"

namespace secretfs::mount {

// How a process ended.
struct ProcessEnd {
  bool orderly = false;  // Exit status 0.
  bool by_sigkill = false;
  std::string text;  // "was killed by signal 9", "ended with status 1".
};

// A child of this process, from its start until its end was taken note of. By pidfd(2), so that no
// later process of the same number is ever meant. Movable; an empty one is no process.
class ChildProcess {
 public:
  // How long a process that was killed may take to end. One that waits in the kernel for a file of
  // a mount that nobody serves takes for ever.
  static constexpr std::chrono::milliseconds kEndsWithin{2000};

  ChildProcess() = default;
  // REQUIRES: `pid` is a child whose end nobody has waited for. Errors: kUnavailable; it was killed
  // then.
  static Result<ChildProcess> Of(pid_t pid);
  // Kills it, and waits for its end for kEndsWithin.
  ~ChildProcess();
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;

  bool exists() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }
  // Readable when the process has ended; -1 for none.
  int fd() const { return fd_.get(); }

  void Kill() const;
  // Waits for the end, at most for `limit`, and takes note of it: then this is no process any more.
  // nullopt: it goes on.
  std::optional<ProcessEnd> WaitForEnd(std::chrono::milliseconds limit);

 private:
  ChildProcess(pid_t pid, UniqueFd fd) : pid_(pid), fd_(std::move(fd)) {}

  pid_t pid_ = -1;
  UniqueFd fd_;
};

}  // namespace secretfs::mount
