#include "fs/fuse_mount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "fs/fusermount.h"
#include "fs/mountinfo.h"

namespace secretfs::fs {
namespace {

constexpr const char* kType = "fuse.secretfs";
constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

bool IsRoot() {
  return geteuid() == 0;
}

Result<std::string> RealPath(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(realpath(path.c_str(), nullptr), free);
  if (real == nullptr) return FailErrno(Code::kUnavailable, path, errno);
  return std::string(real.get());
}

// `mountpoint` as mountinfo has it: absolute, no symbolic links. A mount whose daemon is gone
// cannot be walked into, so where the whole path fails, its parent is resolved.
Result<std::string> Canonical(const std::string& mountpoint) {
  if (!mountpoint.starts_with('/')) {
    return Fail(Code::kInvalidArgument, mountpoint + ": not an absolute path; begin it with \"/\"");
  }
  if (auto whole = RealPath(mountpoint)) return whole;
  std::string path = mountpoint;
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  const size_t slash = path.rfind('/');
  const std::string name = path.substr(slash + 1);
  if (name.empty() || name == "." || name == "..") return path;
  auto parent = RealPath(path.substr(0, slash + 1));
  if (!parent) return path;
  return *parent == "/" ? "/" + name : *parent + "/" + name;
}

Result<std::string> ReadMountinfo() {
  const UniqueFd file(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
  std::string text;
  std::array<char, 4096> chunk;
  ssize_t size = -1;
  while (file.valid() && (size = read(file.get(), chunk.data(), chunk.size())) != 0) {
    if (size < 0) break;
    text.append(chunk.data(), static_cast<size_t>(size));
  }
  if (size < 0) return FailErrno(Code::kUnavailable, "read /proc/self/mountinfo", errno);
  return text;
}

// What is on top there; nullopt if nothing is.
Result<std::optional<MountEntry>> MountedOn(const std::string& canonical) {
  TRY_ASSIGN(const std::string mountinfo, ReadMountinfo());
  std::optional<MountEntry> top;
  for (MountEntry& entry : ParseMountinfo(mountinfo)) {
    if (entry.mountpoint == canonical) top = std::move(entry);
  }
  return top;
}

Result<std::optional<std::string>> TypeMountedOn(const std::string& canonical) {
  TRY_ASSIGN(const auto entry, MountedOn(canonical));
  return entry ? std::optional(entry->type) : std::nullopt;
}

Status CheckEmptyDirectory(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), closedir);
  if (directory == nullptr) {
    switch (errno) {
      case ENOENT:
        return Fail(Code::kNotFound, path + ": no such directory; create it first");
      case ENOTDIR:
        return Fail(Code::kInvalidArgument, path + ": not a directory; name an empty one");
      case EACCES:
      case EPERM:
        return FailErrno(Code::kPermissionDenied, path, errno);
      default:
        return FailErrno(Code::kUnavailable, path, errno);
    }
  }
  while (const dirent* entry = readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    return Fail(Code::kInvalidArgument,
                path + ": not an empty directory; a mount would hide what it holds");
  }
  return {};
}

Status CheckMountpoint(const std::string& path) {
  TRY_ASSIGN(const auto type, TypeMountedOn(path));
  if (type) {
    return Fail(Code::kFailedPrecondition,
                path + ": already a mount point (" + *type + "); unmount it first");
  }
  return CheckEmptyDirectory(path);
}

std::unexpected<Error> FailDevice(int error_number) {
  if (error_number == ENOENT || error_number == ENODEV || error_number == ENXIO) {
    return FailErrno(Code::kUnavailable, "/dev/fuse (load the module: modprobe fuse)",
                     error_number);
  }
  const bool denied = error_number == EACCES || error_number == EPERM;
  return FailErrno(denied ? Code::kPermissionDenied : Code::kUnavailable, "/dev/fuse",
                   error_number);
}

// A mount of what is mounted on `path`, in no namespace; -1 if that fails.
int OpenTree(const std::string& path) {
  return static_cast<int>(
      syscall(SYS_open_tree, AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
}

Result<FuseMount> MountAsRoot(const std::string& path) {
  UniqueFd device(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!device.valid()) return FailDevice(errno);
  const std::string data = "fd=" + std::to_string(device.get()) +
                           ",rootmode=40000,user_id=" + std::to_string(geteuid()) +
                           ",group_id=" + std::to_string(getegid()) + ",allow_other";
  if (mount("secretfs", path.c_str(), kType, kFlags, data.c_str()) != 0) {
    const bool denied = errno == EPERM || errno == EACCES;
    return FailErrno(denied ? Code::kPermissionDenied : Code::kUnavailable, path + ": mount",
                     errno);
  }
  UniqueFd private_mount(OpenTree(path));
  // Before the descriptor is served no request can be on its way, so nobody meets a writable mount.
  constexpr unsigned long kReadOnly = MS_REMOUNT | MS_BIND | MS_RDONLY | kFlags;
  if (mount(nullptr, path.c_str(), nullptr, kReadOnly, nullptr) != 0) {
    const auto failure = FailErrno(Code::kUnavailable, path + ": make the mount read-only", errno);
    umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    return failure;
  }
  return FuseMount{std::move(device), std::move(private_mount), {}};
}

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

bool IsDenial(std::string_view message) {
  return Contains(message, "denied") || Contains(message, "not permitted") ||
         Contains(message, "no write access") || Contains(message, "not owned");
}

Result<FuseMount> MountAsUser(const std::string& path, bool allow_other) {
  std::string options = "fsname=secretfs,subtype=secretfs,nosuid,nodev,noexec";
  if (allow_other) options += ",allow_other";
  TRY_ASSIGN(auto result, RunFusermount({"-o", options, "--", path}));
  if (result.succeeded && result.device.valid()) {
    return FuseMount{std::move(result.device), {}, {}};
  }
  if (Contains(result.message, "user_allow_other")) {
    return Fail(Code::kPermissionDenied,
                path +
                    ": user_allow_other is not set in /etc/fuse.conf; set it, or mount for "
                    "yourself alone");
  }
  return Fail(IsDenial(result.message) ? Code::kPermissionDenied : Code::kUnavailable,
              path + ": " + result.message);
}

std::unexpected<Error> FailBusy(const std::string& path) {
  return Fail(Code::kFailedPrecondition,
              path + ": in use; end the programs that have files open there (fuser -vm " + path +
                  "), or unmount lazily");
}

}  // namespace

Result<FuseMount> MountFuse(const MountOptions& options) {
  TRY_ASSIGN(const std::string path, Canonical(options.mountpoint));
  TRY(CheckMountpoint(path));
  TRY_ASSIGN(FuseMount mount,
             IsRoot() ? MountAsRoot(path) : MountAsUser(path, options.allow_other));
  TRY_ASSIGN(const auto entry, MountedOn(path));
  if (entry) mount.device_number = entry->device;
  return mount;
}

UniqueFd MountPrivately(const std::string& mountpoint, const std::string& device_number) {
  const auto path = Canonical(mountpoint);
  if (!IsRoot() || !path) return {};
  const auto entry = MountedOn(*path);
  if (!entry || !*entry || (*entry)->device != device_number) return {};
  UniqueFd clone(OpenTree(*path));
  mount_attr writable{
      .attr_set = 0, .attr_clr = MOUNT_ATTR_RDONLY, .propagation = 0, .userns_fd = 0};
  if (!clone.valid() ||
      syscall(SYS_mount_setattr, clone.get(), "", AT_EMPTY_PATH, &writable, sizeof writable) != 0) {
    return {};
  }
  return clone;
}

bool IsConnected(int device) {
  pollfd state{device, POLLIN, 0};
  return poll(&state, 1, 0) >= 0 && (state.revents & (POLLERR | POLLNVAL)) == 0;
}

Result<bool> HasMountOf(const std::string& device_number) {
  TRY_ASSIGN(const std::string mountinfo, ReadMountinfo());
  return std::ranges::any_of(ParseMountinfo(mountinfo), [&](const MountEntry& entry) {
    return entry.device == device_number;
  });
}

Status UnmountFuse(const std::string& mountpoint, bool lazy, const std::string& device_number) {
  TRY_ASSIGN(const std::string path, Canonical(mountpoint));
  TRY_ASSIGN(const auto entry, MountedOn(path));
  if (!entry || entry->type != kType) {
    return Fail(Code::kNotFound, path + ": no secretfs is mounted there");
  }
  if (!device_number.empty() && entry->device != device_number) {
    return Fail(Code::kNotFound, path + ": another secretfs is mounted there");
  }
  if (IsRoot()) {
    if (umount2(path.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0) return {};
    if (errno == EBUSY) return FailBusy(path);
    const bool denied = errno == EPERM;
    return FailErrno(denied ? Code::kPermissionDenied : Code::kUnavailable, path + ": unmount",
                     errno);
  }
  std::vector<std::string> arguments{"-u", "--", path};
  if (lazy) arguments.insert(arguments.begin(), "-z");
  TRY_ASSIGN(const auto result, RunFusermount(arguments));
  if (result.succeeded) return {};
  if (Contains(result.message, "busy")) return FailBusy(path);
  return Fail(IsDenial(result.message) ? Code::kPermissionDenied : Code::kUnavailable,
              path + ": " + result.message);
}

Result<bool> IsSecretfsMounted(const std::string& mountpoint) {
  TRY_ASSIGN(const std::string path, Canonical(mountpoint));
  TRY_ASSIGN(const auto type, TypeMountedOn(path));
  return type == kType;
}

}  // namespace secretfs::fs
