#pragma once

#include <string_view>

#include "store/principal.h"

namespace secretfs::store {

// One question to the access rules. `resource` is an ARN, or for a secret that does not exist the
// name that was asked for, or empty for an action without a resource.
struct AccessRequest {
  const Principal& principal;
  Action action;
  std::string_view resource;
};

struct Decision {
  bool allowed;
  std::string_view reason;  // Which rule decided; static text.
};

// Decides. Pure, fast (it runs on every file operation) and thread-safe.
class Authorizer {
 public:
  virtual ~Authorizer() = default;
  virtual Decision Decide(const AccessRequest& request) const = 0;
};

// The rule of a store without policies: its owner and root may do everything, everyone else
// nothing.
class OwnerAuthorizer final : public Authorizer {
 public:
  explicit OwnerAuthorizer(uint32_t owner_uid) : owner_uid_(owner_uid) {}
  Decision Decide(const AccessRequest& request) const override;

 private:
  uint32_t owner_uid_;
};

}  // namespace secretfs::store
