#include "mount/http_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "crypto/base/check.h"
#include "mount/listen_socket.h"
#include "mount/socket_client.h"
#include "tests/support/temp_directory.h"

namespace secretfs::mount {
namespace {

class HttpServerTest : public ::testing::Test {
 protected:
  void Start(HttpHandler handler) {
    auto opened = ListenSocket::Open(path_);
    ASSERT_TRUE(opened) << opened.error().message;
    socket_ = *std::move(opened);
    auto started = HttpServer::Start(socket_->TakeDescriptor(), std::move(handler), random_);
    ASSERT_TRUE(started) << started.error().message;
    server_ = *std::move(started);
  }
  void StartEcho() {
    Start([](HttpRequest request) {
      return HttpAnswer{.status = 200, .error_type = "", .body = std::move(request.body)};
    });
  }

  // Sends bytes as they are and returns all that comes back until the server closes.
  std::string Raw(std::string_view bytes) {
    auto fd = ConnectSocket(path_);
    CHECK(fd);
    CHECK(send(fd->get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) >= 0);
    std::string all;
    char buffer[4096];
    ssize_t got = 0;
    while ((got = recv(fd->get(), buffer, sizeof buffer, 0)) > 0) all.append(buffer, got);
    return all;
  }
  static std::string StatusLine(const std::string& answer) {
    return answer.substr(0, answer.find("\r\n"));
  }
  static std::string Head(const std::string& line, const std::string& more) {
    return line + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + more + "\r\n";
  }

