#pragma once

#include <string>

#include "crypto/base/mutex.h"
#include "crypto/base/result.h"
#include "crypto/random.h"
#include "crypto/root_key.h"
#include "crypto/secret_buffer.h"
#include "store/secret_service.h"

namespace secretfs::mount {

struct NewRootKey {
  crypto::RootKeySource source;
  crypto::SecretBuffer secret;  // What the source leads to.
};

// Changes the root key of an open store, so that a daemon that is killed at any moment has a
// successor that opens it: the new secret is left in the deposit beside the old one before the
// store goes over, and alone afterwards. Without a deposit a successor finds the source in the
// store's header. Thread-safe.
class RootKeyChanger {
 public:
  struct Reader {
    // Where secrets are left for a successor (crypto/root_key_deposit.h); -1: nowhere.
    int deposit = -1;
    // A successor reads key files as the user that this process is now, so it is tried before.
    bool is_this_user = false;
  };
  // Both must outlive this.
  RootKeyChanger(store::SecretService& service, Reader reader, crypto::RandomSource& random);

  // Returns the source that the store had until now. Errors: KmsService::RewrapAll();
  // kPermissionDenied and kNotFound for a key file that a successor could not read;
  // kInvalidArgument for one with another content, and for a secret of a wrong length;
  // kFailedPrecondition for a deposit without room. After kUnavailable the store may have either
  // root key.
  Result<crypto::RootKeySource> Change(const store::Caller& caller, NewRootKey next,
                                       const std::string& request_id) EXCLUDES(mutex_);

 private:
  store::SecretService& service_;
  const Reader reader_;
  crypto::RandomSource& random_;
  Mutex mutex_;  // One change at a time: a deposit has two places.
  crypto::RootKeySource current_ GUARDED_BY(mutex_);
};

}  // namespace secretfs::mount
