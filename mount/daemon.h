#pragma once

#include <optional>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"
#include "crypto/root_key.h"
#include "mount/config.h"
#include "mount/privileges.h"

namespace secretfs::mount {

struct DaemonOptions {
  Config config;  // Store, mountpoint and socket are set.
  // Where the root key is now, if not where the store's header says.
  std::optional<crypto::RootKeySource> root_key;
  crypto::RootKeyEnvironment root_key_environment;
  std::optional<ProcessUser> user;  // Whom to become, if this is root.
  bool ends_with_keeper = false;    // Another keeper will come, which starts a daemon of its own.
  bool resend = true;               // False: as on a kernel without FUSE_NOTIFY_RESEND, for tests.
};

// What the keeper holds for the daemon; see DaemonFd (keeper.h).
struct DaemonDescriptors {
  UniqueFd link;
  UniqueFd shared_state;
  UniqueFd listener;
  UniqueFd toucher;
};

// The life of one daemon under its keeper, in this order: root key, (word of the keeper) store,
// (word of the keeper, with the mount) socket, file system session; then it serves until somebody
// unmounts or the keeper asks it to make room for a successor, and takes everything down in
// reverse. Without its keeper it goes on serving, until somebody unmounts, or ends as well, with
// its requests left to the next (`ends_with_keeper`).
//
// Threads: this one waits; "secretfs-upkeep" puts the audit trail on the disk, destroys secrets
// whose time has come and bounds the log; libmicrohttpd's and the session's serve. All are joined
// before this returns. Blocks all signals for good: they are the keeper's to hear.
//
// Errors: what each step says; the keeper is told too. kSealed for a root key that is wrong or not
// there.
Status RunDaemon(const DaemonOptions& options, DaemonDescriptors descriptors);

}  // namespace secretfs::mount
