#include "mount/aws_json.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <utility>

#include "crypto/base/check.h"
#include "crypto/base64.h"
#include "store/json_object.h"

namespace secretfs::mount {
namespace {

using store::AwsService;

constexpr std::string_view kSecretString = "SecretString";
constexpr std::string_view kSecretBinary = "SecretBinary";

enum class SecretForm : uint8_t {
  kText,
  kBlob,
  kUnread,  // No operation here reads it.
};
struct SecretMemberRule {
  AwsService service;  // The errors of both have a "message", too.
  std::string_view name;
  SecretForm form;
};
constexpr std::array kSecretMembers = {
    SecretMemberRule{AwsService::kSecretsManager, kSecretString, SecretForm::kText},
    SecretMemberRule{AwsService::kSecretsManager, kSecretBinary, SecretForm::kBlob},
    // Proof of a rotation session: as good as a password while the rotation lasts.
    SecretMemberRule{AwsService::kSecretsManager, "RotationToken", SecretForm::kUnread},
    SecretMemberRule{AwsService::kSecretsManager, "RootKeySecret", SecretForm::kBlob},
    SecretMemberRule{AwsService::kKms, "Plaintext", SecretForm::kBlob},
    SecretMemberRule{AwsService::kKms, "PrivateKeyPlaintext", SecretForm::kBlob},
    SecretMemberRule{AwsService::kKms, "SharedSecret", SecretForm::kBlob},
    SecretMemberRule{AwsService::kKms, "Message", SecretForm::kBlob},
    SecretMemberRule{AwsService::kKms, "Mac", SecretForm::kBlob},
    SecretMemberRule{AwsService::kKms, "KeyStorePassword", SecretForm::kUnread},
    SecretMemberRule{AwsService::kKms, "XksProxyAuthenticationCredential", SecretForm::kUnread},
};

const SecretMemberRule* FindRule(AwsService service, std::string_view name) {
  const auto* found = std::ranges::find_if(kSecretMembers, [&](const SecretMemberRule& rule) {
    return rule.service == service && rule.name == name;
  });
  return found == kSecretMembers.end() ? nullptr : found;
}

// The latest time of a request that is believed to be one: in the year 5138.
constexpr double kSecondsMax = 1e11;

// AWS's messages name members in lowerCamelCase.
std::string MemberPath(std::string name) {
  name[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(name[0])));
  return name;
}

bool IsNull(ByteSpan text) {
  return AsText(text) == "null";
}

}  // namespace

std::optional<crypto::SecretBuffer> AwsMessage::Take(std::string_view name) {
  const auto found = secrets.find(name);
  if (found == secrets.end()) return std::nullopt;
  return std::move(secrets.extract(found).mapped());
}

Result<AwsMessage> ParseAwsMessage(ByteSpan body, AwsService service) {
  const auto members = store::ScanJsonObject(body);
  if (!members) return Fail(Code::kValidation, "The body is not a JSON object.");
  AwsMessage message;
  for (const store::JsonMember& member : *members) {
    const ByteSpan text = body.subspan(member.begin, member.end - member.begin);
    const SecretMemberRule* rule = FindRule(service, member.key);
    if (rule == nullptr) {
      Json parsed = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
      if (parsed.is_discarded()) {
        return Fail(Code::kValidation, "The member " + member.key + " is out of range.");
      }
      message.members[member.key] = std::move(parsed);
      continue;
    }
    if (rule->form == SecretForm::kUnread || IsNull(text)) continue;
    if (text.front() != '"') {
      return Fail(Code::kValidation, "The member " + member.key + " is not a string.");
    }
    std::optional<crypto::SecretBuffer> content = store::JsonMemberContent(body, member);
    if (rule->form == SecretForm::kBlob) content = crypto::Base64Decode(content->Reveal());
    if (!content) return Fail(Code::kValidation, "The member " + member.key + " is not base64.");
    message.secrets.insert_or_assign(member.key, *std::move(content));
  }
  return message;
}

crypto::SecretBuffer ComposeAwsMessage(const Json& members,
                                       std::initializer_list<SecretMember> secrets) {
  const std::string rest = ToText(members);
  auto text = crypto::SecretBuffer::CopyOf(AsBytes(rest));
  text.Truncate(text.size() - 1);  // The closing brace.
  for (const SecretMember& secret : secrets) {
    const auto* rule = std::ranges::find(kSecretMembers, secret.name, &SecretMemberRule::name);
    CHECK(rule != kSecretMembers.end());
    text.Append(AsBytes(text.size() == 1 ? "\"" : ",\""));
    text.Append(AsBytes(secret.name));
    text.Append(AsBytes("\":"));
    if (rule->form == SecretForm::kText) {
      store::AppendJsonString(secret.bytes, text);
    } else {
      text.Append(AsBytes("\""));
      text.Append(crypto::Base64Encode(secret.bytes).Reveal());
      text.Append(AsBytes("\""));
    }
  }
  text.Append(AsBytes("}"));
  return text;
}

