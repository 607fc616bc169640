#pragma once

#include <sys/types.h>

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
// Whether this process can reach `path` (absolute): a directory on the way that is closed to it is
// named, with what to do. Errors: kPermissionDenied.
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
