#include "fs/follower.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <exception>
#include <map>

#include "crypto/base/check.h"
#include "crypto/base/log.h"

namespace secretfs::fs {
namespace {

// For commits of another process, which wake nobody here.
constexpr int kLookMs = 1000;
constexpr size_t kChangesAtOnce = 1024;
// How long a page that was mapped may stay in the page cache: long enough for a program that reads
// all of it to need it once.
constexpr int64_t kPagesKeptMs = 500;
// When the helper has too much to do.
constexpr int kRetryMs = 50;

int64_t NowMs() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

}  // namespace

Follower::Follower(store::SecretService& service, const Tree& tree, KernelNotices notices,
                   SharedState& state, FollowerHelper helper)
    : service_(service),
      tree_(tree),
      notices_(notices),
      poll_handles_(state.poll_handles),
      cached_nodes_(state.cached_nodes),
      followed_(state.next_change),
      helper_(std::move(helper)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      drop_at_ms_(NowMs()) {  // What a predecessor left is due.
  CHECK(wake_.valid());
  if (followed_ == 0) followed_ = service_.GetHealth().last_change + 1;
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
  pthread_setname_np(thread_.native_handle(), "secretfs-follow");
}

Follower::~Follower() {
  End();
}

void Follower::End() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  eventfd_write(wake_.get(), 1);
  thread_.join();
}

bool Follower::DropPagesOf(uint64_t node) {
  const CachedNodes::Added added = cached_nodes_.Add(node);
  int64_t due_ms = 0;
  bool is_sooner = false;
  if (added == CachedNodes::Added::kThere) {
    is_sooner = drop_at_ms_.compare_exchange_strong(due_ms, NowMs() + kPagesKeptMs);
  } else {
    const int64_t now_ms = NowMs();
    due_ms = drop_at_ms_.exchange(now_ms);
    is_sooner = due_ms == 0 || due_ms > now_ms;
  }
  if (is_sooner) eventfd_write(wake_.get(), 1);
  return added != CachedNodes::Added::kFull;
}

void Follower::Run(const std::stop_token& stop) {
  // A predecessor may have been killed before it woke them.
  WakePollers();
  while (!stop.stop_requested()) {
    int wait_ms = kLookMs;
    try {
      FollowChanges(stop);
      wait_ms = DropPages();
    } catch (const std::exception& error) {
      Log(LogLevel::kError, std::string("follow changes: ") + error.what());
    }
    if (stop.stop_requested()) return;
    std::array<pollfd, 2> fds = {pollfd{service_.change_fd(), POLLIN, 0},
                                 pollfd{wake_.get(), POLLIN, 0}};
    poll(fds.data(), fds.size(), wait_ms);
    eventfd_t ignored = 0;
    for (const pollfd& fd : fds) {
      if (fd.revents != 0) eventfd_read(fd.fd, &ignored);
    }
  }
}

void Follower::FollowChanges(const std::stop_token& stop) {
  while (true) {
    const auto changes = service_.ChangesSince(followed_ - 1, kChangesAtOnce);
    if (!changes) return Log(LogLevel::kError, "follow changes: " + changes.error().message);
    if (changes->empty()) return;
    if (!Announce(stop, *changes)) return;
    followed_ = changes->back().sequence + 1;
  }
}

bool Follower::Announce(const std::stop_token& stop, const std::vector<store::Change>& changes) {
  // The earliest change of each secret, so that what any of them moved counts; kLabelsMoved covers
  // kMetadata, and kKeyState covers both.
  std::map<store::PathId, store::Change> by_path;
  for (const store::Change& change : changes) {
    auto [place, is_new] = by_path.try_emplace(change.path, change);
    const bool covers = change.kind != store::ChangeKind::kMetadata &&
                        place->second.kind != store::ChangeKind::kKeyState;
    if (!is_new && covers) place->second.kind = change.kind;
  }
  std::map<uint64_t, bool> known_directories;
  for (const auto& [path, change] : by_path) {
    const auto files = tree_.FilesChangedBy(change);
    if (!files) {
      Log(LogLevel::kError, "follow a change: " + files.error().message);
      continue;
    }
    for (const ShownFile& file : *files) {
      const bool is_known = notices_.ForgetAttributes(file.node);
      const auto [directory, is_new] = known_directories.try_emplace(file.directory, false);
      if (is_new) directory->second = notices_.ForgetAttributes(file.directory);
      // Nobody can watch what the kernel does not have in memory.
      if (!is_known && !directory->second) continue;
      // A helper that is away comes back; pollers do not wait for it.
      while (helper_.touch(file.path) == FollowerHelper::Answer::kNotNow) {
        if (stop.stop_requested()) return false;
        WakePollers();
      }
    }
  }
  WakePollers();
  return true;
}

void Follower::WakePollers() {
  poll_handles_.TakeAll([this](uint64_t handle) { notices_.WakePoller(handle); });
}

int Follower::DropPages() {
  const int64_t due_ms = drop_at_ms_.load();
  if (due_ms == 0) return kLookMs;
  const int64_t wait_ms = due_ms - NowMs();
  if (wait_ms > 0) return static_cast<int>(std::min<int64_t>(wait_ms, kLookMs));
  drop_at_ms_ = 0;  // First: a page that comes from now on is due later.
  const bool all = cached_nodes_.GiveAll([this](uint64_t node) {
    const FollowerHelper::Answer answer = helper_.drop_pages(node);
    // Without a keeper there is no successor either that this could keep waiting.
    if (answer == FollowerHelper::Answer::kGone) notices_.ForgetContent(node);
    return answer != FollowerHelper::Answer::kNotNow;
  });
  if (all) return kLookMs;
  drop_at_ms_ = NowMs();
  return kRetryMs;
}

}  // namespace secretfs::fs
