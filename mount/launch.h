#pragma once

#include <optional>
#include <string>
#include <vector>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"
#include "crypto/secret_buffer.h"

namespace secretfs::mount {

// The descriptors that a launched daemon finds open; the command line tells it so.
inline constexpr int kReadyFd = 3;
inline constexpr int kPassphraseFd = 4;

struct Launch {
  std::vector<std::string> arguments;  // Behind the program's name.
  std::string log_path;
  std::optional<crypto::SecretBuffer> passphrase;
};

// Starts this program again as a daemon and waits until it says that it is ready, or why it is not:
// its error becomes this one's. The daemon gets a session of its own, /dev/null to read, the log to
// write, and no descriptor of ours.
//
// The passphrase goes through a pipe; arguments and environment are for everyone to read.
Status LaunchDaemon(const Launch& launch);

// Makes a descriptor that came from LaunchDaemon() this process's own: no program that it runs gets
// it. -1 gives none.
UniqueFd AdoptDescriptor(int fd);

// The launched daemon's side of the wait; says it once. Without a descriptor it says nothing.
class Readiness {
 public:
  explicit Readiness(UniqueFd fd) : fd_(std::move(fd)) {}

  // False: nobody is waiting any more.
  bool Report(const Status& outcome);

 private:
  UniqueFd fd_;
};

}  // namespace secretfs::mount
