#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"
#include "fs/fuse_notices.h"
#include "fs/shared_state.h"
#include "fs/tree.h"

namespace secretfs::fs {

// Who does for the follower what the kernel may make a process wait for: a process of its own,
// which may wait (mount/toucher.h). Each call takes a moment at most.
struct FollowerHelper {
  enum class Answer : uint8_t {
    kTaken,   // It will be done, also if this process or the helper is killed.
    kNotNow,  // It has too much to do; try again.
    kGone,    // There is no helper, and will be none.
  };
  // Touch the file at this path of the mount.
  std::function<Answer(const std::string& path)> touch;
  // Have the pages of `node` dropped from the page cache.
  std::function<Answer(uint64_t node)> drop_pages;
};

// Makes the mount follow the store: after each commit it drops what the kernel remembers of the
// files that show something else now, has a real operation done on each of them that somebody may
// be watching (which raises inotify events), and wakes pollers. Changes that come while it works
// are taken together, so a file is touched once for all of them.
//
// It also has those pages dropped that mmap() and sendfile() left in the page cache.
//
// What is still to be done is in memory that outlives the process: after a kill the successor does
// it, and what was just being done is done twice rather than not at all.
//
// A thread of its own, which never answers requests; see KernelNotices for why. What may wait for a
// request's answer is somebody else's work (FollowerHelper), so that the daemon can always end.
class Follower {
 public:
  // All references must outlive this.
  Follower(store::SecretService& service, const Tree& tree, KernelNotices notices,
           SharedState& state, FollowerHelper helper);
  // Ends, see End().
  ~Follower();
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  // Follows no more, and waits for nobody. A successor goes on where this stopped.
  void End();

  // A page of `node` is about to be in the page cache, for mmap() or sendfile(): it is dropped in a
  // moment. False: there are more than can be remembered, so the page must be refused. Any thread
  // may call this.
  bool DropPagesOf(uint64_t node);

 private:
  void Run(const std::stop_token& stop);
  void FollowChanges(const std::stop_token& stop);
  // False: it was time to end before all was announced.
  bool Announce(const std::stop_token& stop, const std::vector<store::Change>& changes);
  void WakePollers();
  // Returns how long to wait for pages that are not due yet, at most kLookMs.
  int DropPages();

  store::SecretService& service_;
  const Tree& tree_;
  const KernelNotices notices_;
  PollHandles& poll_handles_;
  CachedNodes& cached_nodes_;
  std::atomic<uint64_t>& followed_;  // The change that is next; 0: the next that comes.
  const FollowerHelper helper_;
  UniqueFd wake_;  // An event descriptor: there are pages to drop, or it is time to end.
  // When the pages are due, in milliseconds of the steady clock; 0: there are none.
  std::atomic<int64_t> drop_at_ms_;
  std::jthread thread_;
};

}  // namespace secretfs::fs
