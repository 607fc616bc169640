#pragma once

#include <string>

#include "crypto/base/bytes.h"
#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "store/principal.h"

namespace secretfs::store {

// One attempt on a secret, allowed or not. Never holds a value.
struct AuditEvent {
  TimeMs at = 0;
  Action action = Action::kGetSecretValue;
  Door door = Door::kInternal;
  std::string principal_arn;
  uint32_t uid = UINT32_MAX;
  uint32_t gid = UINT32_MAX;
  uint32_t pid = 0;
  std::string request_id;     // UUID of the API call; empty for file operations.
  std::string secret_id;      // As asked for: a name, an ARN, a prefix.
  std::string resource_arn;   // Empty if nothing was found.
  std::string version_id;     // Of the version revealed or written.
  std::string version_stage;  // As asked for.
  std::string error_code;     // Empty: succeeded. Else an AWS error name.
  std::string error_message;
};

Bytes EncodeAuditEvent(const AuditEvent& event);
Result<AuditEvent> DecodeAuditEvent(ByteSpan bytes);

}  // namespace secretfs::store
