#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"

namespace secretfs::mount {

// sun_path of unix(7), without its closing NUL.
inline constexpr size_t kSocketPathBytesMax = 107;

// A listening Unix socket at a path. The socket is bound and listening under another name before it
// is renamed to `path`, so whoever finds the path can connect; mode 0666, since the peer's
// credentials and the access rules decide, not the file's mode.
class ListenSocket {
 public:
  // Replaces a socket that nobody listens on (connect() says ECONNREFUSED) and nothing else.
  // Errors: kInvalidArgument (path too long), kFailedPrecondition (a daemon answers there),
  // kAlreadyExists (something that is no socket), kNotFound, kPermissionDenied, kUnavailable.
  static Result<std::unique_ptr<ListenSocket>> Open(const std::string& path);
  // Takes over a socket that another process opened at `path`: connections that wait stay. Who
  // connects is told, from now on, that this process listens (SO_PEERCRED). Errors: kNotFound if it
  // is not the socket that `path` leads to.
  static Result<std::unique_ptr<ListenSocket>> Adopt(const std::string& path, UniqueFd fd);
  // Removes the path if it still is this socket.
  ~ListenSocket();
  ListenSocket(const ListenSocket&) = delete;
  ListenSocket& operator=(const ListenSocket&) = delete;

  // Whether somebody who has the descriptor shut it down (shutdown(2)), for all and for good.
  bool IsShutDown() const;
  // The listening descriptor.
  int fd() const { return fd_.get(); }
  // The same, once, for who keeps it instead.
  UniqueFd TakeDescriptor() { return std::move(fd_); }

 private:
  ListenSocket(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  const std::string path_;
  UniqueFd fd_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// The process that listens at the other end of a connection, by the kernel; 0 if that is in another
// pid namespace.
pid_t ListenerOf(int connection);

// What to do where a listener has as many connections waiting as it takes.
enum class WhenFull : uint8_t { kWait, kFail };

// A connected stream socket; in non-blocking mode for kFail (EAGAIN then). Errors: kInvalidArgument
// (path too long), kUnavailable with strerror's text. `error_number`, if not null, receives the
// errno of a failed connect().
Result<UniqueFd> ConnectSocket(const std::string& path, int* error_number = nullptr,
                               WhenFull when_full = WhenFull::kWait);

}  // namespace secretfs::mount
