#pragma once

#include <optional>
#include <string>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/secret_buffer.h"

namespace secretfs::store {

inline constexpr int kJsonDepthMax = 64;

// One top-level member of a JSON object; the offsets are into the scanned text.
struct JsonMember {
  std::string key;   // Unescaped UTF-8.
  size_t begin = 0;  // First byte of the value's text (for a string, its opening quote).
  size_t end = 0;    // One past its last byte.
};

// Reads `text` as an RFC 8259 object without copying a value out of it, since values are secrets
// and a JSON library would leave copies. Strict: whole text, valid UTF-8, no lone surrogate
// escapes, at most kJsonDepthMax deep; else nullopt. Members in order of appearance; of duplicate
// keys the last one counts.
std::optional<std::vector<JsonMember>> ScanJsonObject(ByteSpan text);

// The content of a member's file: a string's bytes unescaped; a number, boolean or null as its
// text; an object or array as its text without the white space between tokens. REQUIRES: `member`
// came from ScanJsonObject(text).
crypto::SecretBuffer JsonMemberContent(ByteSpan text, const JsonMember& member);

// Appends `bytes` to `out` as a JSON string with its quotes. REQUIRES: valid UTF-8.
void AppendJsonString(ByteSpan bytes, crypto::SecretBuffer& out);

}  // namespace secretfs::store
