#include "mount/aws_kms_operations.h"

#include <algorithm>
#include <array>
#include <string>

#include "mount/aws_error.h"

namespace secretfs::mount {
namespace {

struct Unsupported {
  std::string_view name;
  std::string_view why;
};
constexpr std::string_view kNoKeyStores = "custom key stores are not supported.";
constexpr std::string_view kNoReplicas = "multi-Region keys are not supported.";
constexpr std::array kUnsupportedOperations = {
    Unsupported{"ConnectCustomKeyStore", kNoKeyStores},
    Unsupported{"CreateCustomKeyStore", kNoKeyStores},
    Unsupported{"DeleteCustomKeyStore", kNoKeyStores},
    Unsupported{"DescribeCustomKeyStores", kNoKeyStores},
    Unsupported{"DisconnectCustomKeyStore", kNoKeyStores},
    Unsupported{"ReplicateKey", kNoReplicas},
    Unsupported{"UpdateCustomKeyStore", kNoKeyStores},
    Unsupported{"UpdatePrimaryRegion", kNoReplicas},
};
// Members that change what an operation means: to ignore one would be to lie.
constexpr std::array kUnsupportedMembers = {
    Unsupported{"Recipient", "answers for Nitro enclaves are not supported."},
    Unsupported{"XksKeyId", "external key stores are not supported."},
};

std::unexpected<AwsFailure> RefuseUnsupported(const Unsupported& what) {
  return Refuse(Code::kUnsupported, std::string(what.name) + ": " + std::string(what.why));
}

}  // namespace

struct AwsKmsOperations::Operation {
  std::string_view name;
  AwsOutcome (AwsKmsOperations::*run)(AwsCall& call);
};

const AwsKmsOperations::Operation* AwsKmsOperations::FindOperation(std::string_view name) {
  using K = AwsKmsOperations;
  static constexpr std::array kOperations = {
      Operation{"CancelKeyDeletion", &K::CancelKeyDeletion},
      Operation{"CreateAlias", &K::CreateAlias},
      Operation{"CreateGrant", &K::CreateGrant},
      Operation{"CreateKey", &K::CreateKey},
      Operation{"Decrypt", &K::Decrypt},
      Operation{"DeleteAlias", &K::DeleteAlias},
      Operation{"DeleteImportedKeyMaterial", &K::DeleteImportedKeyMaterial},
      Operation{"DeriveSharedSecret", &K::DeriveSharedSecret},
      Operation{"DescribeKey", &K::DescribeKey},
      Operation{"DisableKey", &K::DisableKey},
      Operation{"DisableKeyRotation", &K::DisableKeyRotation},
      Operation{"EnableKey", &K::EnableKey},
      Operation{"EnableKeyRotation", &K::EnableKeyRotation},
      Operation{"Encrypt", &K::Encrypt},
      Operation{"GenerateDataKey", &K::GenerateDataKey},
      Operation{"GenerateDataKeyPair", &K::GenerateDataKeyPair},
      Operation{"GenerateDataKeyPairWithoutPlaintext", &K::GenerateDataKeyPairWithoutPlaintext},
      Operation{"GenerateDataKeyWithoutPlaintext", &K::GenerateDataKeyWithoutPlaintext},
      Operation{"GenerateMac", &K::GenerateMac},
      Operation{"GenerateRandom", &K::GenerateRandom},
      Operation{"GetKeyLastUsage", &K::GetKeyLastUsage},
      Operation{"GetKeyPolicy", &K::GetKeyPolicy},
      Operation{"GetKeyRotationStatus", &K::GetKeyRotationStatus},
      Operation{"GetParametersForImport", &K::GetParametersForImport},
      Operation{"GetPublicKey", &K::GetPublicKey},
      Operation{"ImportKeyMaterial", &K::ImportKeyMaterial},
      Operation{"ListAliases", &K::ListAliases},
      Operation{"ListGrants", &K::ListGrants},
      Operation{"ListKeyPolicies", &K::ListKeyPolicies},
      Operation{"ListKeyRotations", &K::ListKeyRotations},
      Operation{"ListKeys", &K::ListKeys},
      Operation{"ListResourceTags", &K::ListResourceTags},
      Operation{"ListRetirableGrants", &K::ListRetirableGrants},
      Operation{"PutKeyPolicy", &K::PutKeyPolicy},
      Operation{"ReEncrypt", &K::ReEncrypt},
      Operation{"RetireGrant", &K::RetireGrant},
      Operation{"RevokeGrant", &K::RevokeGrant},
      Operation{"RotateKeyOnDemand", &K::RotateKeyOnDemand},
      Operation{"ScheduleKeyDeletion", &K::ScheduleKeyDeletion},
      Operation{"Sign", &K::Sign},
      Operation{"TagResource", &K::TagResource},
      Operation{"UntagResource", &K::UntagResource},
      Operation{"UpdateAlias", &K::UpdateAlias},
      Operation{"UpdateKeyDescription", &K::UpdateKeyDescription},
      Operation{"Verify", &K::Verify},
      Operation{"VerifyMac", &K::VerifyMac},
  };
  const auto* found = std::ranges::find(kOperations, name, &Operation::name);
  return found == kOperations.end() ? nullptr : found;
}

AwsOutcome AwsKmsOperations::Run(std::string_view name, AwsCall& call) {
  const auto* unsupported = std::ranges::find(kUnsupportedOperations, name, &Unsupported::name);
  if (unsupported != kUnsupportedOperations.end()) return RefuseUnsupported(*unsupported);
  const Operation* operation = FindOperation(name);
  if (operation == nullptr) {
    return std::unexpected(AwsFailure(
        kUnknownOperation, "The operation " + std::string(name) + " is not known here."));
  }
  const MemberReader in(call.message.members);
  for (const Unsupported& member : kUnsupportedMembers) {
    if (in.Has(std::string(member.name).c_str())) return RefuseUnsupported(member);
  }
  return (this->*operation->run)(call);
}

}  // namespace secretfs::mount
