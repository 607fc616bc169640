#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"
#include "fs/follower.h"

namespace secretfs::mount {

// The process that does for the daemon what the kernel may let a process wait for:
//
// - It touches files of the mount when what they show has changed, since the kernel raises inotify
//   events for real operations only: a new modification time (IN_MODIFY), and an open for writing
//   and close (IN_CLOSE_WRITE).
// - It has pages dropped from the page cache, which waits for a page that is just being read.
//
// A process of its own, because each of these asks the daemon things: if that dies meanwhile, this
// one waits for its successor, and neither keeper nor daemon ever waits for a file of their own
// mount. It is nobody, and has no secret.
//
// The daemon asks over a sequenced-packet socket, one thing in each packet (AskToTouch() and
// AskToDropPages() send them). A packet stays in the socket until it was done, and the keeper holds
// both ends: what was asked is done even if daemon and toucher are killed, and at worst twice.
enum ToucherFd : int {
  kToucherSocketFd = 3,
  // Paths lie below it; absent: below the directory `prefix`; without both, none is touched.
  kToucherRootFd = 4,
  kToucherNotifierFd = 5,  // fs::OpenNotifier()
  kToucherKnownFd = 6,     // At its end once the daemon knows this process (SharedState).
  kToucherFdEnd = 7,
};

struct ToucherOptions {
  UniqueFd socket;
  UniqueFd root;
  UniqueFd notifier;
  UniqueFd known;
  std::string prefix;
  bool system_call_filter = true;
};
// Returns when the socket is closed. Errors: kInvalidArgument without the descriptors.
Status RunToucher(const ToucherOptions& options);

// The keeper's side: starts this program anew as the toucher.
struct ToucherPlan {
  int socket;
  int root;    // -1: none.
  int device;  // /dev/fuse, mounted.
  const std::vector<std::string>& arguments;
};
struct StartedToucher {
  pid_t pid;
  UniqueFd known;  // To be closed when the SharedState has the pid: it begins then.
};
// Errors: kUnavailable.
Result<StartedToucher> StartToucherProcess(const ToucherPlan& plan);

// The daemon's side of it; `toucher` is the socket.
fs::FollowerHelper::Answer AskToTouch(int toucher, const std::string& path);
fs::FollowerHelper::Answer AskToDropPages(int toucher, uint64_t node);

}  // namespace secretfs::mount
