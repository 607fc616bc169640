// Extended attributes: what a file is, beside its bytes.

#include <algorithm>
#include <array>

#include "crypto/keyring.h"
#include "fs/tree.h"

namespace secretfs::fs {
namespace {

constexpr std::string_view kPrefix = "user.secretfs.";

enum class Attribute : uint8_t { kArn, kName, kVersion, kLabels, kKmsKey };
struct NamedAttribute {
  std::string_view name;
  Attribute attribute;
  bool of_version;  // A secret without a value does not have it.
};
constexpr std::array<NamedAttribute, 5> kAttributes{{
    {"arn", Attribute::kArn, false},
    {"name", Attribute::kName, false},
    {"version", Attribute::kVersion, true},
    {"labels", Attribute::kLabels, true},
    {"kms_key", Attribute::kKmsKey, false},
}};

std::unexpected<Error> NoAttribute(std::string_view name) {
  return Fail(Code::kNotFound, "no extended attribute \"" + std::string(name) + "\"");
}

std::string Joined(const std::vector<std::string>& labels) {
  std::string text;
  for (const std::string& label : labels) text.append(text.empty() ? "" : ",").append(label);
  return text;
}

bool HasSecret(const NodeId& node) {
  return node.kind != NodeKind::kRoot && node.kind != NodeKind::kStatus &&
         node.kind != NodeKind::kViews;
}

}  // namespace

Result<std::string> Tree::GetXattr(const store::Caller& caller, uint64_t node,
                                   std::string_view name) {
  // `ls -l` asks every file for security.selinux and the like: answered without a look at the
  // store.
  if (!name.starts_with(kPrefix)) return NoAttribute(name);
  const auto named =
      std::ranges::find(kAttributes, name.substr(kPrefix.size()), &NamedAttribute::name);
  const auto id = NodeId::Decode(node);
  if (!id) return Fail(Code::kStale, "node " + std::to_string(node) + " is unknown");
  if (named == kAttributes.end() || !HasSecret(*id)) return NoAttribute(name);

  // Of a path without a secret this is kStale, and for it that is as good as "none".
  const auto located = Locate(*id);
  if (!located && located.error().code == Code::kStale && id->kind == NodeKind::kPath) {
    return NoAttribute(name);
  }
  if (!located) return std::unexpected(located.error());
  const store::Secret& secret = *located->secret;
  TRY(service_.OpenMetadata(caller, secret, store::Action::kDescribeSecret));
  if (named->of_version && located->version == nullptr) return NoAttribute(name);
  switch (named->attribute) {
    case Attribute::kArn:
      return secret.arn;
    case Attribute::kName:
      return secret.name;
    case Attribute::kVersion:
      return located->version->id;
    case Attribute::kLabels:
      return Joined(secret.LabelsOf(located->version->number));
    case Attribute::kKmsKey:
      return crypto::FormatUuid(secret.kms_key);
  }
  return NoAttribute(name);
}

Result<std::vector<std::string>> Tree::ListXattr(const store::Caller& caller, uint64_t node) {
  const auto id = NodeId::Decode(node);
  if (!id) return Fail(Code::kStale, "node " + std::to_string(node) + " is unknown");
  std::vector<std::string> names;
  if (!HasSecret(*id)) return names;
  const auto located = Locate(*id);
  if (!located && located.error().code == Code::kStale && id->kind == NodeKind::kPath) return names;
  if (!located) return std::unexpected(located.error());
  if (!service_.May(caller.principal, store::Action::kDescribeSecret, *located->secret)) {
    return names;
  }
  for (const NamedAttribute& named : kAttributes) {
    if (named.of_version && located->version == nullptr) continue;
    names.push_back(std::string(kPrefix).append(named.name));
  }
  return names;
}

}  // namespace secretfs::fs
