#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"
#include "fs/cached_nodes.h"
#include "fs/poll_handles.h"
#include "fs/recent_opens.h"

namespace secretfs::fs {

// The largest transfer that is negotiated: one READ then carries the largest value however the
// reader's buffer lies in its pages.
inline constexpr size_t kTransferBytesMax = 128 * 1024;
// What libfuse adds for the headers of a request (FUSE_BUFFER_HEADER_SIZE, not in its public
// headers).
inline constexpr size_t kRequestBytesMax = kTransferBytesMax + 4096;
inline constexpr int kReaderThreadsMax = 8;

// Where one reader thread keeps the request that it is answering.
struct RequestSlot {
  // Set before a request is read from the device and cleared when it was answered. A busy slot
  // whose header has a `unique` other than 0 holds a request that still waits for its answer.
  std::atomic<uint32_t> busy;
  // Daemons that began to answer the request and died.
  std::atomic<uint32_t> attempts;
  // How many requests were ever read into it.
  std::atomic<uint64_t> taken;
  alignas(4096) uint8_t bytes[kRequestBytesMax];
};

// What outlives the daemon: a memory file that the keeper holds and each daemon maps. The kernel
// asks its questions once; a daemon that was killed leaves here which of them are open, and its
// successor answers them. Holds requests (names among them), never an answer and never a value.
//
// The layout is an interface between builds, since an upgrade hands it on: only append, and count
// `kLayout` up for anything else.
struct SharedState {
  static constexpr uint64_t kLayout = 0x5346'5300'0000'0003;

  std::atomic<uint64_t> layout;

  // Written by the keeper, shown by the daemon.
  std::atomic<uint64_t> keeper_pid;
  std::atomic<uint64_t> generation;  // Of the daemon: 1 for the first.
  std::atomic<uint64_t> restarts;    // Daemons that died and were replaced.
  std::atomic<uint64_t> upgrades;    // Daemons that handed over.
  char last_end[256];                // How the last of them ended, for people.

  // The kernel's INIT request; `init_answered` once its answer was sent.
  std::atomic<uint32_t> init_bytes;
  std::atomic<uint32_t> init_answered;
  uint8_t init[1024];

  // Written by the keeper: the process that touches files, on whose requests events are raised.
  std::atomic<uint64_t> toucher_pid;
  // The change that is to be announced next; 0: none yet.
  std::atomic<uint64_t> next_change;
  PollHandles poll_handles;
  CachedNodes cached_nodes;
  CallerMemory caller_memory;
  // Of the store whose node ids the kernel has; written by the first daemon.
  char store_id[40];

  RequestSlot slots[kReaderThreadsMax];
};

struct UnmapSharedState {
  void operator()(SharedState* state) const;
};
using SharedStatePtr = std::unique_ptr<SharedState, UnmapSharedState>;

// A new, empty state whose size nobody can change. Errors: kUnavailable.
Result<UniqueFd> CreateSharedState();
// Maps the state behind `fd`. Errors: kFailedPrecondition for that of a build with another layout,
// kUnavailable.
Result<SharedStatePtr> MapSharedState(int fd);

// Says which store's ids the kernel gets; the first daemon decides. Errors: kFailedPrecondition if
// it was another store: what the kernel holds would lead to other secrets.
Status ClaimFor(SharedState& state, std::string_view store_id);

}  // namespace secretfs::fs
