#pragma once

#include <string>
#include <string_view>

#include "crypto/base/result.h"

namespace secretfs::store {

// The policy of a key that was created without one: it lets the account's identity policies decide
// (aws-semantics 4.7).
std::string DefaultKeyPolicy(std::string_view account);
// The fixed policy of alias/aws/secretsmanager: secrets use the key for their callers, nobody else.
std::string SecretsManagerKeyPolicy(std::string_view account, std::string_view region);

struct KeyPolicyCheck {
  std::string account;
  std::string caller;  // The ARN of who puts the policy.
  // Do not insist that the policy lets the account or the caller replace it.
  bool bypass_lockout = false;
};

// Whether `policy` is a policy document that a key can have: the grammar of IAM policies for
// resources, principals of known forms, no condition that would hold for everyone, and (unless
// bypassed) someone who may replace it.
//
// Errors: kValidation (characters), kLimitExceeded (over kKeyPolicyBytesMax), kMalformedPolicy.
Status CheckKeyPolicy(std::string_view policy, const KeyPolicyCheck& check);

}  // namespace secretfs::store
