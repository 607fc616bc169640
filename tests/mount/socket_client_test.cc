#include "mount/socket_client.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <thread>

#include "crypto/base/check.h"
#include "mount/listen_socket.h"
#include "tests/support/temp_directory.h"

namespace secretfs::mount {
namespace {

TEST(SocketClientTest, SaysThatNobodyAnswersAndWhatToDo) {
  const testing::TempDirectory directory;
  const auto answer = PostToSocket(directory / "none", "t", {});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kUnavailable);
  EXPECT_EQ(answer.error().message, "no daemon answers on " + (directory / "none") +
                                        ": No such file or directory; start one with: secretfs "
                                        "mount");
}

// A server that answers one connection with `bytes` and closes, having read what came at once or
// nothing.
class RawServer {
 public:
  RawServer(const std::string& path, std::string bytes, bool reads = true)
      : bytes_(std::move(bytes)) {
    socket_ = *ListenSocket::Open(path);
    thread_ = std::jthread([this, reads] {
      const UniqueFd listener = socket_->TakeDescriptor();
      pollfd waiting{listener.get(), POLLIN, 0};
      poll(&waiting, 1, -1);
      const UniqueFd fd(accept(listener.get(), nullptr, nullptr));
      char request[4096];
      if (reads) CHECK(recv(fd.get(), request, sizeof request, 0) > 0);
      CHECK(send(fd.get(), bytes_.data(), bytes_.size(), MSG_NOSIGNAL) >= 0);
    });
  }

 private:
  const std::string bytes_;
  std::unique_ptr<ListenSocket> socket_;
  std::jthread thread_;
};

TEST(SocketClientTest, RefusesAnswersThatAreNotOurServers) {
  for (const std::string bytes :
       {"", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 x\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"}) {
    const testing::TempDirectory directory;
    const RawServer server(directory / "s", bytes);
    EXPECT_FALSE(PostToSocket(directory / "s", "t", crypto::SecretBuffer::CopyOf(AsBytes("{}"))))
        << bytes;
  }
}

TEST(SocketClientTest, ReadsAnAnswerWhateverTheCaseOfItsHeaders) {
  const testing::TempDirectory directory;
  const RawServer server(directory / "s",
                         "HTTP/1.1 400 Bad\r\nDate: x\r\ncontent-LENGTH:  3\r\n\r\nabc");
  const auto answer =
      PostToSocket(directory / "s", "t", crypto::SecretBuffer::CopyOf(AsBytes("{}")));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 400);
  EXPECT_EQ(AsText(answer->body.Reveal()), "abc");
}

TEST(SocketClientTest, ReadsTheAnswerOfServerThatDoesNotWaitForTheWholeRequest) {
  const testing::TempDirectory directory;
  const RawServer server(directory / "s", "HTTP/1.1 413 Large\r\nContent-Length: 3\r\n\r\nabc",
                         /*reads=*/false);
  const auto answer = PostToSocket(directory / "s", "t", crypto::SecretBuffer(1 << 20));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 413);
}

}  // namespace
}  // namespace secretfs::mount
