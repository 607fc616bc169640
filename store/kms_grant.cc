#include "store/kms_grant.h"

#include <algorithm>
#include <array>

#include "crypto/key_spec.h"

namespace secretfs::store {
namespace {

constexpr size_t kPrincipalBytesMax = 256;
constexpr size_t kGrantNameBytesMax = 256;
constexpr size_t kConstraintPairsMax = 8;
constexpr size_t kConstraintTextCharactersMax = 384;

// What a grant operation is for, beside its name.
enum class Kind : uint8_t { kEncrypt, kSymmetric, kSign, kMac, kAgree, kPublic, kAny };

struct Row {
  GrantOperation operation;
  std::string_view name;
  Action action;
  Kind kind;
};

using Op = GrantOperation;
constexpr std::array kRows = std::to_array<Row>({
    {Op::kDecrypt, "Decrypt", Action::kKmsDecrypt, Kind::kEncrypt},
    {Op::kEncrypt, "Encrypt", Action::kKmsEncrypt, Kind::kEncrypt},
    {Op::kGenerateDataKey, "GenerateDataKey", Action::kKmsGenerateDataKey, Kind::kSymmetric},
    {Op::kGenerateDataKeyWithoutPlaintext, "GenerateDataKeyWithoutPlaintext",
     Action::kKmsGenerateDataKeyWithoutPlaintext, Kind::kSymmetric},
    {Op::kReEncryptFrom, "ReEncryptFrom", Action::kKmsReEncryptFrom, Kind::kEncrypt},
    {Op::kReEncryptTo, "ReEncryptTo", Action::kKmsReEncryptTo, Kind::kEncrypt},
    {Op::kSign, "Sign", Action::kKmsSign, Kind::kSign},
    {Op::kVerify, "Verify", Action::kKmsVerify, Kind::kSign},
    {Op::kGetPublicKey, "GetPublicKey", Action::kKmsGetPublicKey, Kind::kPublic},
    {Op::kCreateGrant, "CreateGrant", Action::kKmsCreateGrant, Kind::kAny},
    {Op::kRetireGrant, "RetireGrant", Action::kKmsRetireGrant, Kind::kAny},
    {Op::kDescribeKey, "DescribeKey", Action::kKmsDescribeKey, Kind::kAny},
    {Op::kGenerateDataKeyPair, "GenerateDataKeyPair", Action::kKmsGenerateDataKeyPair,
     Kind::kSymmetric},
    {Op::kGenerateDataKeyPairWithoutPlaintext, "GenerateDataKeyPairWithoutPlaintext",
     Action::kKmsGenerateDataKeyPairWithoutPlaintext, Kind::kSymmetric},
    {Op::kGenerateMac, "GenerateMac", Action::kKmsGenerateMac, Kind::kMac},
    {Op::kVerifyMac, "VerifyMac", Action::kKmsVerifyMac, Kind::kMac},
    {Op::kDeriveSharedSecret, "DeriveSharedSecret", Action::kKmsDeriveSharedSecret, Kind::kAgree},
});
static_assert(kRows.size() == kGrantOperationMax);

const Row& RowOf(GrantOperation operation) {
  return kRows[static_cast<size_t>(operation) - 1];
}

bool Fits(Kind kind, const KmsKey& key) {
  switch (kind) {
    case Kind::kEncrypt:
      return key.usage == crypto::KeyUsage::kEncryptDecrypt;
    case Kind::kSymmetric:
      return key.symmetric();
    case Kind::kSign:
      return key.usage == crypto::KeyUsage::kSignVerify;
    case Kind::kMac:
      return key.usage == crypto::KeyUsage::kGenerateVerifyMac;
    case Kind::kAgree:
      return key.usage == crypto::KeyUsage::kKeyAgreement;
    case Kind::kPublic:
      return crypto::IsAsymmetric(key.spec);
    case Kind::kAny:
      return true;
  }
  return false;
}

// What an encryption context can come with.
bool HasContext(GrantOperation operation) {
  return RowOf(operation).kind == Kind::kEncrypt || RowOf(operation).kind == Kind::kSymmetric;
}

bool IsPrincipalCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("_+=,.@:/-").find(c) != std::string_view::npos;
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view(":/_-").find(c) != std::string_view::npos;
}

size_t CountCharacters(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; }));
}

bool Contains(const ContextMap& all, const ContextMap& some) {
  return std::ranges::all_of(some, [&](const auto& pair) {
    auto found = all.find(pair.first);
    return found != all.end() && found->second == pair.second;
  });
}

std::unexpected<Error> Invalid(std::string message) {
  return Fail(Code::kValidation, std::move(message));
}

Status ValidateConstraint(const std::optional<ContextMap>& context) {
  if (!context) return {};
  if (context->size() > kConstraintPairsMax) {
    return Invalid("A grant constraint has at most 8 encryption context pairs.");
  }
  for (const auto& [name, value] : *context) {
    if (CountCharacters(name) > kConstraintTextCharactersMax ||
        CountCharacters(value) > kConstraintTextCharactersMax) {
      return Invalid(
          "A name or value of an encryption context in a grant constraint has at most 384 "
          "characters.");
    }
  }
  return {};
}

