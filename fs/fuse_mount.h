#pragma once

#include <string>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"

namespace secretfs::fs {

struct MountOptions {
  std::string mountpoint;  // Absolute; an existing, empty directory.
  bool allow_other =
      false;  // Let other uids reach the daemon, which then decides (root's mounts: always wanted).
};

// Opens /dev/fuse and mounts it on `mountpoint` as "fuse.secretfs": nosuid, nodev, noexec, and
// read-only for users. As root by mount(2); otherwise through fusermount3, which passes the
// descriptor back over a socket (libfuse, doc/kernel.txt and util/fusermount.c describe the
// protocol). Errors: kNotFound, kInvalidArgument (not a directory, not empty), kFailedPrecondition
// (already a mount point), kPermissionDenied, kUnavailable (no /dev/fuse, no fusermount3), each
// with the next step.
Result<UniqueFd> MountFuse(const MountOptions& options);

// Detaches `mountpoint`. Errors: kNotFound if no secretfs is mounted there, kFailedPrecondition if
// it is busy (with `lazy` false), kPermissionDenied.
Status UnmountFuse(const std::string& mountpoint, bool lazy);

// Whether a secretfs is mounted on `mountpoint`, by /proc/self/mountinfo.
Result<bool> IsSecretfsMounted(const std::string& mountpoint);

}  // namespace secretfs::fs
