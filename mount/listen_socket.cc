#include "mount/listen_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace secretfs::mount {
namespace {

constexpr int kBacklog = 128;
constexpr mode_t kSocketMode = 0666;

Result<sockaddr_un> AddressOf(const std::string& path) {
  if (path.size() > kSocketPathBytesMax) {
    return Fail(Code::kInvalidArgument,
                "socket " + path + ": the path has " + std::to_string(path.size()) +
                    " bytes and a Unix socket's may have " + std::to_string(kSocketPathBytesMax) +
                    "; name a shorter one with --socket");
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

std::unexpected<Error> FailOn(const std::string& path, int error_number) {
  Code code = Code::kUnavailable;
  if (error_number == ENOENT || error_number == ENOTDIR) code = Code::kNotFound;
  if (error_number == EACCES || error_number == EPERM || error_number == EROFS) {
    code = Code::kPermissionDenied;
  }
  return FailErrno(code, "socket " + path, error_number);
}

// Checks that `path` is free to take: absent, or a socket without a listener.
Status CheckFree(const std::string& path) {
  struct stat found{};
  if (lstat(path.c_str(), &found) != 0) {
    if (errno == ENOENT) return {};
    return FailOn(path, errno);
  }
  if (!S_ISSOCK(found.st_mode)) {
    return Fail(Code::kAlreadyExists, "socket " + path +
                                          ": something that is no socket has this name; name "
                                          "another path with --socket");
  }
  int error_number = 0;
  if (ConnectSocket(path, &error_number, WhenFull::kFail) || error_number == EAGAIN) {
    return Fail(Code::kFailedPrecondition,
                "socket " + path +
                    ": another daemon answers there; end it with secretfs umount, or name "
                    "another path with --socket");
  }
  return error_number == ECONNREFUSED ? Status() : FailOn(path, error_number);
}

// A name in the same directory that is as long as `path`, so that it fits where `path` does.
std::string TemporaryName(std::string path) {
  path.back() = path.back() == '~' ? '#' : '~';
  return path;
}

}  // namespace

Result<std::unique_ptr<ListenSocket>> ListenSocket::Open(const std::string& path) {
  TRY(AddressOf(path));
  TRY(CheckFree(path));
  const std::string temporary = TemporaryName(path);
  TRY(CheckFree(temporary));
  unlink(temporary.c_str());
  TRY_ASSIGN(const sockaddr_un address, AddressOf(temporary));

  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return FailOn(path, errno);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return FailOn(path, errno);
  }
  std::unique_ptr<ListenSocket> opened(new ListenSocket(path, std::move(fd)));
  struct stat made{};
  if (chmod(temporary.c_str(), kSocketMode) != 0 || listen(opened->fd_.get(), kBacklog) != 0 ||
      lstat(temporary.c_str(), &made) != 0 || std::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error_number = errno;
    unlink(temporary.c_str());
    return FailOn(path, error_number);
  }
  opened->device_ = made.st_dev;
  opened->inode_ = made.st_ino;
  return opened;
}

Result<std::unique_ptr<ListenSocket>> ListenSocket::Adopt(const std::string& path, UniqueFd fd) {
  if (listen(fd.get(), kBacklog) != 0) return FailOn(path, errno);
  int error_number = 0;
  auto connection = ConnectSocket(path, &error_number, WhenFull::kFail);
  // Nobody takes those who wait there as long as there is no daemon: some have to go.
  for (int i = 0; i < kBacklog && !connection && error_number == EAGAIN; ++i) {
    const UniqueFd dropped(accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
    connection = ConnectSocket(path, &error_number, WhenFull::kFail);
  }
  if (!connection) return std::unexpected(connection.error());
  struct stat found{};
  if (ListenerOf(connection->get()) != getpid() || lstat(path.c_str(), &found) != 0) {
    return Fail(Code::kNotFound, "socket " + path + ": it is no longer the one that was opened");
  }
  std::unique_ptr<ListenSocket> adopted(new ListenSocket(path, std::move(fd)));
  adopted->device_ = found.st_dev;
  adopted->inode_ = found.st_ino;
  return adopted;
}

bool ListenSocket::IsShutDown() const {
  pollfd state{fd_.get(), POLLIN, 0};
  return poll(&state, 1, 0) >= 0 && (state.revents & (POLLHUP | POLLRDHUP)) != 0;
}

ListenSocket::~ListenSocket() {
  struct stat found{};
  if (lstat(path_.c_str(), &found) == 0 && found.st_dev == device_ && found.st_ino == inode_) {
    unlink(path_.c_str());
  }
}

pid_t ListenerOf(int connection) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  const int failed = getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &credentials, &size);
  return failed != 0 ? 0 : credentials.pid;
}

Result<UniqueFd> ConnectSocket(const std::string& path, int* error_number, WhenFull when_full) {
  TRY_ASSIGN(const sockaddr_un address, AddressOf(path));
  const int mode = when_full == WhenFull::kFail ? SOCK_NONBLOCK : 0;
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | mode, 0));
  if (fd.valid() &&
      connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return fd;
  }
  const int failed = errno;
  if (error_number != nullptr) *error_number = failed;
  return FailErrno(Code::kUnavailable, path, failed);
}

}  // namespace secretfs::mount
