#include <cstddef>
#include <cstdint>

#include "crypto/base/bytes.h"
#include "crypto/base/check.h"
#include "store/secret_name.h"

// Any text: what parses as a name has parts that round-trip through file names; what unescapes
// escapes back.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace secretfs;
  std::string_view text = AsText(ByteSpan(data, size));
  if (auto name = store::SecretName::Parse(text)) {
    for (std::string_view component : name->Components()) {
      std::string file_name = store::EscapeNameComponent(component);
      CHECK(!file_name.empty() && file_name.size() <= store::kPathComponentBytesMax);
      CHECK(file_name.front() != '_' && file_name != "." && file_name != "..");
      CHECK(store::UnescapeNameComponent(file_name) == component);
    }
  }
  if (auto component = store::UnescapeNameComponent(text)) {
    CHECK(store::EscapeNameComponent(*component) == text);
  }
  if (auto free_text = store::UnescapeFreeText(text)) {
    CHECK(store::EscapeFreeText(*free_text) == text);
  }
  CHECK(store::UnescapeFreeText(store::EscapeFreeText(text)) == text);
  (void)store::ParseSecretId(text, {});
  return 0;
}
