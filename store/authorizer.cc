#include "store/authorizer.h"

namespace secretfs::store {

Decision OwnerAuthorizer::Decide(const AccessRequest& request) const {
  uint32_t uid = request.principal.uid;
  // An unmapped uid is nobody, whatever uid owns the store.
  if (uid == UINT32_MAX) return {false, "the caller's uid is unknown to this system"};
  if (uid == owner_uid_) return {true, "the store's owner may do everything"};
  if (uid == 0) return {true, "root may do everything"};
  return {false, "only the store's owner and root have access"};
}

}  // namespace secretfs::store
