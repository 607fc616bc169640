#include "store/secret_name.h"

#include <algorithm>
#include <cctype>

namespace secretfs::store {
namespace {

constexpr char kHexDigits[] = "0123456789ABCDEF";

bool IsNameCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) ||
         std::string_view("/_+=.@!-").find(c) != std::string_view::npos;
}

bool IsSuffixCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c));
}

void AppendPercent(std::string& out, char c) {
  auto byte = static_cast<uint8_t>(c);
  out.push_back('%');
  out.push_back(kHexDigits[byte >> 4]);
  out.push_back(kHexDigits[byte & 15]);
}

// The bytes in the UTF-8 sequence at the start of `text`, 0 if it does not start with a valid one
// (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
size_t Utf8SequenceLength(std::string_view text) {
  auto byte = [&](size_t i) -> uint8_t {
    return i < text.size() ? static_cast<uint8_t>(text[i]) : 0;
  };
  auto continues = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!continues(1) || !continues(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!continues(1) || !continues(2) || !continues(3)) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

std::optional<uint8_t> UpperHexDigit(char c) {
  if (c >= '0' && c <= '9') return static_cast<uint8_t>(c - '0');
  if (c >= 'A' && c <= 'F') return static_cast<uint8_t>(c - 'A' + 10);
  return std::nullopt;
}

// Replaces every %XX; nullopt for a `%` that starts none.
std::optional<std::string> PercentDecode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    auto high = UpperHexDigit(text[i + 1]);
    auto low = UpperHexDigit(text[i + 2]);
    if (!high || !low) return std::nullopt;
    out.push_back(static_cast<char>(*high << 4 | *low));
    i += 2;
  }
  return out;
}

}  // namespace

Result<SecretName> SecretName::Parse(std::string_view text) {
  if (text.empty() || text.size() > kSecretNameBytesMax ||
      !std::all_of(text.begin(), text.end(), IsNameCharacter)) {
    return Fail(
        Code::kValidation,
        "Invalid name. Must be a valid name containing alphanumeric characters, or any of the "
        "following: -/_+=.@!");
  }
  SecretName name{std::string(text)};
  for (std::string_view component : name.Components()) {
    if (EscapeNameComponent(component).size() > kPathComponentBytesMax) {
      return Fail(Code::kValidation,
                  "Invalid name. The part \"" + std::string(component.substr(0, 32)) +
                      "...\" between slashes is longer than 255 bytes and cannot be a "
                      "file name; use shorter parts.");
    }
  }
  return name;
}

std::vector<std::string_view> SecretName::Components() const {
  std::vector<std::string_view> components;
  std::string_view rest = text_;
  for (;;) {
    size_t slash = rest.find('/');
    components.push_back(rest.substr(0, slash));
    if (slash == std::string_view::npos) return components;
    rest.remove_prefix(slash + 1);
  }
}

std::string EscapeNameComponent(std::string_view component) {
  if (component.empty()) return "%";
  if (component == ".") return "%2E";
  if (component == "..") return "%2E%2E";
  if (component.front() == '_') return "%5F" + std::string(component.substr(1));
  return std::string(component);
}

std::optional<std::string> UnescapeNameComponent(std::string_view file_name) {
  if (file_name == "%") return "";
  auto decoded = PercentDecode(file_name);
  if (!decoded || EscapeNameComponent(*decoded) != file_name) return std::nullopt;
  return decoded;
}

std::string EscapeFreeText(std::string_view text) {
  if (text.empty()) return "%";
  std::string out;
  out.reserve(text.size());
  bool dots_only = text == "." || text == "..";
  while (!text.empty()) {
    size_t length = Utf8SequenceLength(text);
    char c = text.front();
    bool control = static_cast<uint8_t>(c) < 0x20 || c == 0x7F;
    if (length == 0 || control || c == '/' || c == '%' || dots_only) {
      AppendPercent(out, c);
      length = 1;
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
  return out;
}

std::optional<std::string> UnescapeFreeText(std::string_view file_name) {
  if (file_name == "%") return "";
  auto decoded = PercentDecode(file_name);
  if (!decoded || EscapeFreeText(*decoded) != file_name) return std::nullopt;
  return decoded;
}

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    size_t length = Utf8SequenceLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string SecretArn(const Realm& realm, std::string_view name, std::string_view suffix) {
  std::string arn;
  arn.reserve(48 + realm.region.size() + name.size());
  arn.append("arn:aws:secretsmanager:").append(realm.region).append(":").append(realm.account);
  arn.append(":secret:").append(name).append("-").append(suffix);
  return arn;
}

Result<SecretReference> ParseSecretId(std::string_view secret_id, const Realm& realm) {
  if (!secret_id.starts_with("arn:")) {
    TRY_ASSIGN(SecretName name, SecretName::Parse(secret_id));
    return SecretReference{std::move(name), std::nullopt};
  }
  std::string prefix = "arn:aws:secretsmanager:" + realm.region + ":" + realm.account + ":secret:";
  if (!secret_id.starts_with(prefix)) {
    return Fail(Code::kNotFound, "Secrets Manager can't find the specified secret.");
  }
  std::string_view rest = secret_id.substr(prefix.size());
  if (rest.size() > kArnSuffixSize + 1) {
    std::string_view suffix = rest.substr(rest.size() - kArnSuffixSize);
    if (rest[rest.size() - kArnSuffixSize - 1] == '-' &&
        std::all_of(suffix.begin(), suffix.end(), IsSuffixCharacter)) {
      TRY_ASSIGN(SecretName name,
                 SecretName::Parse(rest.substr(0, rest.size() - kArnSuffixSize - 1)));
      return SecretReference{std::move(name), std::string(suffix)};
    }
  }
  TRY_ASSIGN(SecretName name, SecretName::Parse(rest));
  return SecretReference{std::move(name), std::nullopt};
}

}  // namespace secretfs::store
