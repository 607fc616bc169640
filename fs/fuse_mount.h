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

struct FuseMount {
  UniqueFd device;  // /dev/fuse, mounted.
  // A second mount of the same file system that is in no namespace and not read-only, for
  // operations of our own; invalid for other users than root, who get one writable mount.
  UniqueFd private_mount;
  std::string device_number;  // As MountEntry has it.
};

// Opens /dev/fuse and mounts it on `mountpoint` as "fuse.secretfs": nosuid, nodev, noexec. As root
// by mount(2), always with allow_other, and read-only for this mount alone; otherwise through
// fusermount3, which passes the descriptor back over a socket (libfuse, doc/kernel.txt and
// util/fusermount.c describe the protocol) and knows only whole file systems that are read-only, so
// there it is the daemon alone that refuses writes. Requests wait until the descriptor is served.
// Errors: kNotFound, kInvalidArgument (not a directory, not empty), kFailedPrecondition (already a
// mount point), kPermissionDenied, kUnavailable (no /dev/fuse, no fusermount3), each with the next
// step.
Result<FuseMount> MountFuse(const MountOptions& options);

// A private mount (see FuseMount) of what is mounted on `mountpoint` and was not mounted by this
// process. Asks the file system nothing, so it need not be served. Invalid if it is another than
// `device_number`, for other users than root, and on Linux before 5.12: without it, nobody is told
// of changes.
UniqueFd MountPrivately(const std::string& mountpoint, const std::string& device_number);

// Detaches `mountpoint`; with `lazy`, at once from the tree and for good when its last user is
// gone. A mount whose daemon died is detached like any other. `device_number`, if not empty, says
// which file system it must be. Errors: kNotFound if no (such) secretfs is mounted there,
// kFailedPrecondition if it is busy (with `lazy` false), kPermissionDenied, kUnavailable.
Status UnmountFuse(const std::string& mountpoint, bool lazy, const std::string& device_number = {});

// Whether the file system behind `device`, /dev/fuse that was mounted, is still there: not when its
// last mount is gone.
bool IsConnected(int device);

// Whether this namespace has a mount of the file system, wherever it is. Errors: kUnavailable.
Result<bool> HasMountOf(const std::string& device_number);

// Whether a secretfs is mounted on `mountpoint`, by /proc/self/mountinfo.
// Errors: kInvalidArgument for a path that is not absolute, kUnavailable.
Result<bool> IsSecretfsMounted(const std::string& mountpoint);

}  // namespace secretfs::fs