Status ValidateConstraints(const Grant& grant, const KmsKey& key) {
  if (grant.constraints.empty()) return {};
  if (!key.symmetric()) {
    return Invalid("Grant constraints need a symmetric encryption key; " + key.arn + " is none.");
  }
  if (grant.constraints.encryption_context_equals && grant.constraints.encryption_context_subset) {
    return Invalid("Give EncryptionContextEquals or EncryptionContextSubset, not both.");
  }
  TRY(ValidateConstraint(grant.constraints.encryption_context_equals));
  TRY(ValidateConstraint(grant.constraints.encryption_context_subset));
  const bool has_use = std::ranges::any_of(grant.operations, HasContext) ||
                       grant.Lists(GrantOperation::kCreateGrant);
  if (!has_use) {
    return Invalid("Grant constraints need an operation that takes an encryption context.");
  }
  return {};
}

}  // namespace

std::string_view GrantOperationName(GrantOperation operation) {
  return RowOf(operation).name;
}

std::optional<GrantOperation> ParseGrantOperation(std::string_view name) {
  const auto* row = std::ranges::find(kRows, name, &Row::name);
  return row == kRows.end() ? std::nullopt : std::optional(row->operation);
}

std::optional<GrantOperation> GrantOperationOf(Action action) {
  const auto* row = std::ranges::find(kRows, action, &Row::action);
  return row == kRows.end() ? std::nullopt : std::optional(row->operation);
}

bool Grant::Lists(GrantOperation operation) const {
  return std::ranges::find(operations, operation) != operations.end();
}

bool GrantAllows(const Grant& grant, std::string_view principal_arn, Action action,
                 const ContextMap& context) {
  if (grant.grantee_principal != principal_arn) return false;
  const auto operation = GrantOperationOf(action);
  if (!operation || !grant.Lists(*operation)) return false;
  if (!HasContext(*operation)) return true;
  const GrantConstraints& constraints = grant.constraints;
  if (constraints.encryption_context_equals) {
    return context == *constraints.encryption_context_equals;
  }
  return !constraints.encryption_context_subset ||
         Contains(context, *constraints.encryption_context_subset);
}

bool IsWithin(const Grant& child, const Grant& parent) {
  if (child.key != parent.key) return false;
  if (!std::ranges::all_of(child.operations, [&](Op each) { return parent.Lists(each); })) {
    return false;
  }
  const GrantConstraints& outer = parent.constraints;
  const GrantConstraints& inner = child.constraints;
  if (outer.encryption_context_equals) {
    return inner.encryption_context_equals == outer.encryption_context_equals;
  }
  if (!outer.encryption_context_subset) return true;
  const ContextMap& least = *outer.encryption_context_subset;
  if (inner.encryption_context_equals) return Contains(*inner.encryption_context_equals, least);
  return inner.encryption_context_subset && Contains(*inner.encryption_context_subset, least);
}

Status ValidatePrincipal(std::string_view principal, std::string_view member) {
  if (!principal.empty() && principal.size() <= kPrincipalBytesMax &&
      std::ranges::all_of(principal, IsPrincipalCharacter)) {
    return {};
  }
  return Invalid("1 validation error detected: Value at '" + std::string(member) +
                 "' failed to satisfy constraint: Member must satisfy regular expression pattern: "
                 "^[\\w+=,.@:/-]+$ and have 1 to 256 characters");
}

Status ValidateGrant(const Grant& grant, const KmsKey& key) {
  TRY(ValidatePrincipal(grant.grantee_principal, "granteePrincipal"));
  if (!grant.retiring_principal.empty()) {
    TRY(ValidatePrincipal(grant.retiring_principal, "retiringPrincipal"));
  }
  if (grant.name.size() > kGrantNameBytesMax || !std::ranges::all_of(grant.name, IsNameCharacter)) {
    return Invalid("1 validation error detected: Value '" + grant.name.substr(0, 64) +
                   "' at 'name' failed to satisfy constraint: Member must satisfy regular "
                   "expression pattern: ^[a-zA-Z0-9:/_-]+$ and have 1 to 256 characters");
  }
  if (grant.operations.empty()) return Invalid("A grant needs at least one operation.");
  for (const GrantOperation operation : grant.operations) {
    if (Fits(RowOf(operation).kind, key)) continue;
    return Invalid("The operation " + std::string(GrantOperationName(operation)) +
                   " is not one of " + key.arn + ", whose key spec is " +
                   std::string(crypto::NameOf(key.spec)) + " and key usage " +
                   std::string(crypto::NameOf(key.usage)) + ".");
  }
  return ValidateConstraints(grant, key);
}

}  // namespace secretfs::store
