#pragma once

#include <cstdint>

#include "crypto/kdf.h"

namespace secretfs::store {

// A place in the chain: the number of the last event and the hash that covers everything up to it.
struct AuditHead {
  uint64_t sequence = 0;
  crypto::Digest hash{};
  bool operator==(const AuditHead&) const = default;
};

// A place in the chain and the highest outbox number up to there.
struct AuditPosition {
  AuditHead head;
  uint64_t outbox = 0;
};

}  // namespace secretfs::store
