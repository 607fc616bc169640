#include <cstddef>
#include <cstdint>

#include "crypto/base/check.h"
#include "store/json_object.h"
#include "store/secret_name.h"

// Any bytes: every member lies inside the text, and its content can be had and is never longer than
// its text.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace secretfs;
  ByteSpan text(data, size);
  auto members = store::ScanJsonObject(text);
  if (!members) return 0;
  for (const store::JsonMember& member : *members) {
    CHECK(member.begin < member.end && member.end <= size);
    crypto::SecretBuffer content = store::JsonMemberContent(text, member);
    CHECK(content.size() <= member.end - member.begin);
    CHECK(store::IsValidUtf8(AsText(content.Reveal())));
    // What was read can be written again as a string and reads back the same.
    crypto::SecretBuffer again;
    again.Append(AsBytes("{\"k\":"));
    store::AppendJsonString(content.Reveal(), again);
    again.Append(AsBytes("}"));
    auto reread = store::ScanJsonObject(again.Reveal());
    CHECK(reread && reread->size() == 1);
    CHECK(store::JsonMemberContent(again.Reveal(), reread->front()).Equals(content));
  }
  return 0;
}
