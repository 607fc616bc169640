#include "mount/privileges.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "crypto/base/check.h"
#include "crypto/base/log.h"
#include "crypto/base/unique_fd.h"

namespace secretfs::mount {
namespace {

constexpr ProcessUser kNobody{.uid = 65534, .gid = 65534};

bool ParseId(std::string_view text, uint32_t& id) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

// What a keeper keeps, and a program that it starts gets: with no_new_privs that is at most what
// the keeper itself has.
constexpr std::array kKeeperCapabilities = {
    CAP_SYS_ADMIN,        // Mounts, unmounts, clones the mount (open_tree).
    CAP_KILL,             // Ends a daemon or a toucher that is stuck: they are other users by then.
    CAP_DAC_READ_SEARCH,  // Walks to the mountpoint; the daemon reads key file and store header.
    CAP_SETUID,           // The daemon and the toucher become their users,
    CAP_SETGID,           // and leave root's groups,
    CAP_SETPCAP,          // and empty their bounding sets.
    CAP_IPC_LOCK,         // The daemon locks the root key in memory while it is still root.
};

constexpr uint64_t Bit(int capability) {
  return uint64_t{1} << capability;
}

constexpr uint64_t KeeperSet() {
  uint64_t set = 0;
  for (const int capability : kKeeperCapabilities) set |= Bit(capability);
  return set;
}

using CapabilityData = std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3>;

__user_cap_header_struct CapabilityHeader() {
  return {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
}

uint64_t PermittedCapabilities() {
  __user_cap_header_struct header = CapabilityHeader();
  CapabilityData data{};
  if (syscall(SYS_capget, &header, data.data()) != 0) return ~uint64_t{0};
  return uint64_t{data[1].permitted} << 32 | data[0].permitted;
}

// So that no program gets them back. While CAP_SETPCAP is at hand: without it, no_new_privs does.
void ShrinkBoundingSet(uint64_t kept) {
  for (int capability = 0; capability <= 63; ++capability) {
    if ((kept & Bit(capability)) == 0) prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
}

Status ShrinkCapabilities(uint64_t kept) {
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  kept &= PermittedCapabilities();
  CapabilityData data{};
  for (size_t i = 0; i < data.size(); ++i) {
    data[i].permitted = static_cast<uint32_t>(kept >> (32 * i));
    data[i].effective = data[i].permitted;
  }
  __user_cap_header_struct header = CapabilityHeader();
  if (syscall(SYS_capset, &header, data.data()) != 0) {
    return FailErrno(Code::kUnavailable, "give up capabilities", errno);
  }
  return {};
}

// The way back through set-user-ID programs is closed for good, to this process and its children.
Status ForgoNewPrivileges() {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) return {};
  return FailErrno(Code::kUnavailable, "forgo new privileges", errno);
}

// A change of user or capabilities makes a process dumpable by the system's setting.
Status ForbidTracing() {
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0) return {};
  return FailErrno(Code::kUnavailable, "forbid others to trace this process", errno);
}

constexpr const char* kOomScoreVariable = "SECRETFS_OOM_SCORE_ADJ";
constexpr std::string_view kSpared = "-1000";  // proc(5): never chosen.

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
  if (geteuid() == 0) {
    ShrinkBoundingSet(0);
    if (user && (setgroups(0, nullptr) != 0 || setresgid(user->gid, user->gid, user->gid) != 0)) {
      return FailErrno(Code::kUnavailable, "give up root's groups", errno);
    }
    if (user && setresuid(user->uid, user->uid, user->uid) != 0) {
      return FailErrno(Code::kUnavailable, "become another user", errno);
    }
  }
  TRY(ShrinkCapabilities(0));
  TRY(ForgoNewPrivileges());
  return ForbidTracing();
}

// The group first and last: to change it takes being root. Supplementary groups are left: root's
// open no door to what is `user`'s.
ActingAs::ActingAs(const std::optional<ProcessUser>& user) : is_needed_(user && geteuid() == 0) {
  if (is_needed_) CHECK(setegid(user->gid) == 0 && seteuid(user->uid) == 0);
}

ActingAs::~ActingAs() {
  if (is_needed_) CHECK(seteuid(0) == 0 && setegid(0) == 0);
}

Confinement GetConfinement() {
  return {.uid = geteuid(),
          .capabilities = PermittedCapabilities(),
          .no_new_privileges = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1};
}

Status KeepOnlyKeeperCapabilities() {
  if (geteuid() == 0) {
    ShrinkBoundingSet(KeeperSet());
    TRY(ShrinkCapabilities(KeeperSet()));
    TRY(ForgoNewPrivileges());
  }
  return ForbidTracing();
}

void AskToBeSpared(const char* file) {
  const UniqueFd adjustment(open(file, O_RDWR | O_CLOEXEC));
  std::array<char, 16> text{};
  const ssize_t size = read(adjustment.get(), text.data(), text.size() - 1);
  if (size <= 0) return;
  if (pwrite(adjustment.get(), kSpared.data(), kSpared.size(), 0) < 0) return;
  setenv(kOomScoreVariable, text.data(), 1);
}

void BeSparedNoMore(const char* file) {
  const char* before = getenv(kOomScoreVariable);
  if (before == nullptr) return;
  const UniqueFd adjustment(open(file, O_WRONLY | O_CLOEXEC));
  if (write(adjustment.get(), before, strlen(before)) < 0) {
    Log(LogLevel::kWarning, "this process stays the last to be ended when memory runs out");
  }
  unsetenv(kOomScoreVariable);
}

Status CheckReach(const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string directory = path.substr(0, slash);
    if (faccessat(AT_FDCWD, directory.c_str(), X_OK, AT_EACCESS) == 0 || errno != EACCES) continue;
    return Fail(Code::kPermissionDenied, path + ": the daemon's user, uid " +
                                             std::to_string(geteuid()) + ", may not pass through " +
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
