#include "mount/systemd.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>

#include "crypto/base/log.h"
#include "fs/attachment.h"

namespace secretfs::mount {
namespace {

constexpr int kFirstGivenFd = 3;  // SD_LISTEN_FDS_START
constexpr int kGivenFdsMax = 256;
constexpr timeval kSendTime{.tv_sec = 1, .tv_usec = 0};

int NumberOf(const std::string& text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

}  // namespace

void ServiceManager::KeepDescriptor(std::string_view name, int fd) const {
  Send("FDSTORE=1\nFDNAME=" + std::string(name), fd);
}

void ServiceManager::ForgetDescriptor(std::string_view name) const {
  Send("FDSTOREREMOVE=1\nFDNAME=" + std::string(name), -1);
}

void ServiceManager::Send(std::string_view state, int fd) const {
  sockaddr_un address{};
  const bool usable = notify_socket_.starts_with('/') || notify_socket_.starts_with('@');
  if (!usable || notify_socket_.size() >= sizeof address.sun_path) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, notify_socket_.data(), notify_socket_.size());
  if (notify_socket_.front() == '@') address.sun_path[0] = '\0';  // The abstract name space.
  std::string text(state);
  iovec part{text.data(), text.size()};
  msghdr message{};
  message.msg_name = &address;
  message.msg_namelen =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + notify_socket_.size());
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  fs::Attachment attachment;
  if (fd >= 0) attachment.AddTo(message, fd);
  const UniqueFd socket_fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  setsockopt(socket_fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kSendTime, sizeof kSendTime);
  const int flags = MSG_NOSIGNAL | (is_deaf_ ? MSG_DONTWAIT : 0);
  if (!socket_fd.valid() || sendmsg(socket_fd.get(), &message, flags) < 0) {
    is_deaf_ = errno == EAGAIN;
    Log(LogLevel::kWarning, "cannot reach the service manager at " + notify_socket_);
  }
}

GivenDescriptors TakeGivenDescriptors(const Environment& environment) {
  GivenDescriptors given;
  if (NumberOf(environment.Get("LISTEN_PID")) != getpid()) return given;
  const int count = std::min(NumberOf(environment.Get("LISTEN_FDS")), kGivenFdsMax);
  std::string names = environment.Get("LISTEN_FDNAMES");
  for (int i = 0; i < count; ++i) {
    const size_t colon = names.find(':');
    const std::string name = names.substr(0, colon);
    names.erase(0, colon == std::string::npos ? colon : colon + 1);
    const int fd = kFirstGivenFd + i;
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) given.insert_or_assign(name, UniqueFd(fd));
  }
  return given;
}

}  // namespace secretfs::mount
