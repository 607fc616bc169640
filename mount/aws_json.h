#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/secret_buffer.h"
#include "store/secret.h"

namespace secretfs::mount {

// Members in the order in which they were added, as AWS prints them.
using Json = nlohmann::ordered_json;

// A request or an answer of Secrets Manager with its value apart: the JSON library never sees a
// SecretString, a SecretBinary or a RotationToken, since it would leave copies in ordinary memory.
struct AwsMessage {
  Json members = Json::object();
  std::optional<crypto::SecretBuffer> secret_string;  // Unescaped.
  std::optional<crypto::SecretBuffer> secret_binary;  // Decoded.
};

// Errors: kValidation for what is no JSON object, for a value that is no string, for bad base64.
Result<AwsMessage> ParseAwsMessage(ByteSpan body);

// The inverse: `members` with the value behind them. REQUIRES: a kString value is valid UTF-8.
crypto::SecretBuffer ComposeAwsMessage(const Json& members, store::ValueKind kind, ByteSpan value);

// Compact, and never throwing: bytes that are no UTF-8 come out as U+FFFD.
std::string ToText(const Json& json);
// AWS JSON's timestamp: seconds since the epoch, with milliseconds.
double SecondsOf(TimeMs at);
TimeMs TimeOf(const Json& seconds);

// How long AWS's model lets a text be, in characters, and a list, in items (aws-semantics 3).
struct LengthLimits {
  size_t characters_max = 2048;
  size_t items_max = 100;
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
  std::map<std::string, std::string> Tags(const char* name);

  bool failed() const { return !problem_.empty(); }
  // For a missing or too long member AWS's ValidationException, for a wrong type its
  // SerializationException.
  bool wrong_type() const { return wrong_type_; }
  const std::string& problem() const { return problem_; }

 private:
  const Json* Find(const char* name) const;
  void FailOnType(const std::string& name, const char* expected);
  void FailOnMissing(const char* name);
  void CheckLength(const char* name, const std::string& text, const LengthLimits& limits);
  void CheckItems(const char* name, const Json& list, const LengthLimits& limits);

  const Json& members_;
  std::string problem_;
  bool wrong_type_ = false;
};

}  // namespace secretfs::mount
