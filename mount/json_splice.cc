#include "mount/json_splice.h"

#include <algorithm>

#include "store/json_object.h"

namespace secretfs::mount {

Result<crypto::SecretBuffer> SetJsonMember(ByteSpan text, std::string_view key, ByteSpan value) {
  const auto members = store::ScanJsonObject(text);
  if (!members) return Fail(Code::kInvalidArgument, "the value is not a JSON object");

  const auto found = std::ranges::find(*members, key, &store::JsonMember::key);
  crypto::SecretBuffer out;
  if (found != members->end()) {
    out.Append(text.first(found->begin));
    store::AppendJsonString(value, out);
    out.Append(text.subspan(found->end));
    return out;
  }
  // Behind the last member, or behind the opening brace. With a duplicate key the members are not
  // in the order of their offsets.
  const auto brace = static_cast<size_t>(std::ranges::find(text, uint8_t{'{'}) - text.begin());
  size_t end = brace + 1;
  for (const store::JsonMember& member : *members) end = std::max(end, member.end);
  out.Append(text.first(end));
  if (!members->empty()) out.Append(AsBytes(","));
  store::AppendJsonString(AsBytes(key), out);
  out.Append(AsBytes(":"));
  store::AppendJsonString(value, out);
  out.Append(text.subspan(end));
  return out;
}

}  // namespace secretfs::mount
