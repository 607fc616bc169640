#pragma once

#include <string>
#include <string_view>

namespace secretfs::mount {

// Tells systemd (or whoever set $NOTIFY_SOCKET) `state`, lines as in sd_notify(3):
// "READY=1\nSTATUS=...". Does nothing if `notify_socket` is empty. The protocol is one datagram and
// fixed; libsystemd would bring five libraries into the process that holds the secrets.
void NotifyServiceManager(const std::string& notify_socket, std::string_view state);

}  // namespace secretfs::mount
