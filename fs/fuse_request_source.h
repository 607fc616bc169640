#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "crypto/base/result.h"
#include "fs/shared_state.h"

namespace secretfs::fs {

// Where a reader thread gets its requests: reads /dev/fuse straight into its slot of the shared
// state, one request at a time, so that a request which the kernel has handed out is never lost
// with the process. Used by one thread.
class RequestSource {
 public:
  // `slot` and `stop` must outlive the source.
  RequestSource(int device, RequestSlot& slot, const std::atomic<bool>& stop)
      : device_(device), slot_(slot), stop_(stop) {}

  // Waits for a request. It stays valid, and counts as being answered, until Done(). An empty one:
  // the file system is unmounted, or `stop` is set (a thread that waits notices when a signal
  // interrupts it). Errors: kUnavailable.
  Result<std::span<uint8_t>> Next();
  void Done();

 private:
  const int device_;
  RequestSlot& slot_;
  const std::atomic<bool>& stop_;
};

// The request that a process which was killed left in `slot`; empty if there is none.
std::span<uint8_t> LeftRequest(RequestSlot& slot);
// The kernel's number of the request that is in `slot`; 0: none. For another thread or process.
uint64_t RequestIn(RequestSlot& slot);
// Empties it.
void ClearSlot(RequestSlot& slot);

}  // namespace secretfs::fs
