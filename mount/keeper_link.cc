#include "mount/keeper_link.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "fs/attachment.h"

namespace secretfs::mount {
namespace {

constexpr size_t kTextBytesMax = 4096;

}  // namespace

bool MayFollow(KeeperWord last, KeeperWord next) {
  switch (next) {
    case KeeperWord::kLoaded:
      return last == KeeperWord::kStarted;
    case KeeperWord::kOpened:
      return last == KeeperWord::kLoaded;
    case KeeperWord::kReady:
      return last == KeeperWord::kOpened;
    case KeeperWord::kFailed:
      return last != KeeperWord::kFailed;
    case KeeperWord::kStarted:
    case KeeperWord::kOpen:
    case KeeperWord::kServe:
    case KeeperWord::kStop:
      return false;
  }
  return false;  // A byte that is no word.
}

Result<KeeperLink::Ends> KeeperLink::Connect() {
  std::array<int, 2> fds{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds.data()) != 0) {
    return FailErrno(Code::kUnavailable, "connect keeper and daemon", errno);
  }
  Ends ends{KeeperLink(UniqueFd(fds[0]), /*takes_descriptors=*/false),
            KeeperLink(UniqueFd(fds[1]), /*takes_descriptors=*/true)};
  if (fcntl(ends.keeper.fd(), F_SETFL, O_NONBLOCK) != 0) {
    return FailErrno(Code::kUnavailable, "connect keeper and daemon", errno);
  }
  return ends;
}

Status KeeperLink::Send(KeeperWord word, std::string_view text, int descriptor) {
  std::string bytes(1, static_cast<char>(word));
  bytes.append(text.substr(0, kTextBytesMax));
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  fs::Attachment attachment;
  if (descriptor >= 0) attachment.AddTo(message, descriptor);
  while (sendmsg(fd_.get(), &message, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return FailErrno(Code::kUnavailable, "tell the other process", errno);
  }
  return {};
}

Result<std::optional<KeeperMessage>> KeeperLink::Receive() {
  std::array<char, kTextBytesMax + 1> bytes;
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  fs::Attachment attachment;
  if (takes_descriptors_) attachment.MakeRoom(message);
  ssize_t size = -1;
  while ((size = recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC)) < 0) {
    if (errno == ECONNRESET) size = 0;
    if (size == 0) break;
    if (errno != EINTR) return FailErrno(Code::kUnavailable, "listen to the other process", errno);
  }
  UniqueFd descriptor = fs::Attachment::TakeFrom(message);
  if (size == 0) return std::optional<KeeperMessage>();
  KeeperMessage received;
  received.descriptor = std::move(descriptor);
  received.word = static_cast<KeeperWord>(bytes[0]);
  received.text.assign(bytes.data() + 1, static_cast<size_t>(size) - 1);
  return std::optional(std::move(received));
}

Result<KeeperMessage> KeeperLink::Await(KeeperWord word) {
  TRY_ASSIGN(auto message, Receive());
  if (!message) return Fail(Code::kUnavailable, "the keeper is gone");
  if (message->word != word) {
    return Fail(Code::kUnavailable, "the keeper wants something else: it is of another build");
  }
  return *std::move(message);
}

std::string EncodeError(const Error& error) {
  return std::to_string(static_cast<int>(error.code)) + " " + error.message;
}

Error DecodeError(std::string_view text) {
  int code = 0;
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), code);
  const bool known = bad == std::errc() && code >= 0 && code <= static_cast<int>(Code::kInternal);
  if (!known || end == text.data() + text.size()) {
    return Error{Code::kInternal, "the daemon reports nonsense"};
  }
  const auto digits = static_cast<size_t>(end - text.data());
  std::string message(text.substr(digits + 1));
  std::ranges::replace_if(
      message, [](unsigned char byte) { return byte < ' ' || byte == 0x7f; }, '?');
  return Error{static_cast<Code>(code), std::move(message)};
}

}  // namespace secretfs::mount
