#pragma once

#include <cstdint>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"

namespace secretfs::fs {

// What a file system tells the kernel of its own accord: each call writes one message to /dev/fuse
// (linux/fuse.h, "fuse_notify_code"). libfuse's own functions do not say what the kernel answered,
// which is worth knowing: it tells whether anybody can be watching.
//
// Never to be called by a thread that answers requests, or under a lock that such a thread may
// take: the kernel may wait here for the answer to a request.
class KernelNotices {
 public:
  // `device` must outlive this.
  explicit KernelNotices(int device) : device_(device) {}

  // The attributes of `node` have changed. False: the kernel has no such node in memory, so nobody
  // has it open or watches it.
  bool ForgetAttributes(uint64_t node) const;
  // The same, and its pages must go from the page cache. Waits, uninterruptibly, for those that the
  // kernel is reading just now: only a process that may wait for the daemon does this.
  bool ForgetContent(uint64_t node) const;
  // Somebody who polls the open file that the kernel calls `poll_handle` should look again.
  void WakePoller(uint64_t poll_handle) const;
  // Requests that were handed out and not answered are to be handed out again. Returns an errno; 0:
  // the kernel does so.
  int ResendRequests() const;

 private:
  const int device_;
};

// A descriptor of the file system behind the mounted `device` for KernelNotices and nothing else:
// it reads no requests and answers none (FUSE_DEV_IOC_CLONE; the kernel takes an answer only
// through the descriptor that the request was read from). Like any descriptor of a mounted
// /dev/fuse it keeps the connection alive. Errors: kUnavailable.
Result<UniqueFd> OpenNotifier(int device);

}  // namespace secretfs::fs
