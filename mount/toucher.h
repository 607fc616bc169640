#pragma once

#include <string>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"

namespace secretfs::mount {

// The process that touches files of the mount when what they show has changed, since the kernel
// raises inotify events for real operations only: a new modification time (IN_MODIFY), and an open
// for writing and close (IN_CLOSE_WRITE). A process of its own, because it asks the daemon things:
// if the daemon dies meanwhile, this one waits for its successor, and neither keeper nor daemon
// ever waits for a file of their own mount.
//
// `socket` brings one path of the mount in each packet. They lie below `root`, or, without that,
// below the directory `prefix`. Returns when the socket is closed.
inline constexpr int kToucherSocketFd = 3;
inline constexpr int kToucherRootFd = 4;

struct ToucherOptions {
  UniqueFd socket;
  UniqueFd root;
  std::string prefix;
  bool system_call_filter = true;
};
Status RunToucher(const ToucherOptions& options);

}  // namespace secretfs::mount
