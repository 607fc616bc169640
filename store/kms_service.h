#pragma once

#include <memory>
#include <string>
#include <vector>

#include "crypto/base/result.h"
#include "crypto/root_key.h"
#include "store/kms_crypto_requests.h"
#include "store/kms_requests.h"
#include "store/principal.h"

namespace secretfs::store {

// The only way to a KMS key. Every call authorises, acts, audits, in that order; the audit event is
// written before anything is revealed, a mutation's commits with the mutation. Thread-safe.
// SecretService::kms() gives the one of an open store.
//
// The operations are those of AWS KMS (docs.aws.amazon.com/kms/latest/APIReference; aws-semantics
// section 4), and so are errors, by code: AwsErrorName(code, AwsService::kKms) is the shape's name.
// Errors common to all: kPermissionDenied; kValidation (members); kNotFound (the key); kDisabled,
// kFailedPrecondition, kUnsupported (its state or origin, CheckKeyState()); kDryRun, as the last of
// all; kUnavailable for disk and audit failures; kCorrupt. A KMS key that AWS manages answers
// kPermissionDenied to everything but questions about itself: the service that it is for uses it on
// behalf of its own callers.
//
// Grants and key policies are kept and answered, and not enforced: the Authorizer alone decides.
//
// Not here: custom key stores, multi-region keys and Nitro recipients (kUnsupported).
class KmsService {
 public:
  virtual ~KmsService() = default;

  // --- keys (local_kms_keys.cc)
  // Errors: kMalformedPolicy, kInvalidTag, kLimitExceeded.
  virtual Result<KmsKeyPtr> CreateKey(const Caller& caller, const CreateKeyRequest& request) = 0;
  virtual Result<KmsKeyPtr> DescribeKey(const Caller& caller,
                                        const DescribeKeyRequest& request) = 0;
  virtual Result<KmsPage<crypto::KeyId>> ListKeys(const Caller& caller,
                                                  const ListKeysRequest& request) = 0;
  virtual Status EnableKey(const Caller& caller, const KeyRequest& request) = 0;
  virtual Status DisableKey(const Caller& caller, const KeyRequest& request) = 0;
  virtual Status UpdateKeyDescription(const Caller& caller,
                                      const UpdateKeyDescriptionRequest& request) = 0;
  // Errors: kConflict (local) if secrets are encrypted under the key and `confirm` is not set.
  virtual Result<ScheduledKeyDeletion> ScheduleKeyDeletion(
      const Caller& caller, const ScheduleKeyDeletionRequest& request) = 0;
  // Returns the key's ARN.
  virtual Result<std::string> CancelKeyDeletion(const Caller& caller,
                                                const KeyRequest& request) = 0;
  virtual Result<KeyLastUsage> GetKeyLastUsage(const Caller& caller, const KeyRequest& request) = 0;

  // --- tags and policies (local_kms_policy.cc)
  virtual Status TagResource(const Caller& caller, const KeyTagsRequest& request) = 0;
  virtual Status UntagResource(const Caller& caller, const KeyTagsRequest& request) = 0;
  virtual Result<KmsPage<KeyTag>> ListResourceTags(const Caller& caller,
                                                   const ListForKeyRequest& request) = 0;
  virtual Result<std::string> GetKeyPolicy(const Caller& caller,
                                           const GetKeyPolicyRequest& request) = 0;
  // Errors: kMalformedPolicy.
  virtual Status PutKeyPolicy(const Caller& caller, const PutKeyPolicyRequest& request) = 0;
  virtual Result<KmsPage<std::string>> ListKeyPolicies(const Caller& caller,
                                                       const ListForKeyRequest& request) = 0;

  // --- aliases (local_kms_aliases.cc). Errors: kAlreadyExists, kInvalidAliasName, kLimitExceeded.
  virtual Status CreateAlias(const Caller& caller, const AliasRequest& request) = 0;
  virtual Status UpdateAlias(const Caller& caller, const AliasRequest& request) = 0;
  virtual Status DeleteAlias(const Caller& caller, const AliasRequest& request) = 0;
  // `key_id` empty: all.
  virtual Result<KmsPage<Alias>> ListAliases(const Caller& caller,
                                             const ListForKeyRequest& request) = 0;

