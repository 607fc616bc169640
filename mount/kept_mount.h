#pragma once

#include <memory>
#include <optional>
#include <string>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"
#include "fs/fuse_mount.h"
#include "mount/listen_socket.h"
#include "mount/systemd.h"

namespace secretfs::mount {

// What a mount consists of, whichever processes serve it: all that a keeper holds, and all that
// another needs to go on. Members that are not there yet are empty.
struct KeptMount {
  fs::FuseMount mount;
  UniqueFd shared_state;  // fs/shared_state.h
  UniqueFd deposit;       // crypto/root_key_deposit.h
  std::unique_ptr<ListenSocket> socket;
  // Both ends of the toucher's socket (toucher.h), which holds what it was asked and did not do.
  UniqueFd to_toucher;
  UniqueFd from_daemon;
};

// Where a mount belongs.
struct MountPlace {
  std::string store;
  std::string mountpoint;
  std::string socket;
};

// Leaves `kept` with the service manager, so that the next keeper takes the mount over when this
// one is killed. REQUIRES: it is complete, but for the deposit. Errors: kUnavailable.
Status LeaveWithManager(const ServiceManager& manager, const KeptMount& kept,
                        const MountPlace& place);
// Undoes it: the next keeper mounts anew.
void TakeBackFromManager(const ServiceManager& manager);

// What a keeper before left, out of `given`: without a device if there is no mount, or if it is
// unmounted by now; without a socket if its path leads elsewhere by now. A mount that belongs to
// another place or was not left whole is detached: nobody will serve it. Errors: kUnavailable.
Result<KeptMount> TakeKeptMount(GivenDescriptors given, const MountPlace& place);

}  // namespace secretfs::mount
