#include "fs/follower.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <exception>
#include <map>
#include <set>

#include "crypto/base/check.h"
#include "crypto/base/log.h"

namespace secretfs::fs {
namespace {

// For commits of another process, which wake nobody here.
constexpr int kLookMs = 1000;
constexpr size_t kChangesAtOnce = 1024;
// How long a page that was mapped may stay in the page cache: long enough for a program that reads
// all of it to need it once.
constexpr std::chrono::milliseconds kPagesKept{500};
constexpr int kTouchTries = 10;
constexpr size_t kCachedNodesMax = 65536;

}  // namespace

Follower::Follower(store::SecretService& service, const Tree& tree, KernelNotices notices,
                   PollHandles& poll_handles, std::atomic<uint64_t>& followed, Options options)
    : service_(service),
      tree_(tree),
      notices_(notices),
      poll_handles_(poll_handles),
      followed_(followed),
      options_(std::move(options)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
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
  MutexLock lock(mutex_);
  for (const uint64_t node : cached_nodes_) notices_.ForgetContent(node);
  cached_nodes_.clear();
}

void Follower::DropPagesOf(uint64_t node) {
  MutexLock lock(mutex_);
  if (cached_nodes_.size() >= kCachedNodesMax) return;
  const bool is_first = cached_nodes_.empty();
  if (is_first) drop_at_ = std::chrono::steady_clock::now() + kPagesKept;
  if (std::ranges::find(cached_nodes_, node) == cached_nodes_.end()) cached_nodes_.push_back(node);
  if (is_first) eventfd_write(wake_.get(), 1);
}

void Follower::Run(const std::stop_token& stop) {
  // A predecessor may have been killed before it woke them.
  poll_handles_.TakeAll([this](uint64_t handle) { notices_.WakePoller(handle); });
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
      // Who does not take it for so long is not going to; pollers and the page cache matter more.
      for (int i = 0; i < kTouchTries && !options_.touch(file.path); ++i) {
        if (stop.stop_requested()) return false;
      }
    }
  }
  poll_handles_.TakeAll([this](uint64_t handle) { notices_.WakePoller(handle); });
  return true;
}

int Follower::DropPages() {
  std::vector<uint64_t> nodes;
  {
    MutexLock lock(mutex_);
    if (cached_nodes_.empty()) return kLookMs;
    const auto wait =
        std::chrono::ceil<std::chrono::milliseconds>(drop_at_ - std::chrono::steady_clock::now());
    if (wait.count() > 0) return static_cast<int>(wait.count());
    nodes.swap(cached_nodes_);
  }
  for (const uint64_t node : nodes) notices_.ForgetContent(node);
  return kLookMs;
}

}  // namespace secretfs::fs