  // --- cryptographic operations (local_kms_crypto.cc, local_kms_signing.cc). Errors:
  // kInvalidKeyUsage; kInvalidGrantToken; kInvalidCiphertext and kIncorrectKey for what is to be
  // decrypted.
  virtual Result<Encrypted> Encrypt(const Caller& caller, const EncryptRequest& request) = 0;
  virtual Result<Decrypted> Decrypt(const Caller& caller, const DecryptRequest& request) = 0;
  virtual Result<ReEncrypted> ReEncrypt(const Caller& caller, const ReEncryptRequest& request) = 0;
  virtual Result<DataKey> GenerateDataKey(const Caller& caller,
                                          const GenerateDataKeyRequest& request) = 0;
  virtual Result<DataKey> GenerateDataKeyWithoutPlaintext(
      const Caller& caller, const GenerateDataKeyRequest& request) = 0;
  virtual Result<DataKeyPair> GenerateDataKeyPair(const Caller& caller,
                                                  const GenerateDataKeyPairRequest& request) = 0;
  virtual Result<DataKeyPair> GenerateDataKeyPairWithoutPlaintext(
      const Caller& caller, const GenerateDataKeyPairRequest& request) = 0;
  virtual Result<crypto::SecretBuffer> GenerateRandom(const Caller& caller,
                                                      const GenerateRandomRequest& request) = 0;
  virtual Result<Signed> Sign(const Caller& caller, const SignRequest& request) = 0;
  // Errors: kInvalidSignature.
  virtual Result<Signed> Verify(const Caller& caller, const VerifyRequest& request) = 0;
  virtual Result<Macced> GenerateMac(const Caller& caller, const MacRequest& request) = 0;
  // Errors: kInvalidMac.
  virtual Result<Macced> VerifyMac(const Caller& caller, const MacRequest& request) = 0;
  virtual Result<SharedSecret> DeriveSharedSecret(const Caller& caller,
                                                  const DeriveSharedSecretRequest& request) = 0;
  // The answer's `public_key` is set.
  virtual Result<KmsKeyPtr> GetPublicKey(const Caller& caller,
                                         const DescribeKeyRequest& request) = 0;

  // --- rotation (local_kms_rotation.cc)
  virtual Status EnableKeyRotation(const Caller& caller,
                                   const EnableKeyRotationRequest& request) = 0;
  virtual Status DisableKeyRotation(const Caller& caller, const KeyRequest& request) = 0;
  virtual Result<KeyRotationStatus> GetKeyRotationStatus(const Caller& caller,
                                                         const KeyRequest& request) = 0;
  // Returns the key's ARN. Errors: kLimitExceeded.
  virtual Result<std::string> RotateKeyOnDemand(const Caller& caller,
                                                const KeyRequest& request) = 0;
  virtual Result<KmsPage<KeyRotation>> ListKeyRotations(const Caller& caller,
                                                        const ListKeyRotationsRequest& request) = 0;

  // --- imported material (local_kms_import.cc)
  virtual Result<ParametersForImport> GetParametersForImport(
      const Caller& caller, const ParametersForImportRequest& request) = 0;
  // Errors: kInvalidImportToken, kExpiredImportToken, kInvalidCiphertext, kIncorrectKeyMaterial.
  virtual Result<ImportedKeyMaterial> ImportKeyMaterial(
      const Caller& caller, const ImportKeyMaterialRequest& request) = 0;
  virtual Result<ImportedKeyMaterial> DeleteImportedKeyMaterial(
      const Caller& caller, const DeleteImportedKeyMaterialRequest& request) = 0;

  // --- grants (local_kms_grants.cc). Errors: kInvalidGrantId, kInvalidGrantToken, kLimitExceeded.
  virtual Result<CreatedGrant> CreateGrant(const Caller& caller,
                                           const CreateGrantRequest& request) = 0;
  virtual Result<KmsPage<Grant>> ListGrants(const Caller& caller,
                                            const ListGrantsRequest& request) = 0;
  virtual Result<KmsPage<Grant>> ListRetirableGrants(const Caller& caller,
                                                     const ListRetirableGrantsRequest& request) = 0;
  virtual Status RetireGrant(const Caller& caller, const EndGrantRequest& request) = 0;
  virtual Status RevokeGrant(const Caller& caller, const EndGrantRequest& request) = 0;

  // --- the root key (local_kms_upkeep.cc). Local.
  // Wraps the store key and all key material by `root_key`, in one transaction: the store is opened
  // by the old root key until it commits, and by `root_key` (found by `source`) from then on. The
  // time it takes grows with the number of keys. Errors: those of both root keys; kConflict if keys
  // were changed all the time meanwhile.
  virtual Status RewrapAll(const Caller& caller, std::shared_ptr<crypto::RootKey> root_key,
                           const crypto::RootKeySource& source, const std::string& request_id) = 0;
};

}  // namespace secretfs::store
