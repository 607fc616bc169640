#include "mount/keeper_link.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace secretfs::mount {
namespace {

constexpr size_t kTextBytesMax = 4096;

// Room for one descriptor beside a message (cmsg(3)).
union Attachment {
  cmsghdr aligned;
  std::array<char, CMSG_SPACE(sizeof(int))> bytes;
};

}  // namespace

Result<KeeperLink::Ends> KeeperLink::Connect() {
  std::array<int, 2> fds{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds.data()) != 0) {
    return FailErrno(Code::kUnavailable, "connect keeper and daemon", errno);
  }
  return Ends{KeeperLink(UniqueFd(fds[0])), KeeperLink(UniqueFd(fds[1]))};
}

Status KeeperLink::Send(KeeperWord word, std::string_view text, int descriptor) {
  std::string bytes(1, static_cast<char>(word));
  bytes.append(text.substr(0, kTextBytesMax));
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  Attachment attachment{};
  if (descriptor >= 0) {
    message.msg_control = attachment.bytes.data();
    message.msg_controllen = attachment.bytes.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  }
  while (sendmsg(fd_.get(), &message, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return FailErrno(Code::kUnavailable, "tell the other process", errno);
  }
  return {};
}

Result<std::optional<KeeperMessage>> KeeperLink::Receive() {
  std::array<char, kTextBytesMax + 1> bytes;
  iovec part{bytes.data(), bytes.size()};
  Attachment attachment{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = attachment.bytes.data();
  message.msg_controllen = attachment.bytes.size();
  ssize_t size = -1;
  while ((size = recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC)) < 0) {
    if (errno == ECONNRESET) size = 0;
    if (size == 0) break;
    if (errno != EINTR) return FailErrno(Code::kUnavailable, "listen to the other process", errno);
  }
  if (size == 0) return std::optional<KeeperMessage>();
  KeeperMessage received;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
    received.descriptor = UniqueFd(descriptor);
  }
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
  return Error{static_cast<Code>(code), std::string(text.substr(digits + 1))};
}

}  // namespace secretfs::mount
