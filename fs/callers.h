#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "crypto/base/clock.h"
#include "crypto/base/mutex.h"
#include "store/principal.h"
#include "store/secret_name.h"

namespace secretfs::fs {

// Turns kernel facts about a caller into a Principal: the store's owner is the account root,
// everybody else `user/<login name>` by the password file, or `user/uid-<n>` for a uid that it does
// not have (name services are not asked: they may block, and may live on the host's network). A
// login name that could be taken for another caller's (`uid-7`, `unknown`) or is no IAM user name
// counts as none. Results are kept for a minute. Thread-safe.
class Callers {
 public:
  struct Options {
    store::Realm realm;
    uint32_t owner_uid = 0;
    std::string password_file = "/etc/passwd";
  };

  // `clock` must outlive the object.
  Callers(Options options, const Clock& clock);
  Callers(store::Realm realm, uint32_t owner_uid, const Clock& clock);

  // `uid` UINT32_MAX (unmapped or idmapped away) gives the anonymous principal `user/unknown`,
  // which matches no rule.
  std::shared_ptr<const store::Principal> PrincipalOf(uint32_t uid, uint32_t gid);
  // Of the account root.
  std::shared_ptr<const store::Principal> OwnerPrincipal() {
    return PrincipalOf(options_.owner_uid, 0);
  }

 private:
  struct Entry {
    std::shared_ptr<const store::Principal> principal;
    TimeMs looked_up_at;
  };

  std::shared_ptr<const store::Principal> Make(uint32_t uid, uint32_t gid) const;

  const Options options_;
  const Clock& clock_;
  Mutex mutex_;
  // By uid << 32 | gid.
  std::unordered_map<uint64_t, Entry> entries_ GUARDED_BY(mutex_);
};

}  // namespace secretfs::fs
