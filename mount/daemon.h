#pragma once

#include <functional>
#include <optional>

#include "crypto/base/result.h"
#include "crypto/root_key.h"
#include "mount/config.h"

namespace secretfs::mount {

struct DaemonOptions {
  Config config;  // Store, mountpoint and socket are set.
  // Where the root key is now, if not where the store's header says.
  std::optional<crypto::RootKeySource> root_key;
  crypto::RootKeyEnvironment root_key_environment;
};

struct DaemonEvents {
  // The mount and the socket answer. False: whoever waited for that has gone, so end again.
  std::function<bool()> ready;
  std::function<void()> stopping;
};

// The life of one daemon, in this order: header, root key, store, socket, mount, file system
// session, ready; then it serves until SIGTERM or SIGINT comes or somebody unmounts, and takes
// everything down in reverse. After a signal with files still open on the mount it detaches the
// mount and gives their readers five seconds; then it ends the process, which ends their
// connection.
//
// Threads: this one waits; "secretfs-upkeep" puts the audit trail on the disk, destroys secrets
// whose time has come and bounds the log; libmicrohttpd's and the session's serve. All are joined
// before this returns. Blocks the signals it waits for, for good.
//
// Errors: what each step says. kSealed for a root key that is wrong or not there.
Status RunDaemon(const DaemonOptions& options, const DaemonEvents& events);

}  // namespace secretfs::mount
