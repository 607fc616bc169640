#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/result.h"

namespace secretfs::store {

inline constexpr size_t kSecretNameBytesMax = 512;
inline constexpr size_t kPathComponentBytesMax =
    255;  // NAME_MAX: longer ones break `ls`, `tar`, bind mounts.

// A valid secret name (AWS CreateSecret): 1 to 512 of [A-Za-z0-9/_+=.@!-]. Names are flat and
// case-sensitive; `/` only separates the components that the mount shows as directories, and any
// component may be empty.
class SecretName {
 public:
  // Errors: kValidation with AWS's message for the alphabet and length, or naming the component
  // that, escaped, would exceed kPathComponentBytesMax.
  static Result<SecretName> Parse(std::string_view text);

  const std::string& text() const { return text_; }
  // "a//b" gives {"a", "", "b"}; never empty.
  std::vector<std::string_view> Components() const;

  bool operator==(const SecretName&) const = default;

 private:
  explicit SecretName(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

// How a name component appears as a file name. Total and injective over the alphabet of names:
// empty is "%", "." is
// "%2E", ".." is "%2E%2E", a leading "_" is "%5F", all else is itself ("%" is not in the alphabet).
std::string EscapeNameComponent(std::string_view component);
// The inverse; nullopt if no component is escaped to `file_name` ("_value", "%2e", "a%").
std::optional<std::string> UnescapeNameComponent(std::string_view file_name);

// The same for staging labels and JSON keys, which may hold any bytes: "%XX" (upper case) for `/`,
// `%`, NUL, control bytes and bytes that are not valid UTF-8, and for every byte of "." and "..";
// empty is "%". A leading "_" stays.
std::string EscapeFreeText(std::string_view text);
std::optional<std::string> UnescapeFreeText(std::string_view file_name);

bool IsValidUtf8(std::string_view text);

// Where the store believes itself to be: the two fields that every ARN carries.
struct Realm {
  std::string region = "local-1";
  std::string account = "000000000000";
};

inline constexpr size_t kArnSuffixSize = 6;

// arn:aws:secretsmanager:<region>:<account>:secret:<name>-<suffix>
std::string SecretArn(const Realm& realm, std::string_view name, std::string_view suffix);

// What an API's SecretId says (aws-semantics 3.4). `suffix` is set for a full ARN; a name or an ARN
// without suffix leaves it empty. An ARN that ends in "-" and six alphanumerics is taken as full,
// as AWS does, so a stale ARN never falls back to a name.
struct SecretReference {
  SecretName name;
  std::optional<std::string> suffix;
};
// Errors: kValidation for what can be no name; kNotFound for an ARN of another realm or service.
Result<SecretReference> ParseSecretId(std::string_view secret_id, const Realm& realm);

}  // namespace secretfs::store
