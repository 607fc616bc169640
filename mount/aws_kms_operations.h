#pragma once

#include <string_view>

#include "mount/aws_operation.h"
#include "store/kms_service.h"

namespace secretfs::mount {

// The operations of AWS KMS (API model 2014-11-01, aws-semantics section 4) over the service of KMS
// keys: each turns its members into the service's request and the result into the answer, and
// decides nothing. What AWS has beyond one host and its own keys (custom key stores, replicas,
// Nitro recipients) is UnsupportedOperationException. One member is ours: Confirm of
// ScheduleKeyDeletion, without which a key is kept that secrets are encrypted under. Thread-safe.
class AwsKmsOperations {
 public:
  // Both must outlive this.
  AwsKmsOperations(store::KmsService& kms, const store::Realm& realm) : kms_(kms), realm_(realm) {}

  // `operation` as X-Amz-Target names it behind its dot: "DescribeKey".
  AwsOutcome Run(std::string_view operation, AwsCall& call);

 private:
  struct Operation;
  static const Operation* FindOperation(std::string_view name);

  // Keys, in aws_kms_keys.cc.
  AwsOutcome CreateKey(AwsCall& call);
  AwsOutcome DescribeKey(AwsCall& call);
  AwsOutcome ListKeys(AwsCall& call);
  AwsOutcome EnableKey(AwsCall& call);
  AwsOutcome DisableKey(AwsCall& call);
  AwsOutcome UpdateKeyDescription(AwsCall& call);
  AwsOutcome ScheduleKeyDeletion(AwsCall& call);
  AwsOutcome CancelKeyDeletion(AwsCall& call);
  AwsOutcome GetKeyLastUsage(AwsCall& call);

  // Tags and policies, in aws_kms_policies.cc.
  AwsOutcome TagResource(AwsCall& call);
  AwsOutcome UntagResource(AwsCall& call);
  AwsOutcome ListResourceTags(AwsCall& call);
  AwsOutcome GetKeyPolicy(AwsCall& call);
  AwsOutcome PutKeyPolicy(AwsCall& call);
  AwsOutcome ListKeyPolicies(AwsCall& call);

  // In aws_kms_aliases.cc.
  AwsOutcome CreateAlias(AwsCall& call);
  AwsOutcome UpdateAlias(AwsCall& call);
  AwsOutcome DeleteAlias(AwsCall& call);
  AwsOutcome ListAliases(AwsCall& call);

  // Encryption, data keys, random bytes, in aws_kms_crypto.cc.
  AwsOutcome Encrypt(AwsCall& call);
  AwsOutcome Decrypt(AwsCall& call);
  AwsOutcome ReEncrypt(AwsCall& call);
  AwsOutcome GenerateDataKey(AwsCall& call);
  AwsOutcome GenerateDataKeyWithoutPlaintext(AwsCall& call);
  AwsOutcome GenerateDataKeyPair(AwsCall& call);
  AwsOutcome GenerateDataKeyPairWithoutPlaintext(AwsCall& call);
  AwsOutcome GenerateRandom(AwsCall& call);

  // Signatures, macs, key agreement, in aws_kms_signing.cc.
  AwsOutcome Sign(AwsCall& call);
  AwsOutcome Verify(AwsCall& call);
  AwsOutcome GenerateMac(AwsCall& call);
  AwsOutcome VerifyMac(AwsCall& call);
  AwsOutcome DeriveSharedSecret(AwsCall& call);
  AwsOutcome GetPublicKey(AwsCall& call);

  // Rotation and imported material, in aws_kms_material.cc.
  AwsOutcome EnableKeyRotation(AwsCall& call);
  AwsOutcome DisableKeyRotation(AwsCall& call);
  AwsOutcome GetKeyRotationStatus(AwsCall& call);
  AwsOutcome RotateKeyOnDemand(AwsCall& call);
  AwsOutcome ListKeyRotations(AwsCall& call);
  AwsOutcome GetParametersForImport(AwsCall& call);
  AwsOutcome ImportKeyMaterial(AwsCall& call);
  AwsOutcome DeleteImportedKeyMaterial(AwsCall& call);

  // In aws_kms_grants.cc.
  AwsOutcome CreateGrant(AwsCall& call);
  AwsOutcome ListGrants(AwsCall& call);
  AwsOutcome ListRetirableGrants(AwsCall& call);
  AwsOutcome RetireGrant(AwsCall& call);
  AwsOutcome RevokeGrant(AwsCall& call);
  std::string GrantsJson(const store::KmsPage<store::Grant>& page) const;

  store::KmsService& kms_;
  const store::Realm& realm_;
};

}  // namespace secretfs::mount
