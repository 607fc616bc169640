#include "fs/fuse_request_source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "crypto/base/bytes.h"
#include "crypto/base/unique_fd.h"

namespace secretfs::fs {
namespace {

class RequestSourceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::array<int, 2> ends;
    // Keeps one request from the next, as /dev/fuse does.
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    device_ = UniqueFd(ends[0]);
    kernel_ = UniqueFd(ends[1]);
  }
  void Send(std::string_view request) {
    ASSERT_EQ(write(kernel_.get(), request.data(), request.size()),
              static_cast<ssize_t>(request.size()));
  }

  UniqueFd device_;
  UniqueFd kernel_;
  std::unique_ptr<RequestSlot> slot_ = std::make_unique<RequestSlot>();
  std::atomic<bool> stop_{false};
};

// A request as the kernel heads it.
std::string Request(uint64_t unique) {
  fuse_in_header header{};
  header.len = sizeof header;
  header.opcode = FUSE_LOOKUP;
  header.unique = unique;
  return {reinterpret_cast<const char*>(&header), sizeof header};
}

TEST_F(RequestSourceTest, WhatIsBeingAnsweredIsLeftForASuccessor) {
  RequestSource source(device_.get(), *slot_, stop_);
  EXPECT_TRUE(LeftRequest(*slot_).empty());
  Send(Request(7));
  ASSERT_TRUE(source.Next());
  EXPECT_EQ(AsText(LeftRequest(*slot_)), Request(7));
  source.Done();
  EXPECT_TRUE(LeftRequest(*slot_).empty());
}

TEST_F(RequestSourceTest, AnAnsweredRequestIsNotLeftWhileTheNextIsAwaited) {
  RequestSource source(device_.get(), *slot_, stop_);
  Send(Request(7));
  ASSERT_TRUE(source.Next());
  source.Done();
  std::jthread waiting([&] { EXPECT_TRUE(source.Next().value().empty()); });
  while (slot_->busy == 0) std::this_thread::yield();
  EXPECT_TRUE(LeftRequest(*slot_).empty());
  kernel_.Reset();
}

TEST_F(RequestSourceTest, ALengthThatCannotBeIsNoRequest) {
  RequestSource source(device_.get(), *slot_, stop_);
  Send(Request(7));
  ASSERT_TRUE(source.Next());
  reinterpret_cast<fuse_in_header*>(slot_->bytes)->len = kRequestBytesMax + 1;
  EXPECT_TRUE(LeftRequest(*slot_).empty());
}

TEST_F(RequestSourceTest, StopEndsTheSource) {
  RequestSource source(device_.get(), *slot_, stop_);
  stop_ = true;
  EXPECT_TRUE(source.Next().value().empty());
}

TEST_F(RequestSourceTest, GivesOneRequestAtATime) {
  RequestSource source(device_.get(), *slot_, stop_);
  Send("first");
  Send("second one");
  EXPECT_EQ(AsText(source.Next().value()), "first");
  source.Done();
  EXPECT_EQ(AsText(source.Next().value()), "second one");
}

TEST_F(RequestSourceTest, TheBufferIsAlignedToAPage) {
  RequestSource source(device_.get(), *slot_, stop_);
  Send("x");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(source.Next().value().data()) % 4096, 0u);
}

TEST_F(RequestSourceTest, TheEndIsAnEmptyRequest) {
  RequestSource source(device_.get(), *slot_, stop_);
  kernel_.Reset();
  EXPECT_TRUE(source.Next().value().empty());
}

TEST_F(RequestSourceTest, ANonBlockingDeviceIsWaitedFor) {
  ASSERT_EQ(fcntl(device_.get(), F_SETFL, O_NONBLOCK), 0);
  RequestSource source(device_.get(), *slot_, stop_);
  const std::jthread kernel([this] { Send("late"); });
  EXPECT_EQ(AsText(source.Next().value()), "late");
}

TEST_F(RequestSourceTest, ABrokenDeviceIsAnError) {
  RequestSource source(-1, *slot_, stop_);
  EXPECT_EQ(source.Next().error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace secretfs::fs
