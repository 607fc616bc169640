#pragma once

#include <fuse_lowlevel.h>

#include <atomic>
#include <functional>

#include "fs/callers.h"
#include "fs/shared_state.h"
#include "fs/tree.h"

namespace secretfs::fs {

// What the callbacks work on: the session's userdata. Thread-safe.
struct FuseFilesystem {
  Tree& tree;
  Callers& callers;
  SharedState& state;
  bool refuse_mapping = false;
  // Gets each node before the kernel gets a page of it for the page cache. False: refuse that.
  std::function<bool(uint64_t node)> pages_cached;
  fuse_session* session = nullptr;  // For notifications; null: none are sent.
  std::atomic<uint64_t> last_failure =
      0;  // What was logged last, so that a lasting failure is one line.
};

// The callbacks: each unpacks its request, calls the Tree, replies exactly once. Absent on purpose:
// `flush` (one round trip less at each close), `release`, `releasedir`, `forget` (nothing is
// remembered; libfuse answers them).
fuse_lowlevel_ops FuseOperations();

}  // namespace secretfs::fs
