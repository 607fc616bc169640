#include "fs/request_source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
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
};

TEST_F(RequestSourceTest, GivesOneRequestAtATime) {
  RequestSource source(device_.get(), 100);
  Send("first");
  Send("second one");
  EXPECT_EQ(AsText(source.Next().value()), "first");
  source.Done();
  EXPECT_EQ(AsText(source.Next().value()), "second one");
}

TEST_F(RequestSourceTest, TheBufferIsAlignedToAPage) {
  RequestSource source(device_.get(), 100);
  Send("x");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(source.Next().value().data()) % 4096, 0u);
}

TEST_F(RequestSourceTest, TheEndIsAnEmptyRequest) {
  RequestSource source(device_.get(), 100);
  kernel_.Reset();
  EXPECT_TRUE(source.Next().value().empty());
}

TEST_F(RequestSourceTest, ANonBlockingDeviceIsWaitedFor) {
  ASSERT_EQ(fcntl(device_.get(), F_SETFL, O_NONBLOCK), 0);
  RequestSource source(device_.get(), 100);
  const std::jthread kernel([this] { Send("late"); });
  EXPECT_EQ(AsText(source.Next().value()), "late");
}

TEST_F(RequestSourceTest, ABrokenDeviceIsAnError) {
  RequestSource source(-1, 100);
  EXPECT_EQ(source.Next().error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace secretfs::fs
