#include "store/audit_event.h"

#include <algorithm>
#include <array>

namespace secretfs::store {
namespace {

constexpr uint8_t kAuditEventVersion = 1;

bool IsDoor(uint8_t value) {
  return value >= static_cast<uint8_t>(Door::kMount) &&
         value <= static_cast<uint8_t>(Door::kInternal);
}

void PutText(ByteWriter& out, std::string_view text) {
  if (text.size() <= kAuditTextBytesMax) {
    out.Sized(text);
    return;
  }
  constexpr std::string_view kMark = "...";
  size_t size = kAuditTextBytesMax - kMark.size();
  // A UTF-8 character has at most three bytes after its first, all 10xxxxxx.
  for (int i = 0; i < 3 && (static_cast<uint8_t>(text[size]) & 0xc0) == 0x80; ++i) --size;
  out.Sized(std::string(text.substr(0, size)).append(kMark));
}

}  // namespace

AuditEventView ViewOf(const AuditEvent& event) {
  return {event.at,         event.action,       event.door,       event.principal_arn,
          event.uid,        event.gid,          event.pid,        event.request_id,
          event.secret_id,  event.resource_arn, event.version_id, event.version_stage,
          event.error_code, event.error_message};
}

Bytes EncodeAuditEvent(const AuditEventView& event) {
  const std::array texts = {event.principal_arn, event.request_id,   event.secret_id,
                            event.resource_arn,  event.version_id,   event.version_stage,
                            event.error_code,    event.error_message};
  size_t size = kAuditEventBytesMax - texts.size() * kAuditTextBytesMax;
  for (std::string_view text : texts) size += std::min(text.size(), kAuditTextBytesMax);
  ByteWriter out(size);
  out.U8(kAuditEventVersion).U64(static_cast<uint64_t>(event.at));
  out.U8(static_cast<uint8_t>(event.action)).U8(static_cast<uint8_t>(event.door));
  out.U32(event.uid).U32(event.gid).U32(event.pid);
  for (std::string_view text : texts) PutText(out, text);
  return out.Take();
}

Result<AuditEvent> DecodeAuditEvent(ByteSpan bytes) {
  ByteReader in(bytes);
  AuditEvent event;
  uint8_t version = in.U8();
  event.at = static_cast<TimeMs>(in.U64());
  std::optional<Action> action = ActionFromNumber(in.U8());
  uint8_t door = in.U8();
  event.uid = in.U32();
  event.gid = in.U32();
  event.pid = in.U32();
  event.principal_arn = in.SizedText();
  event.request_id = in.SizedText();
  event.secret_id = in.SizedText();
  event.resource_arn = in.SizedText();
  event.version_id = in.SizedText();
  event.version_stage = in.SizedText();
  event.error_code = in.SizedText();
  event.error_message = in.SizedText();
  if (!in.Complete() || version != kAuditEventVersion || !action || !IsDoor(door)) {
    return Fail(Code::kCorrupt, "an audit event cannot be decoded");
  }
  event.action = *action;
  event.door = static_cast<Door>(door);
  return event;
}

}  // namespace secretfs::store
