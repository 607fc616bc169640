#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/keyring.h"
#include "store/kms_key.h"
#include "store/principal.h"

namespace secretfs::store {

// 32 bytes, which AWS shows as 64 hexadecimal digits.
using GrantId = std::array<uint8_t, 32>;

// What a grant may allow. Records store the numbers: never renumber.
enum class GrantOperation : uint8_t {
  kDecrypt = 1,
  kEncrypt = 2,
  kGenerateDataKey = 3,
  kGenerateDataKeyWithoutPlaintext = 4,
  kReEncryptFrom = 5,
  kReEncryptTo = 6,
  kSign = 7,
  kVerify = 8,
  kGetPublicKey = 9,
  kCreateGrant = 10,
  kRetireGrant = 11,
  kDescribeKey = 12,
  kGenerateDataKeyPair = 13,
  kGenerateDataKeyPairWithoutPlaintext = 14,
  kGenerateMac = 15,
  kVerifyMac = 16,
  kDeriveSharedSecret = 17,
};
inline constexpr uint8_t kGrantOperationMax = 17;
// AWS's name: "ReEncryptFrom".
std::string_view GrantOperationName(GrantOperation operation);
std::optional<GrantOperation> ParseGrantOperation(std::string_view name);
// The operation that a grant must list to allow `action`; nullopt: no grant can.
std::optional<GrantOperation> GrantOperationOf(Action action);

using ContextMap = std::map<std::string, std::string>;

// At most one of the two.
struct GrantConstraints {
  std::optional<ContextMap> encryption_context_equals;
  std::optional<ContextMap> encryption_context_subset;

  bool empty() const { return !encryption_context_equals && !encryption_context_subset; }
};

// A permission on one key, for one principal, that only allows. Value type.
struct Grant {
  GrantId id{};
  crypto::KeyId key{};
  std::string name;  // Empty: none.
  std::string grantee_principal;
  std::string retiring_principal;  // Empty: none.
  std::string issued_by;           // The ARN of who created it.
  TimeMs created_at = 0;
  std::vector<GrantOperation> operations;  // In order, each once.
  GrantConstraints constraints;

  bool Lists(GrantOperation operation) const;
};

// Whether `grant` allows `principal_arn` to do `action` with `context`: grantee, operation and
// constraints (aws-semantics 4.2.5, 4.5). Equals: exactly the same pairs; Subset: the request's
// context has at least the constraint's. DescribeKey and RetireGrant have no encryption context,
// and no constraint limits them. Pure.
bool GrantAllows(const Grant& grant, std::string_view principal_arn, Action action,
                 const ContextMap& context);

// Whether a grant that `parent`'s grantee creates by virtue of its CreateGrant operation stays
// within it: a subset of the operations, constraints equal or stricter.
bool IsWithin(const Grant& child, const Grant& parent);

// Errors: kValidation for malformed principals, names, constraints (over 8 pairs, over 384
// characters, on a key or operations without encryption context), for no operation, and for
// operations that a key of this spec and usage does not have.
Status ValidateGrant(const Grant& grant, const KmsKey& key);

// Principals as policies and grants write them: `^[\w+=,.@:/-]+$`, 1..256. Errors: kValidation.
Status ValidatePrincipal(std::string_view principal, std::string_view member);

}  // namespace secretfs::store