  testing::TempDirectory directory_;
  const std::string path_ = directory_ / "socket";
  crypto::SystemRandom random_;
  std::unique_ptr<ListenSocket> socket_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, EveryByteGoesThereAndBack) {
  StartEcho();
  for (const size_t size :
       {size_t{0}, size_t{1}, size_t{256}, size_t{100'000}, kHttpBodyBytesMax}) {
    crypto::SecretBuffer body(size);
    for (size_t i = 0; i < size; ++i) body.Writable()[i] = static_cast<uint8_t>(i * 31);
    const auto answer = PostToSocket(path_, "target", body);
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->status, 200);
    EXPECT_TRUE(answer->body.Equals(body)) << size;
  }
}

TEST_F(HttpServerTest, HandlerLearnsThePeerTheTargetAndTheRequestId) {
  HttpRequest seen;
  Start([&](HttpRequest request) {
    seen = std::move(request);
    return HttpAnswer{.status = 400, .error_type = "SomeException", .body = "{}"};
  });
  const std::string answer = Raw(Head("POST /",
                                      "X-AMZ-TARGET: secretsmanager.X\r\n"
                                      "content-type: Application/X-Amz-Json-1.1; charset=utf-8\r\n"
                                      "Content-Length: 2\r\n") +
                                 "hi");
  EXPECT_EQ(seen.peer.uid, geteuid());
  EXPECT_EQ(seen.peer.gid, getegid());
  EXPECT_EQ(seen.peer.pid, static_cast<uint32_t>(getpid()));
  EXPECT_EQ(seen.target, "secretsmanager.X");
  EXPECT_EQ(seen.content_type, kAwsJsonType);
  EXPECT_EQ(seen.id.size(), 36u);
  EXPECT_EQ(StatusLine(answer), "HTTP/1.1 400 Bad Request");
  EXPECT_NE(answer.find("x-amzn-RequestId: " + seen.id + "\r\n"), std::string::npos) << answer;
  EXPECT_NE(answer.find("x-amzn-errortype: SomeException\r\n"), std::string::npos);
  EXPECT_NE(answer.find("Content-Type: application/x-amz-json-1.1\r\n"), std::string::npos);
}

TEST_F(HttpServerTest, OnlyPostToTheRootIsTaken) {
  std::atomic<int> handled = 0;
  Start([&](HttpRequest) {
    ++handled;
    return HttpAnswer{.status = 200, .error_type = "", .body = "{}"};
  });
  const std::string get = Raw(Head("GET /", ""));
  EXPECT_EQ(StatusLine(get), "HTTP/1.1 405 Method Not Allowed");
  EXPECT_NE(get.find("Allow: POST\r\n"), std::string::npos);
  EXPECT_NE(get.find("x-amzn-RequestId: "), std::string::npos);
  EXPECT_EQ(StatusLine(Raw(Head("PUT /", "Content-Length: 2\r\n") + "hi")),
            "HTTP/1.1 405 Method Not Allowed");
  EXPECT_EQ(StatusLine(Raw(Head("POST /base", "Content-Length: 2\r\n") + "hi")),
            "HTTP/1.1 404 Not Found");
  EXPECT_EQ(StatusLine(Raw(Head("POST /", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n")),
            "HTTP/1.1 411 Length Required");
  EXPECT_EQ(handled, 0);
}

TEST_F(HttpServerTest, TooLargeBodyIsRefusedUnread) {
  StartEcho();
  const std::string answer = Raw(Head("POST /", "Content-Length: 524289\r\n"));
  EXPECT_TRUE(StatusLine(answer).starts_with("HTTP/1.1 413 ")) << answer;
  EXPECT_NE(answer.find("SerializationException"), std::string::npos);
}

TEST_F(HttpServerTest, TooLargeHeaderIsRefused) {
  StartEcho();
  const std::string answer =
      Raw(Head("POST /", "X-Long: " + std::string(2 * kHttpHeaderBytesMax, 'x') + "\r\n"));
  EXPECT_TRUE(StatusLine(answer).starts_with("HTTP/1.1 431 ")) << answer;
}

TEST_F(HttpServerTest, GarbageIsRefused) {
  StartEcho();
  const std::string answer = Raw("garbage\r\n\r\n");
  EXPECT_TRUE(answer.empty() || StatusLine(answer).find(" 400 ") != std::string::npos) << answer;
}

TEST_F(HttpServerTest, ConnectionIsKeptForMoreRequests) {
  StartEcho();
  const std::string request = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";
  const std::string answers =
      Raw(request + request + Head("POST /", "Content-Length: 2\r\n") + "ho");
  size_t count = 0;
  for (size_t at = 0; (at = answers.find("HTTP/1.1 200 OK", at)) != std::string::npos; ++at) {
    ++count;
  }
  EXPECT_EQ(count, 3u) << answers;
}

TEST_F(HttpServerTest, ExceptionBecomesInternalError) {
  Start([](HttpRequest) -> HttpAnswer { throw std::runtime_error("a detail"); });
  const auto answer = PostToSocket(path_, "target", crypto::SecretBuffer::CopyOf(AsBytes("{}")));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 500);
  const std::string body(AsText(answer->body.Reveal()));
  EXPECT_NE(body.find("InternalServiceError"), std::string::npos);
  EXPECT_EQ(body.find("a detail"), std::string::npos);
}

TEST_F(HttpServerTest, RequestsAreAnsweredSideBySide) {
  std::atomic<int> arrived = 0;
  Start([&](HttpRequest) {
    ++arrived;
    arrived.notify_all();
    arrived.wait(1);  // Hangs if one thread answers everything.
    return HttpAnswer{.status = 200, .error_type = "", .body = "{}"};
  });
  // Which thread of the server takes a connection is the kernel's choice, so offer plenty.
  std::vector<std::jthread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([this] {
      EXPECT_TRUE(PostToSocket(path_, "t", crypto::SecretBuffer::CopyOf(AsBytes("{}"))));
    });
  }
}

TEST_F(HttpServerTest, OneUserCannotHoldEveryConnection) {
  StartEcho();
  std::vector<UniqueFd> held;
  for (int i = 0; i < 17; ++i) {
    auto fd = ConnectSocket(path_);
    ASSERT_TRUE(fd);
    held.push_back(*std::move(fd));
  }
  // One of them is cut; which one depends on the server's threads. A cut one reads as ended.
  int cut = 0;
  while (cut == 0) {
    for (const UniqueFd& fd : held) {
      char byte = 0;
      if (recv(fd.get(), &byte, 1, MSG_DONTWAIT) == 0) ++cut;
    }
  }
  EXPECT_EQ(cut, 1);
  held.clear();
  // With those gone the same user is served again, as soon as the server has noticed.
  const auto body = crypto::SecretBuffer::CopyOf(AsBytes("{}"));
  while (!PostToSocket(path_, "t", body)) std::this_thread::yield();
}

}  // namespace
}  // namespace secretfs::mount
