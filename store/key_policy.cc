#include "store/key_policy.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "store/kms_key.h"

namespace secretfs::store {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kAccountDigits = 12;
constexpr std::array<std::string_view, 9> kStatementMembers = {
    "Sid",       "Effect",   "Principal",   "NotPrincipal", "Action",
    "NotAction", "Resource", "NotResource", "Condition",
};

std::unexpected<Error> Malformed(const std::string& text) {
  return Fail(Code::kMalformedPolicy, text);
}

// [\u0009\u000A\u000D\u0020-\u00FF]+ as UTF-8: beyond ASCII, two bytes that begin with C2 or C3.
bool HasPolicyCharacters(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte == 0xC2 || byte == 0xC3) {
      if (++i == text.size() || (static_cast<uint8_t>(text[i]) & 0xC0) != 0x80) return false;
    } else if (byte > 0x7F || (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r')) {
      return false;
    }
  }
  return !text.empty();
}

// A text or a list of texts, as IAM has it in many places. Empty: neither.
std::vector<std::string> TextsOf(const Json& value) {
  std::vector<std::string> texts;
  if (value.is_string()) return {value.get<std::string>()};
  if (!value.is_array()) return {};
  for (const Json& each : value) {
    if (!each.is_string()) return {};
    texts.push_back(each.get<std::string>());
  }
  return texts;
}

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Without regard to case; `*` stands for any characters, `?` for one.
bool Matches(std::string_view pattern, std::string_view text) {
  size_t p = 0;
  size_t t = 0;
  size_t star = std::string_view::npos;
  size_t resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || Lower(pattern[p]) == Lower(text[t]))) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

bool IsAccount(std::string_view text) {
  return text.size() == kAccountDigits &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// "*", an account, or an ARN of IAM or STS in an account.
bool IsAwsPrincipal(std::string_view text) {
  if (text == "*" || IsAccount(text)) return true;
  for (const std::string_view prefix : {"arn:aws:iam::", "arn:aws:sts::"}) {
    if (!text.starts_with(prefix)) continue;
    const std::string_view rest = text.substr(prefix.size());
    return rest.size() > kAccountDigits + 1 && IsAccount(rest.substr(0, kAccountDigits)) &&
           rest[kAccountDigits] == ':';
  }
  return false;
}

// The AWS principals of an element; nullopt: it is malformed.
std::optional<std::vector<std::string>> PrincipalsOf(const Json& element) {
  if (element.is_string()) {
    return element == "*" ? std::optional(std::vector<std::string>{"*"}) : std::nullopt;
  }
  if (!element.is_object() || element.empty()) return std::nullopt;
  std::vector<std::string> aws;
  for (const auto& [kind, value] : element.items()) {
    const std::vector<std::string> texts = TextsOf(value);
    if (texts.empty()) return std::nullopt;
    if (kind == "AWS") {
      if (!std::ranges::all_of(texts, IsAwsPrincipal)) return std::nullopt;
      aws.insert(aws.end(), texts.begin(), texts.end());
    } else if (kind != "Service" && kind != "Federated") {
      return std::nullopt;
    }
  }
  return aws;
}

Status CheckCondition(const Json& condition) {
  if (!condition.is_object()) return Malformed("Condition must be an object.");
  for (const auto& [op, keys] : condition.items()) {
    if (!keys.is_object() || keys.empty()) {
      return Malformed("The condition operator " + op + " needs an object of condition keys.");
    }
    for (const auto& [key, values] : keys.items()) {
      const bool is_scalar = values.is_boolean() || values.is_number();
      if (TextsOf(values).empty() && !is_scalar) {
        return Malformed("The condition key " + key + " needs a text or a list of texts.");
      }
      // True when the request has no such key at all.
      const bool is_optional_key =
          Matches("kms:EncryptionContext:*", key) || Matches("aws:RequestTag/*", key);
      if (op.starts_with("ForAllValues:") && is_optional_key) {
        return Malformed("ForAllValues with " + key + " would hold for every request.");
      }
    }
  }
  return {};
}

Status CheckElements(const Json& statement) {
  for (const auto& [member, value] : statement.items()) {
    if (std::ranges::find(kStatementMembers, member) == kStatementMembers.end()) {
      return Malformed("Statements have no element " + member + ".");
    }
    const bool is_list = member == "Action" || member == "NotAction" || member == "Resource" ||
                         member == "NotResource";
    if (is_list && TextsOf(value).empty()) {
      return Malformed(member + " must be a text or a list of texts.");
    }
    if (member == "Sid" && !value.is_string()) return Malformed("A Sid must be a text.");
  }
  return {};
}

Status CheckStatement(const Json& statement) {
  if (!statement.is_object()) return Malformed("A statement must be an object.");
  TRY(CheckElements(statement));
  const Json effect = statement.value("Effect", Json());
  if (effect != "Allow" && effect != "Deny") {
    return Malformed("Each statement needs an Effect of Allow or Deny.");
  }
  const bool has_principal = statement.contains("Principal");
  if (has_principal == statement.contains("NotPrincipal")) {
    return Malformed("Each statement needs either a Principal or a NotPrincipal.");
  }
  if (!PrincipalsOf(statement.at(has_principal ? "Principal" : "NotPrincipal"))) {
    return Malformed("Policy contains a statement with one or more invalid principals.");
  }
  if (statement.contains("Action") && statement.contains("NotAction")) {
    return Malformed("A statement has either an Action or a NotAction.");
  }
  if (statement.contains("Resource") && statement.contains("NotResource")) {
    return Malformed("A statement has either a Resource or a NotResource.");
  }
  if (statement.contains("Condition")) return CheckCondition(statement.at("Condition"));
  return {};
}

// REQUIRES: CheckStatement() found nothing.
bool LetsReplace(const Json& statement, const KeyPolicyCheck& check) {
  if (statement.at("Effect") != "Allow" || statement.contains("Condition") ||
      !statement.contains("Principal") || !statement.contains("Action") ||
      !statement.contains("Resource")) {
    return false;
  }
  const std::string root = "arn:aws:iam::" + check.account + ":root";
  const auto principals = PrincipalsOf(statement.at("Principal"));
  const auto covers = [&](const std::string& principal) {
    return principal == "*" || principal == check.account || principal == root ||
           principal == check.caller;
  };
  return std::ranges::any_of(*principals, covers) &&
         std::ranges::any_of(TextsOf(statement.at("Action")), [](const std::string& action) {
           return Matches(action, "kms:PutKeyPolicy");
         });
}

}  // namespace