crypto::SecretBuffer ComposeAwsMessage(const Json& members, store::ValueKind kind, ByteSpan value) {
  return ComposeAwsMessage(
      members, {{kind == store::ValueKind::kString ? kSecretString : kSecretBinary, value}});
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

std::string Base64Text(ByteSpan bytes) {
  return std::string(AsText(crypto::Base64Encode(bytes).Reveal()));
}

const Json* MemberReader::Find(const char* name) const {
  const auto found = members_.find(name);
  return found == members_.end() || found->is_null() ? nullptr : &*found;
}

void MemberReader::Fail(Code code, std::string problem) {
  if (failed()) return;
  problem_ = std::move(problem);
  code_ = code;
}

void MemberReader::FailOnType(const std::string& name, const char* expected) {
  if (failed()) return;
  Fail(Code::kValidation, "The member " + name + " must be " + expected + ".");
  wrong_type_ = true;
}

void MemberReader::FailOnMissing(const char* name) {
  Fail(Code::kValidation, "1 validation error detected: Value null at '" + MemberPath(name) +
                              "' failed to satisfy constraint: Member must not be null");
}

void MemberReader::FailOnChoice(const char* name, const std::string& text,
                                const std::vector<std::string_view>& names) {
  std::string set;
  for (std::string_view each : names) set += (set.empty() ? "" : ", ") + std::string(each);
  Fail(Code::kValidation, "1 validation error detected: Value '" + text + "' at '" +
                              MemberPath(name) +
                              "' failed to satisfy constraint: Member must satisfy enum value "
                              "set: [" +
                              set + "]");
}

// AWS repeats the value; one that is too long is left out, as AWS does with sensitive ones.
void MemberReader::CheckLength(const char* name, const std::string& text,
                               const LengthLimits& limits) {
  const auto is_start = [](char byte) { return (static_cast<uint8_t>(byte) & 0xC0) != 0x80; };
  if (static_cast<size_t>(std::ranges::count_if(text, is_start)) <= limits.characters_max) return;
  Fail(Code::kValidation,
       "1 validation error detected: Value at '" + MemberPath(name) +
           "' failed to satisfy constraint: Member must have length less than or equal to " +
           std::to_string(limits.characters_max));
}

void MemberReader::CheckItems(const char* name, const Json& list, const LengthLimits& limits) {
  if (list.size() <= limits.items_max) return;
  Fail(Code::kValidation,
       "1 validation error detected: Value at '" + MemberPath(name) +
           "' failed to satisfy constraint: Member must have length less than or equal to " +
           std::to_string(limits.items_max));
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

std::map<std::string, std::string> MemberReader::Tags(const char* name, const TagShape& shape) {
  std::map<std::string, std::string> tags;
  const Json* member = Find(name);
  if (member == nullptr) return tags;
  if (!member->is_array()) FailOnType(name, "a list of tags");
  CheckItems(name, *member, {.items_max = shape.items_max});
  for (const Json& item : *member) {
    const auto text = [&](const char* key) {
      const auto found = item.is_object() ? item.find(key) : item.end();
      return item.is_object() && found != item.end() && found->is_string()
                 ? found->get<std::string>()
                 : std::string();
    };
    if (!item.is_object()) FailOnType(name, "a list of tags");
    if (!tags.emplace(text(shape.key), text(shape.value)).second) {
      Fail(shape.duplicate, "Duplicate tag keys");
    }
  }
  return tags;
}

std::map<std::string, std::string> MemberReader::TextMap(const char* name) {
  std::map<std::string, std::string> texts;
  for (const auto& [key, value] : Object(name).items()) {
    if (!value.is_string()) {
      FailOnType(name, "a map of strings");
      return {};
    }
    texts.emplace(key, value.get<std::string>());
  }
  return texts;
}

Bytes MemberReader::Blob(const char* name) {
  const std::string text = Text(name, kAnyLength).value_or("");
  const std::optional<crypto::SecretBuffer> decoded = crypto::Base64Decode(AsBytes(text));
  if (!decoded) {
    FailOnType(name, "base64");
    return {};
  }
  const ByteSpan bytes = decoded->Reveal();
  return {bytes.begin(), bytes.end()};
}

std::optional<TimeMs> MemberReader::Time(const char* name) {
  const Json* member = Find(name);
  if (member == nullptr) return std::nullopt;
  if (member->is_number() && std::abs(member->get<double>()) <= kSecondsMax) return TimeOf(*member);
  FailOnType(name, "a number of seconds since 1970");
  return std::nullopt;
}

const Json& MemberReader::Object(const char* name) {
  static const Json kEmpty = Json::object();
  const Json* member = Find(name);
  if (member == nullptr) return kEmpty;
  if (member->is_object()) return *member;
  FailOnType(name, "an object");
  return kEmpty;
}

}  // namespace secretfs::mount
