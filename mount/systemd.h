#pragma once

#include <map>
#include <string>
#include <string_view>

#include "crypto/base/unique_fd.h"
#include "mount/settings.h"

namespace secretfs::mount {

// Whoever started this process as a service and set $NOTIFY_SOCKET: systemd, and what speaks like
// it (sd_notify(3)). The protocol is one datagram and fixed; libsystemd would bring five libraries
// beside the secrets. Without a socket nothing is said.
class ServiceManager {
 public:
  explicit ServiceManager(std::string notify_socket) : notify_socket_(std::move(notify_socket)) {}

  bool exists() const { return !notify_socket_.empty(); }
  // Lines, "READY=1\nSTATUS=...".
  void Notify(std::string_view state) const { Send(state, -1); }
  // Leaves a duplicate of `fd` with the manager, who gives it to the next process of the service
  // (its unit's FileDescriptorStoreMax= says how many it takes). `name` has no ":" and no control
  // characters.
  void KeepDescriptor(std::string_view name, int fd) const;
  void ForgetDescriptor(std::string_view name) const;

 private:
  // A manager that does not hear within a second is not waited for again.
  void Send(std::string_view state, int fd) const;

  std::string notify_socket_;
  mutable bool is_deaf_ = false;
};

// The descriptors that the manager gives to this process (sd_listen_fds(3): $LISTEN_PID,
// $LISTEN_FDS, $LISTEN_FDNAMES), by name; no program that is started gets them. Call once; empty
// if there are none.
using GivenDescriptors = std::map<std::string, UniqueFd, std::less<>>;
GivenDescriptors TakeGivenDescriptors(const Environment& environment);

}  // namespace secretfs::mount
