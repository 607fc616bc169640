#include "mount/aws_json.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <utility>

#include "crypto/base64.h"
#include "store/json_object.h"

namespace secretfs::mount {
namespace {

constexpr std::string_view kSecretString = "SecretString";
constexpr std::string_view kSecretBinary = "SecretBinary";
// Proof of a rotation session: as good as a password while the rotation lasts. No operation here
// reads it.
constexpr std::string_view kRotationToken = "RotationToken";

// AWS's messages name members in lowerCamelCase.
std::string MemberPath(std::string name) {
  name[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(name[0])));
  return name;
}

bool IsNull(ByteSpan text) {
  return AsText(text) == "null";
}

}  // namespace

Result<AwsMessage> ParseAwsMessage(ByteSpan body) {
  const auto members = store::ScanJsonObject(body);
  if (!members) return Fail(Code::kValidation, "The body is not a JSON object.");
  AwsMessage message;
  for (const store::JsonMember& member : *members) {
    const ByteSpan text = body.subspan(member.begin, member.end - member.begin);
    const bool is_string = member.key == kSecretString;
    if (member.key == kRotationToken) continue;
    if (!is_string && member.key != kSecretBinary) {
      Json parsed = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
      if (parsed.is_discarded()) {
        return Fail(Code::kValidation, "The member " + member.key + " is out of range.");
      }
      message.members[member.key] = std::move(parsed);
      continue;
    }
    if (IsNull(text)) continue;
    if (text.front() != '"') {
      return Fail(Code::kValidation, "The member " + member.key + " is not a string.");
    }
    crypto::SecretBuffer content = store::JsonMemberContent(body, member);
    if (is_string) {
      message.secret_string = std::move(content);
      continue;
    }
    message.secret_binary = crypto::Base64Decode(content.Reveal());
    if (!message.secret_binary) {
      return Fail(Code::kValidation, "The member SecretBinary is not base64.");
    }
  }
  return message;
}

crypto::SecretBuffer ComposeAwsMessage(const Json& members, store::ValueKind kind, ByteSpan value) {
  const bool is_string = kind == store::ValueKind::kString;
  const std::string rest = ToText(members);
  auto text = crypto::SecretBuffer::CopyOf(AsBytes(rest));
  text.Truncate(text.size() - 1);  // The closing brace.
  text.Append(AsBytes(members.empty() ? "\"" : ",\""));
  text.Append(AsBytes(is_string ? kSecretString : kSecretBinary));
  text.Append(AsBytes("\":"));
  if (is_string) {
    store::AppendJsonString(value, text);
  } else {
    text.Append(AsBytes("\""));
    text.Append(crypto::Base64Encode(value).Reveal());
    text.Append(AsBytes("\""));
  }
  text.Append(AsBytes("}"));
  return text;
}

std::string ToText(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

double SecondsOf(TimeMs at) {
  return static_cast<double>(at) / 1000.0;
}

TimeMs TimeOf(const Json& seconds) {
  return seconds.is_number() ? std::llround(seconds.get<double>() * 1000.0) : 0;
}

const Json* MemberReader::Find(const char* name) const {
  const auto found = members_.find(name);
  return found == members_.end() || found->is_null() ? nullptr : &*found;
}

void MemberReader::FailOnType(const std::string& name, const char* expected) {
  if (failed()) return;
  problem_ = "The member " + name + " must be " + expected + ".";
  wrong_type_ = true;
}

void MemberReader::FailOnMissing(const char* name) {
  if (failed()) return;
  problem_ = "1 validation error detected: Value null at '" + MemberPath(name) +
             "' failed to satisfy constraint: Member must not be null";
}

// AWS repeats the value; one that is too long is left out, as AWS does with sensitive ones.
void MemberReader::CheckLength(const char* name, const std::string& text,
                               const LengthLimits& limits) {
  const auto is_start = [](char byte) { return (static_cast<uint8_t>(byte) & 0xC0) != 0x80; };
  if (failed() ||
      static_cast<size_t>(std::ranges::count_if(text, is_start)) <= limits.characters_max) {
    return;
  }
  problem_ = "1 validation error detected: Value at '" + MemberPath(name) +
             "' failed to satisfy constraint: Member must have length less than or equal to " +
             std::to_string(limits.characters_max);
}

void MemberReader::CheckItems(const char* name, const Json& list, const LengthLimits& limits) {
  if (failed() || list.size() <= limits.items_max) return;
  problem_ = "1 validation error detected: Value at '" + MemberPath(name) +
             "' failed to satisfy constraint: Member must have length less than or equal to " +
             std::to_string(limits.items_max);
}

std::string MemberReader::RequiredText(const char* name, const LengthLimits& limits) {
  Require(name);
  return Text(name, limits).value_or("");
}

std::optional<std::string> MemberReader::Text(const char* name, const LengthLimits& limits) {
  const Json* member = Find(name);
  if (member == nullptr) return std::nullopt;
  if (!member->is_string()) {
    FailOnType(name, "a string");
    return std::nullopt;
  }
  CheckLength(name, member->get_ref<const std::string&>(), limits);
  return member->get<std::string>();
}

std::optional<int64_t> MemberReader::Integer(const char* name) {
  const Json* member = Find(name);
  if (member == nullptr) return std::nullopt;
  if (member->is_number_integer() &&
      (!member->is_number_unsigned() || std::in_range<int64_t>(member->get<uint64_t>()))) {
    return member->get<int64_t>();
  }
  FailOnType(name, "a whole number");
  return std::nullopt;
}

bool MemberReader::Flag(const char* name) {
  const Json* member = Find(name);
  if (member == nullptr) return false;
  if (member->is_boolean()) return member->get<bool>();
  FailOnType(name, "true or false");
  return false;
}

std::vector<std::string> MemberReader::TextList(const char* name, const LengthLimits& limits) {
  std::vector<std::string> texts;
  const Json* member = Find(name);
  if (member == nullptr) return texts;
  if (!member->is_array()) FailOnType(name, "a list of strings");
  CheckItems(name, *member, limits);
  for (const Json& item : *member) {
    if (!item.is_string()) {
      FailOnType(name, "a list of strings");
      return {};
    }
    CheckLength(name, item.get_ref<const std::string&>(), limits);
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

std::map<std::string, std::string> MemberReader::Tags(const char* name) {
  std::map<std::string, std::string> tags;
  const Json* member = Find(name);
  if (member == nullptr) return tags;
  if (!member->is_array()) FailOnType(name, "a list of tags");
  CheckItems(name, *member, {});
  for (const Json& item : *member) {
    const auto text = [&](const char* key) {
      const auto found = item.is_object() ? item.find(key) : item.end();
      return item.is_object() && found != item.end() && found->is_string()
                 ? found->get<std::string>()
                 : std::string();
    };
    if (!item.is_object()) FailOnType(name, "a list of tags");
    if (!tags.emplace(text("Key"), text("Value")).second && !failed()) {
      problem_ = "The tag key " + text("Key") + " is there twice.";
    }
  }
  return tags;
}

}  // namespace secretfs::mount