std::string DefaultKeyPolicy(std::string_view account) {
  Json statement;
  statement["Sid"] = "Enable IAM User Permissions";
  statement["Effect"] = "Allow";
  statement["Principal"]["AWS"] = "arn:aws:iam::" + std::string(account) + ":root";
  statement["Action"] = "kms:*";
  statement["Resource"] = "*";
  Json policy;
  policy["Version"] = "2012-10-17";
  policy["Id"] = "key-default-1";
  policy["Statement"] = std::vector<Json>{statement};
  return policy.dump();
}

std::string SecretsManagerKeyPolicy(std::string_view account, std::string_view region) {
  using Texts = std::vector<std::string>;
  Json use;
  use["Sid"] =
      "Allow access through AWS Secrets Manager for all principals in the account that are "
      "authorized to use AWS Secrets Manager";
  use["Effect"] = "Allow";
  use["Principal"]["AWS"] = Texts{"*"};
  use["Action"] = Texts{"kms:Encrypt",          "kms:Decrypt",     "kms:ReEncrypt*",
                        "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey"};
  use["Resource"] = "*";
  Json& equals = use["Condition"]["StringEquals"];
  equals["kms:CallerAccount"] = std::string(account);
  equals["kms:ViaService"] = "secretsmanager." + std::string(region) + ".amazonaws.com";
  Json look;
  look["Sid"] = "Allow direct access to key metadata to the account";
  look["Effect"] = "Allow";
  look["Principal"]["AWS"] = Texts{"arn:aws:iam::" + std::string(account) + ":root"};
  look["Action"] = Texts{"kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant"};
  look["Resource"] = "*";
  Json policy;
  policy["Version"] = "2012-10-17";
  policy["Id"] = "auto-secretsmanager-2";
  policy["Statement"] = std::vector<Json>{use, look};
  return policy.dump();
}

Status CheckKeyPolicy(std::string_view policy, const KeyPolicyCheck& check) {
  if (!HasPolicyCharacters(policy)) {
    return Fail(Code::kValidation,
                "1 validation error detected: Value at 'policy' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: "
                "[\\u0009\\u000A\\u000D\\u0020-\\u00FF]+");
  }
  if (policy.size() > kKeyPolicyBytesMax) {
    return Fail(Code::kLimitExceeded, "A key policy has at most 32768 bytes.");
  }
  const Json document = Json::parse(policy, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return Malformed("The policy is not a JSON object.");
  for (const auto& [member, value] : document.items()) {
    const bool known = member == "Version" || member == "Id" || member == "Statement";
    if (!known) return Malformed("Policies have no element " + member + ".");
    if (member == "Version" && value != "2012-10-17" && value != "2008-10-17") {
      return Malformed("The policy's Version must be 2012-10-17 or 2008-10-17.");
    }
  }
  const Json found = document.value("Statement", Json());
  const std::vector<Json> statements =
      found.is_array() ? std::vector<Json>(found.begin(), found.end()) : std::vector<Json>{found};
  if (statements.empty() || found.is_null())
    return Malformed("The policy needs at least one Statement.");
  bool lets_replace = check.bypass_lockout;
  for (const Json& statement : statements) {
    TRY(CheckStatement(statement));
    lets_replace = lets_replace || LetsReplace(statement, check);
  }
  if (lets_replace) return {};
  return Malformed("The new key policy will not allow you to update the key policy in the future.");
}

}  // namespace secretfs::store
