#include "mount/service_notify.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

#include "crypto/base/log.h"
#include "crypto/base/unique_fd.h"

namespace secretfs::mount {

void NotifyServiceManager(const std::string& notify_socket, std::string_view state) {
  sockaddr_un address{};
  const bool usable = notify_socket.starts_with('/') || notify_socket.starts_with('@');
  if (!usable || notify_socket.size() >= sizeof address.sun_path) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, notify_socket.data(), notify_socket.size());
  if (notify_socket.front() == '@') address.sun_path[0] = '\0';  // The abstract name space.
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + notify_socket.size());
  const UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const bool sent = fd.valid() && sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL,
                                         reinterpret_cast<const sockaddr*>(&address), size) >= 0;
  if (!sent) Log(LogLevel::kWarning, "cannot reach the service manager at " + notify_socket);
}

}  // namespace secretfs::mount
