#include "mount/privileges.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <string_view>
#include <vector>

#include "crypto/base/unique_fd.h"

namespace secretfs::mount {
namespace {

constexpr ProcessUser kNobody{.uid = 65534, .gid = 65534};
// Secret memory is locked memory; without CAP_IPC_LOCK the limit counts.
constexpr rlim_t kLockedBytesMax = rlim_t{256} << 20;

bool ParseId(std::string_view text, uint32_t& id) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

void RaiseLockedMemoryLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return;
  if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < kLockedBytesMax) {
    const rlimit raised{kLockedBytesMax, kLockedBytesMax};
    if (setrlimit(RLIMIT_MEMLOCK, &raised) == 0) return;
  }
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_MEMLOCK, &limit);
}

// While it is still root's to do: so that no program gets them back.
void DropBoundingSet() {
  for (unsigned long capability = 0; capability <= 63; ++capability) {
    prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
}

Status DropCapabilities() {
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  const std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none{};
  if (syscall(SYS_capset, &header, none.data()) != 0) {
    return FailErrno(Code::kUnavailable, "give up capabilities", errno);
  }
  return {};
}

// What a store's directory may hold, and an audit directory.
bool IsOfStore(std::string_view name) {
  return name == "data.mdb" || name == "lock.mdb" || name == "audit" || name == "daemon.log" ||
         name == "daemon.log.1";
}
bool IsOfAudit(std::string_view name) {
  return name.ends_with(".segment");
}

using NameTest = bool (*)(std::string_view name);

struct Entries {
  std::vector<std::string> ours;
  std::string other;  // One that is not; empty: there is none.
};

Result<Entries> EntriesOf(int directory, const std::string& path, NameTest is_ours) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(
      fdopendir(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), closedir);
  if (stream == nullptr) return FailErrno(Code::kUnavailable, path, errno);
  Entries entries;
  while (const dirent* entry = readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (is_ours(name)) {
      entries.ours.emplace_back(name);
    } else {
      entries.other = name;
    }
  }
  return entries;
}

// The directory itself last: if this is interrupted, it is done again.
Status GiveDirectoryTo(const ProcessUser& user, const std::string& path, NameTest is_ours) {
  const UniqueFd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.valid()) return {};  // Who opens the store says what is wrong with it.
  struct stat info{};
  if (fstat(directory.get(), &info) != 0) return FailErrno(Code::kUnavailable, path, errno);
  if (info.st_uid != 0) return {};
  TRY_ASSIGN(const Entries entries, EntriesOf(directory.get(), path, is_ours));
  if (is_ours == IsOfAudit && !entries.other.empty()) {
    return Fail(Code::kFailedPrecondition,
                path + ": not given to the daemon's user, since it holds " + entries.other +
                    ", which is no part of an audit trail; name a directory of its own");
  }
  for (const std::string& name : entries.ours) {
    if (name == "audit") TRY(GiveDirectoryTo(user, path + "/audit", IsOfAudit));
    if (fchownat(directory.get(), name.c_str(), user.uid, user.gid, AT_SYMLINK_NOFOLLOW) != 0) {
      return FailErrno(Code::kPermissionDenied, path + "/" + name + ": give it away", errno);
    }
  }
  if (fchown(directory.get(), user.uid, user.gid) != 0) {
    return FailErrno(Code::kPermissionDenied, path + ": give it away", errno);
  }
  return {};
}

}  // namespace

std::optional<ProcessUser> FindUser(const std::string& name) {
  const size_t colon = name.find(':');
  ProcessUser user;
  if (colon != std::string::npos && ParseId(std::string_view(name).substr(0, colon), user.uid) &&
      ParseId(std::string_view(name).substr(colon + 1), user.gid)) {
    return user;
  }
  std::array<char, 4096> text{};
  passwd entry{};
  passwd* found = nullptr;
  if (getpwnam_r(name.c_str(), &entry, text.data(), text.size(), &found) != 0 || found == nullptr) {
    return std::nullopt;
  }
  return ProcessUser{.uid = entry.pw_uid, .gid = entry.pw_gid};
}

Status BecomeUser(const std::optional<ProcessUser>& user) {
  RaiseLockedMemoryLimit();
  if (geteuid() == 0) {
    DropBoundingSet();
    if (user && (setgroups(0, nullptr) != 0 || setresgid(user->gid, user->gid, user->gid) != 0)) {
      return FailErrno(Code::kUnavailable, "give up root's groups", errno);
    }
    if (user && setresuid(user->uid, user->uid, user->uid) != 0) {
      return FailErrno(Code::kUnavailable, "become another user", errno);
    }
    TRY(DropCapabilities());
  }
  // A change of user makes a process dumpable by the system's setting.
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
    return FailErrno(Code::kUnavailable, "give up privileges", errno);
  }
  return {};
}

Status CheckReach(const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string directory = path.substr(0, slash);
    if (access(directory.c_str(), X_OK) == 0 || errno != EACCES) continue;
    return Fail(Code::kPermissionDenied, path + ": the daemon's user, uid " +
                                             std::to_string(getuid()) + ", may not pass through " +
                                             directory + "; run: chmod o+x " + directory +
                                             ", or set `user` in [mount] of the config");
  }
  return {};
}

Status BecomeNobody() {
  return BecomeUser(kNobody);
}

Status GiveStoreTo(const ProcessUser& user, const std::string& store,
                   const std::string& audit_directory) {
  struct stat data{};
  if (lstat((store + "/data.mdb").c_str(), &data) != 0 || !S_ISREG(data.st_mode)) return {};
  TRY(GiveDirectoryTo(user, store, IsOfStore));
  if (audit_directory.empty()) return {};
  return GiveDirectoryTo(user, audit_directory, IsOfAudit);
}

}  // namespace secretfs::mount
