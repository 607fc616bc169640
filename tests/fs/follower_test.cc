#include "fs/follower.h"

#include <sys/socket.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <set>

#include "crypto/base/mutex.h"
#include "tests/fs/tree_fixture.h"

namespace secretfs::fs {
namespace {

using Answer = FollowerHelper::Answer;
using Asked = std::multiset<std::string>;  // A path, or a node's number.

class FollowerTest : public TreeTest {
 protected:
  // In place of /dev/fuse, to which the follower tells what changed.
  FollowerTest() {
    std::array<int, 2> pair{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()), 0);
    device_ = UniqueFd(pair[0]);
    kernel_ = UniqueFd(pair[1]);
  }

  std::unique_ptr<Follower> Start() {
    return std::make_unique<Follower>(
        service_, tree_, KernelNotices(device_.get()), *state_,
        FollowerHelper{.touch = [this](const std::string& path) { return Ask(path); },
                       .drop_pages = [this](uint64_t node) { return Ask(std::to_string(node)); }});
  }

  // From now on the helper answers so, and what it was asked is counted anew.
  void Answering(Answer answer) {
    MutexLock lock(mutex_);
    answer_ = answer;
    asked_.clear();
  }
  // Waits until the helper was asked for so many things.
  Asked WaitForAsked(size_t count) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    MutexLock lock(mutex_);
    while (asked_.size() < count) {
      if (was_asked_.wait_until(mutex_, deadline) == std::cv_status::timeout) break;
    }
    return asked_;
  }

  const std::unique_ptr<SharedState> state_ = std::make_unique<SharedState>();
  UniqueFd device_;
  UniqueFd kernel_;

 private:
  Answer Ask(const std::string& what) {
    MutexLock lock(mutex_);
    asked_.insert(what);
    was_asked_.notify_all();
    return answer_;
  }

  Mutex mutex_;
  std::condition_variable_any was_asked_;
  Answer answer_ GUARDED_BY(mutex_) = Answer::kTaken;
  Asked asked_ GUARDED_BY(mutex_);
};

TEST_F(FollowerTest, PagesAreDroppedAgainAndAgain) {
  const auto follower = Start();
  EXPECT_TRUE(follower->DropPagesOf(5));
  EXPECT_EQ(WaitForAsked(1), Asked{"5"});
  EXPECT_TRUE(follower->DropPagesOf(5));
  EXPECT_EQ(WaitForAsked(2), (Asked{"5", "5"}));
  EXPECT_TRUE(follower->DropPagesOf(6));
  EXPECT_EQ(WaitForAsked(3), (Asked{"5", "5", "6"}));
}

TEST_F(FollowerTest, WhatAPredecessorLeftIsDropped) {
  state_->cached_nodes.Add(5);
  const auto follower = Start();
  EXPECT_EQ(WaitForAsked(1), Asked{"5"});
}

TEST_F(FollowerTest, AHelperThatIsBusyIsAskedAgainAndKeepsNobodyFromEnding) {
  Answering(Answer::kNotNow);
  auto follower = Start();
  follower->DropPagesOf(5);
  EXPECT_GE(WaitForAsked(3).count("5"), 3u);
  follower->End();
  Answering(Answer::kTaken);
  follower = Start();
  EXPECT_EQ(WaitForAsked(1), Asked{"5"});
}

TEST_F(FollowerTest, WithoutAHelperTheKernelIsToldFromHere) {
  Answering(Answer::kGone);
  const auto follower = Start();
  follower->DropPagesOf(5);
  EXPECT_EQ(WaitForAsked(1), Asked{"5"});
  // fuse_out_header, then fuse_notify_inval_inode_out: node, offset, length.
  std::array<uint64_t, 5> message{};
  ASSERT_EQ(recv(kernel_.get(), message.data(), sizeof message, 0), 40);
  EXPECT_EQ(message[2], 5u);
  EXPECT_EQ(message[3], 0u) << "a negative offset would leave the pages";
}

TEST_F(FollowerTest, PagesThatCannotBeRememberedAreRefusedUntilThereIsRoom) {
  Answering(Answer::kNotNow);
  const auto follower = Start();
  uint64_t node = 1;
  while (follower->DropPagesOf(node)) ++node;
  EXPECT_GT(node, 8192u);
  Answering(Answer::kTaken);
  EXPECT_EQ(WaitForAsked(node - 1).size(), node - 1) << "each that was not refused";
  EXPECT_TRUE(follower->DropPagesOf(node));
}

TEST_F(FollowerTest, ATouchWaitsForAHelperThatIsAwayAndIsNotLost) {
  const auto begin = Start();  // A change is followed from the first daemon on.
  begin->End();
  Answering(Answer::kNotNow);
  service_.AddChange("prod/db", store::ChangeKind::kMetadata);
  auto follower = Start();
  EXPECT_GE(WaitForAsked(20).count("prod/db/_meta"), 20u);
  follower->End();
  Answering(Answer::kTaken);
  follower = Start();
  EXPECT_EQ(WaitForAsked(1), Asked{"prod/db/_meta"});
  follower->End();
  Answering(Answer::kTaken);
  follower = Start();
  follower->DropPagesOf(5);
  EXPECT_EQ(WaitForAsked(1), Asked{"5"}) << "announced once";
}

}  // namespace
}  // namespace secretfs::fs
