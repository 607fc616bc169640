#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "crypto/base/result.h"

namespace secretfs::mount {

// Whom a process that was started by root becomes.
struct ProcessUser {
  uid_t uid = 0;
  gid_t gid = 0;
};

// By name, or "uid:gid" in digits. nullopt: there is no such user.
std::optional<ProcessUser> FindUser(const std::string& name);

// Gives up everything for good: supplementary groups, uid and gid, all capabilities, and the way
// back through set-user-ID programs (no_new_privs). For a process that is not root, the last two
// alone. Errors: kUnavailable.
Status BecomeUser(const std::optional<ProcessUser>& user);
// While it lives, this process has the access rights of `user` and no more: for a look at files
// that are that user's to write, which root should not trust, and may not open without its
// capabilities. For a process that is not root, and without a user, nothing changes. Stops the
// process if root cannot come back.
class ActingAs {
 public:
  explicit ActingAs(const std::optional<ProcessUser>& user);
  ~ActingAs();
  ActingAs(const ActingAs&) = delete;
  ActingAs& operator=(const ActingAs&) = delete;

 private:
  const bool is_needed_;
};

// How the kernel confines the calling process, as the kernel says it.
struct Confinement {
  uid_t uid = 0;
  uint64_t capabilities = 0;  // A bit for each that it has or could take.
  bool no_new_privileges = false;
};
Confinement GetConfinement();

// For root's keeper, which goes on as root: gives up for good every capability but those that it,
// or a daemon before it becomes another user, still needs (the list, with its reasons, is in the
// source file), sets no_new_privs, and makes sure that nobody traces it. Call it when the mount's
// places are prepared, since with root's other powers go those over other users' files. The keeper
// of an ordinary user has no capability to give up, and must be able to run fusermount3, which
// no_new_privs would disarm: it is only made sure that nobody traces it. Errors: kUnavailable.
Status KeepOnlyKeeperCapabilities();

// Asks the kernel to end any other process first when memory runs out: without the keeper, a daemon
// that is ended has no successor. Without the capability to ask for it nothing changes. What
// programs this one starts would inherit it, so each calls BeSparedNoMore() first, which gives it
// the adjustment that this process had before (it travels in the environment). `file` is for tests.
void AskToBeSpared(const char* file = "/proc/self/oom_score_adj");
void BeSparedNoMore(const char* file = "/proc/self/oom_score_adj");

// Whether this process, by its effective ids, can reach `path` (absolute): a directory on the way
// that is closed to it is named, with what to do. Errors: kPermissionDenied.
Status CheckReach(const std::string& path);
// BecomeUser() for the uid and gid 65534 if this process is root.
Status BecomeNobody();

// Makes `user` the owner of a store that is root's: of its directory, the store's own files in it,
// and its audit directory (`audit_directory`, if it is not inside). Leaves alone whatever is not
// root's, or no store's; never follows a symbolic link. Errors: kFailedPrecondition for an audit
// directory that holds other things, kPermissionDenied, kUnavailable.
Status GiveStoreTo(const ProcessUser& user, const std::string& store,
                   const std::string& audit_directory);

}  // namespace secretfs::mount
