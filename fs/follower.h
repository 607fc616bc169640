#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"
#include "fs/fuse_notices.h"
#include "fs/poll_handles.h"
#include "fs/tree.h"

namespace secretfs::fs {

// Makes the mount follow the store: after each commit it drops what the kernel remembers of the
// files that show something else now, has a real operation done on each of them that somebody may
// be watching (which raises inotify events), and wakes pollers. Changes that come while it works
// are taken together, so a file is touched once for all of them.
//
// A thread of its own, which never answers requests; see KernelNotices for why.
class Follower {
 public:
  struct Options {
    // Has the file at this path of the mount touched by somebody else. Waits for a moment at most.
    // False: not now, try again.
    std::function<bool(const std::string& path)> touch;
  };
  // What is followed is counted in `followed`, in memory that outlives the process; 0: begin with
  // the next change. All references must outlive this.
  Follower(store::SecretService& service, const Tree& tree, KernelNotices notices,
           PollHandles& poll_handles, std::atomic<uint64_t>& followed, Options options);
  // Ends, see End().
  ~Follower();
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  // Follows no more. A successor goes on where this stopped.
  void End();

  // A page of `node` is in the page cache, put there by mmap() or sendfile(): it is dropped in a
  // moment. Any thread may call this.
  void DropPagesOf(uint64_t node);

 private:
  void Run(const std::stop_token& stop);
  void FollowChanges(const std::stop_token& stop);
  // False: it was time to end before all was announced.
  bool Announce(const std::stop_token& stop, const std::vector<store::Change>& changes);
  // Returns how long to wait for pages that are not due yet, at most kLookMs.
  int DropPages();

  store::SecretService& service_;
  const Tree& tree_;
  const KernelNotices notices_;
  PollHandles& poll_handles_;
  std::atomic<uint64_t>& followed_;
  const Options options_;
  UniqueFd wake_;  // An event descriptor: there are pages to drop, or it is time to end.
  Mutex mutex_;
  std::vector<uint64_t> cached_nodes_ GUARDED_BY(mutex_);
  std::chrono::steady_clock::time_point drop_at_ GUARDED_BY(mutex_);  // If there are any.
  std::jthread thread_;
};

}  // namespace secretfs::fs
