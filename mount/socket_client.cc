#include "mount/socket_client.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <optional>
#include <string_view>

#include "crypto/base/bytes.h"
#include "mount/http_message.h"
#include "mount/listen_socket.h"

namespace secretfs::mount {
namespace {

// A verified audit trail of millions of events takes a while to read.
constexpr timeval kTimeout = {.tv_sec = 120, .tv_usec = 0};
constexpr size_t kAnswerBytesMax = 64 << 20;

Status SendAll(int fd, ByteSpan bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return FailErrno(Code::kUnavailable, "send to the daemon", errno);
    bytes = bytes.subspan(static_cast<size_t>(sent));
  }
  return {};
}

// Receives at most `out.size()` bytes; 0 at the end of the stream.
Result<size_t> Receive(int fd, std::span<uint8_t> out) {
  for (;;) {
    const ssize_t got = recv(fd, out.data(), out.size(), 0);
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR) return FailErrno(Code::kUnavailable, "receive from the daemon", errno);
  }
}

// The headers of an answer, up to and including the empty line; the body may follow in `rest`.
struct Head {
  int status = 0;
  std::optional<size_t> content_length;
};

bool StartsWithName(std::string_view line, std::string_view name) {
  return line.size() > name.size() && line[name.size()] == ':' &&
         std::ranges::equal(line.substr(0, name.size()), name,
                            [](unsigned char a, char b) { return std::tolower(a) == b; });
}

template <typename Number>
bool ParseNumber(std::string_view text, Number& number) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end != text.data();
}

std::optional<Head> ParseHead(std::string_view text) {
  static constexpr std::string_view kVersion = "HTTP/1.1 ";
  Head head;
  if (!text.starts_with(kVersion) || !ParseNumber(text.substr(kVersion.size()), head.status)) {
    return std::nullopt;
  }
  while (!text.empty()) {
    const size_t end = std::min(text.find("\r\n"), text.size());
    const std::string_view line = text.substr(0, end);
    static constexpr std::string_view kLength = "content-length";
    if (StartsWithName(line, kLength)) {
      size_t length = 0;
      if (!ParseNumber(line.substr(kLength.size() + 1), length)) return std::nullopt;
      head.content_length = length;
    }
    text.remove_prefix(std::min(end + 2, text.size()));
  }
  return head;
}

Result<SocketAnswer> ReadAnswer(int fd) {
  const auto malformed = [] {
    return Fail(Code::kInternal,
                "the daemon's answer is not HTTP; is the socket another program's?");
  };
  // Headers and the start of the body arrive together, so this buffer holds secrets too.
  crypto::SecretBuffer start(kHttpHeaderBytesMax);
  size_t size = 0;
  size_t head_end = std::string_view::npos;
  while (head_end == std::string_view::npos) {
    if (size == start.size()) return malformed();
    TRY_ASSIGN(const size_t got, Receive(fd, start.Writable().subspan(size)));
    if (got == 0) return Fail(Code::kUnavailable, "the daemon closed the connection; try again");
    size += got;
    head_end = AsText(start.Reveal().first(size)).find("\r\n\r\n");
  }
  const std::optional<Head> head = ParseHead(AsText(start.Reveal().first(head_end)));
  if (!head || !head->content_length || *head->content_length > kAnswerBytesMax) return malformed();

  SocketAnswer answer{head->status, crypto::SecretBuffer(*head->content_length)};
  const ByteSpan first = start.Reveal().subspan(head_end + 4, size - head_end - 4);
  if (first.size() > answer.body.size()) return malformed();
  std::ranges::copy(first, answer.body.Writable().begin());
  size_t filled = first.size();
  while (filled < answer.body.size()) {
    TRY_ASSIGN(const size_t got, Receive(fd, answer.body.Writable().subspan(filled)));
    if (got == 0) return Fail(Code::kUnavailable, "the daemon closed the connection; try again");
    filled += got;
  }
  return answer;
}

}  // namespace

Result<SocketAnswer> PostToSocket(const std::string& path, const std::string& target,
                                  const crypto::SecretBuffer& body) {
  auto connected = ConnectSocket(path);
  if (!connected && connected.error().code != Code::kUnavailable) {
    return std::unexpected(std::move(connected).error());
  }
  if (!connected) {
    return Fail(Code::kUnavailable, "no daemon answers on " + connected.error().message +
                                        "; start one with: secretfs mount");
  }
  const int fd = connected->get();
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kTimeout, sizeof kTimeout);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &kTimeout, sizeof kTimeout);
  const std::string head =
      "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + std::string(kAwsJsonType) +
      "\r\nX-Amz-Target: " + target + "\r\nContent-Length: " + std::to_string(body.size()) +
      "\r\nConnection: close\r\n\r\n";
  Status sent = SendAll(fd, AsBytes(head));
  if (sent) sent = SendAll(fd, body.Reveal());
  // A server may answer and close before it has read everything: its reason is worth more than
  // ours.
  auto answer = ReadAnswer(fd);
  if (!answer && !sent) return std::unexpected(std::move(sent).error());
  return answer;
}

}  // namespace secretfs::mount
