#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/secret_buffer.h"
#include "store/error_name.h"
#include "store/secret.h"

namespace secretfs::mount {

// Members in the order in which they were added, as AWS prints them.
using Json = nlohmann::ordered_json;

// A request or an answer with its secrets apart: the JSON library never sees a member whose content
// is a secret (kSecretMembers in aws_json.cc), since it would leave copies in ordinary memory.
struct AwsMessage {
  Json members = Json::object();
  // By member name; texts unescaped, blobs decoded.
  std::map<std::string, crypto::SecretBuffer, std::less<>> secrets;

  // Moves a secret out; nullopt if there was none.
  std::optional<crypto::SecretBuffer> Take(std::string_view name);
};

// Errors: kValidation for what is no JSON object, for a secret that is no string, for bad base64.
Result<AwsMessage> ParseAwsMessage(ByteSpan body,
                                   store::AwsService service = store::AwsService::kSecretsManager);

// The inverse: `members` with the secrets behind them. REQUIRES: `name` is that of a secret member;
// what is a text is valid UTF-8.
struct SecretMember {
  std::string_view name;
  ByteSpan bytes;
};
crypto::SecretBuffer ComposeAwsMessage(const Json& members,
                                       std::initializer_list<SecretMember> secrets);
// The same for a secret's value.
crypto::SecretBuffer ComposeAwsMessage(const Json& members, store::ValueKind kind, ByteSpan value);

// Compact, and never throwing: bytes that are no UTF-8 come out as U+FFFD.
std::string ToText(const Json& json);
// AWS JSON's timestamp: seconds since the epoch, with milliseconds.
double SecondsOf(TimeMs at);
TimeMs TimeOf(const Json& seconds);
// For blobs that are no secret.
std::string Base64Text(ByteSpan bytes);

// How long AWS's model lets a text be, in characters, and a list, in items (aws-semantics 3).
struct LengthLimits {
  size_t characters_max = 2048;
  size_t items_max = 100;
};
// Where the service itself looks at the length.
inline constexpr LengthLimits kAnyLength{.characters_max = SIZE_MAX, .items_max = SIZE_MAX};

// How a service writes a list of tags, and what it calls a tag that is there twice.
struct TagShape {
  const char* key = "Key";
  const char* value = "Value";
  size_t items_max = 100;
  Code duplicate = Code::kValidation;
};

// Takes typed members out of a request. The first one that is missing, of the wrong type or too
// long makes the reader fail for good and later reads give defaults, so an operation reads all it
// needs and checks failed() once. A null counts as absent, as in AWS; members nobody asks for are
// ignored, because new SDKs add some.
class MemberReader {
 public:
  // `members` must outlive the reader.
  explicit MemberReader(const Json& members) : members_(members) {}

  bool Has(const char* name) const { return Find(name) != nullptr; }
  void Require(const char* name) {
    if (!Has(name)) FailOnMissing(name);
  }
  std::string RequiredText(const char* name, const LengthLimits& limits = {});
  std::optional<std::string> Text(const char* name, const LengthLimits& limits = {});
  std::optional<int64_t> Integer(const char* name);
  bool Flag(const char* name);
  std::vector<std::string> TextList(const char* name, const LengthLimits& limits = {});
  // [{"Key": ..., "Value": ...}, ...]
  std::map<std::string, std::string> Tags(const char* name, const TagShape& shape = {});
  std::map<std::string, std::string> TextMap(const char* name);
  // Base64.
  Bytes Blob(const char* name);
  // Seconds since the epoch.
  std::optional<TimeMs> Time(const char* name);
  // A structure, to be read by a reader of its own; empty if there is none.
  const Json& Object(const char* name);
  // One of `values`, by the name that AWS gives it.
  template <typename Enum>
  std::optional<Enum> OneOf(const char* name, std::span<const Enum> values,
                            std::string_view (*name_of)(Enum)) {
    const std::optional<std::string> text = Text(name);
    if (!text) return std::nullopt;
    std::vector<std::string_view> names;
    for (Enum value : values) {
      if (name_of(value) == *text) return value;
      names.push_back(name_of(value));
    }
    FailOnChoice(name, *text, names);
    return std::nullopt;
  }

  void FailOnMissing(const char* name);
  void FailOnChoice(const char* name, const std::string& text,
                    const std::vector<std::string_view>& names);

  bool failed() const { return !problem_.empty(); }
  // A wrong type is AWS's SerializationException; everything else has a code.
  bool wrong_type() const { return wrong_type_; }
  Code code() const { return code_; }
  const std::string& problem() const { return problem_; }

 private:
  const Json* Find(const char* name) const;
  void Fail(Code code, std::string problem);
  void FailOnType(const std::string& name, const char* expected);
  void CheckLength(const char* name, const std::string& text, const LengthLimits& limits);
  void CheckItems(const char* name, const Json& list, const LengthLimits& limits);

  const Json& members_;
  std::string problem_;
  Code code_ = Code::kValidation;
  bool wrong_type_ = false;
};

}  // namespace secretfs::mount
