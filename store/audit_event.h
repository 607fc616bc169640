#pragma once

#include <string>
#include <string_view>

#include "crypto/base/bytes.h"
#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "store/principal.h"

namespace secretfs::store {

// A text in a stored event has at most this many bytes. Some are as long as a caller likes, and an
// event must fit a segment.
inline constexpr size_t kAuditTextBytesMax = 1024;
// Of an encoded event: the fixed fields, and eight texts with their lengths.
inline constexpr size_t kAuditEventBytesMax = 64 + 8 * (4 + kAuditTextBytesMax);

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

// The same by reference, for whoever writes an event; what it refers to must outlive it. Reads
// build it without copying a text.
struct AuditEventView {
  TimeMs at = 0;
  Action action = Action::kGetSecretValue;
  Door door = Door::kInternal;
  std::string_view principal_arn;
  uint32_t uid = UINT32_MAX;
  uint32_t gid = UINT32_MAX;
  uint32_t pid = 0;
  std::string_view request_id;
  std::string_view secret_id;
  std::string_view resource_arn;
  std::string_view version_id;
  std::string_view version_stage;
  std::string_view error_code;
  std::string_view error_message;
};
AuditEventView ViewOf(const AuditEvent& event);

// A text over kAuditTextBytesMax is cut at a character's end and marked with "...".
Bytes EncodeAuditEvent(const AuditEventView& event);
Result<AuditEvent> DecodeAuditEvent(ByteSpan bytes);

}  // namespace secretfs::store
