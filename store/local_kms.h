#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/mutex.h"
#include "crypto/keyring.h"
#include "crypto/root_key.h"
#include "store/audited_store.h"
#include "store/kms_service.h"
#include "store/kms_store.h"
#include "store/store_header.h"

namespace secretfs::store {

// The KmsService over a store on this host, and what the service of secrets asks of it. Split by
// theme: local_kms.cc (the common steps, the keyring's source, what secrets need),
// local_kms_upkeep.cc, local_kms_{keys,policy,aliases,crypto,signing,rotation,import,grants}.cc.
class LocalKms final : public KmsService, private crypto::KeySource {
 public:
  // `door`, `store` and `env` must outlive this; the root key its use (RewrapAll() ends that).
  LocalKms(AuditedStore& door, Env& env, SecretStore& store, StoreHeader header,
           crypto::RootKey& root_key);
  ~LocalKms() override;

  // Writes the KMS part of a new store: tables, the key alias/aws/secretsmanager, its alias.
  static Status Create(SecretStore::Mutation& mutation, KmsStore& records, const Realm& realm,
                       crypto::RootKey& root_key, TimeMs now, crypto::RandomSource& random);
  // Finds the default key and checks that the root key unwraps it; once, before anything else.
  // Errors: kCorrupt.
  Status Start();

  // --- for secrets. The secret's audit event is the only record of these.
  const crypto::KeyId& default_key() const { return default_key_; }
  crypto::Keyring& ring() { return ring_; }
  std::string ArnOf(const crypto::KeyId& key) const;
  // The key that a secret's KmsKeyId names now ("": the default key). Errors: kInvalidArgument if
  // there is none or it is not for encryption under a symmetric key.
  Result<KmsKeyPtr> FindForSecret(const std::string& kms_key_id) const;
  // Why `key` cannot be used, by its state; success if it can.
  Status CheckUsable(const crypto::KeyId& key);
  // Whether `key` may encrypt still, as `mutation` sees it: what was encrypted under it before the
  // mutation began can be read when it commits. Errors: kCannotEncrypt.
  Status CheckUsable(SecretStore::Mutation& mutation, const crypto::KeyId& key) const;
  void NoteUse(const crypto::KeyId& key, Action operation);
  // Secrets that name a key need a store of format 2.
  Status Upgrade();

  // --- upkeep
  // Destroys keys whose waiting period has passed, expires imported material, rotates what is due.
  // Returns how many keys were changed; one that cannot be is logged and stays.
  Result<size_t> RunDue();
  // Writes down which keys were used since the last time, at most once a day for each.
  Status SaveUses();

  // --- KmsService
  Result<KmsKeyPtr> CreateKey(const Caller& caller, const CreateKeyRequest& request) override;
  Result<KmsKeyPtr> DescribeKey(const Caller& caller, const DescribeKeyRequest& request) override;
  Result<KmsPage<crypto::KeyId>> ListKeys(const Caller& caller,
                                          const ListKeysRequest& request) override;
  Status EnableKey(const Caller& caller, const KeyRequest& request) override;
  Status DisableKey(const Caller& caller, const KeyRequest& request) override;
  Status UpdateKeyDescription(const Caller& caller,
                              const UpdateKeyDescriptionRequest& request) override;
  Result<ScheduledKeyDeletion> ScheduleKeyDeletion(
      const Caller& caller, const ScheduleKeyDeletionRequest& request) override;
  Result<std::string> CancelKeyDeletion(const Caller& caller, const KeyRequest& request) override;
  Result<KeyLastUsage> GetKeyLastUsage(const Caller& caller, const KeyRequest& request) override;

  Status TagResource(const Caller& caller, const KeyTagsRequest& request) override;
  Status UntagResource(const Caller& caller, const KeyTagsRequest& request) override;
  Result<KmsPage<KeyTag>> ListResourceTags(const Caller& caller,
                                           const ListForKeyRequest& request) override;
  Result<std::string> GetKeyPolicy(const Caller& caller,
                                   const GetKeyPolicyRequest& request) override;
  Status PutKeyPolicy(const Caller& caller, const PutKeyPolicyRequest& request) override;
  Result<KmsPage<std::string>> ListKeyPolicies(const Caller& caller,
                                               const ListForKeyRequest& request) override;

  Status CreateAlias(const Caller& caller, const AliasRequest& request) override;
  Status UpdateAlias(const Caller& caller, const AliasRequest& request) override;
  Status DeleteAlias(const Caller& caller, const AliasRequest& request) override;
  Result<KmsPage<Alias>> ListAliases(const Caller& caller,
                                     const ListForKeyRequest& request) override;

  Result<Encrypted> Encrypt(const Caller& caller, const EncryptRequest& request) override;
  Result<Decrypted> Decrypt(const Caller& caller, const DecryptRequest& request) override;
  Result<ReEncrypted> ReEncrypt(const Caller& caller, const ReEncryptRequest& request) override;
  Result<DataKey> GenerateDataKey(const Caller& caller,
                                  const GenerateDataKeyRequest& request) override;
  Result<DataKey> GenerateDataKeyWithoutPlaintext(const Caller& caller,
                                                  const GenerateDataKeyRequest& request) override;
  Result<DataKeyPair> GenerateDataKeyPair(const Caller& caller,
                                          const GenerateDataKeyPairRequest& request) override;
  Result<DataKeyPair> GenerateDataKeyPairWithoutPlaintext(
      const Caller& caller, const GenerateDataKeyPairRequest& request) override;
  Result<crypto::SecretBuffer> GenerateRandom(const Caller& caller,
                                              const GenerateRandomRequest& request) override;
  Result<Signed> Sign(const Caller& caller, const SignRequest& request) override;
  Result<Signed> Verify(const Caller& caller, const VerifyRequest& request) override;
  Result<Macced> GenerateMac(const Caller& caller, const MacRequest& request) override;
  Result<Macced> VerifyMac(const Caller& caller, const MacRequest& request) override;
  Result<SharedSecret> DeriveSharedSecret(const Caller& caller,
                                          const DeriveSharedSecretRequest& request) override;
  Result<KmsKeyPtr> GetPublicKey(const Caller& caller, const DescribeKeyRequest& request) override;

  Status EnableKeyRotation(const Caller& caller, const EnableKeyRotationRequest& request) override;
  Status DisableKeyRotation(const Caller& caller, const KeyRequest& request) override;
  Result<KeyRotationStatus> GetKeyRotationStatus(const Caller& caller,
                                                 const KeyRequest& request) override;
  Result<std::string> RotateKeyOnDemand(const Caller& caller, const KeyRequest& request) override;
  Result<KmsPage<KeyRotation>> ListKeyRotations(const Caller& caller,
                                                const ListKeyRotationsRequest& request) override;

  Result<ParametersForImport> GetParametersForImport(
      const Caller& caller, const ParametersForImportRequest& request) override;
  Result<ImportedKeyMaterial> ImportKeyMaterial(const Caller& caller,
                                                const ImportKeyMaterialRequest& request) override;
  Result<ImportedKeyMaterial> DeleteImportedKeyMaterial(
      const Caller& caller, const DeleteImportedKeyMaterialRequest& request) override;

  Result<CreatedGrant> CreateGrant(const Caller& caller,
                                   const CreateGrantRequest& request) override;
  Result<KmsPage<Grant>> ListGrants(const Caller& caller,
                                    const ListGrantsRequest& request) override;
  Result<KmsPage<Grant>> ListRetirableGrants(const Caller& caller,
                                             const ListRetirableGrantsRequest& request) override;
  Status RetireGrant(const Caller& caller, const EndGrantRequest& request) override;
  Status RevokeGrant(const Caller& caller, const EndGrantRequest& request) override;

  Status RewrapAll(const Caller& caller, std::shared_ptr<crypto::RootKey> root_key,
                   const crypto::RootKeySource& source, const std::string& request_id) override;

 private:
  // crypto::KeySource
  Result<Material> Load(const crypto::KeyId& key, const crypto::MaterialId* material) override;
  Result<Material> Unwrap(const crypto::KeyId& key, const crypto::MaterialId* material) const;

  // --- the common steps
  // Does `work`, which returns a Result, and records why it failed; it records its own success.
  template <typename Work>
  auto Audited(AuditEvent& event, const Work& work) -> decltype(work()) {
    auto done = work();
    if (!done) return door_.Refuse(event, std::move(done).error());
    return done;
  }
  // The same for what changes nothing: records success too, before the result is returned.
  template <typename Work>
  auto AuditedRead(AuditEvent& event, const Work& work) -> decltype(work()) {
    auto done = work();
    if (!done) return door_.Refuse(event, std::move(done).error());
    TRY(door_.RecordSuccess(event));
    return done;
  }
  // Allows `action` on `resource`, or says why not with `shown`, what was asked for. What is
  // allowed may need a store of format 2; a denial leaves the store's format as it is.
  Status Authorize(const Caller& caller, Action action, std::string_view resource,
                   std::string_view shown);
  // Finds the key that `key_id` names and decides on `action`; fills `event.resource_arn`. A key
  // that does not exist is decided on by the name that was asked for, so that a denied caller
  // learns nothing.
  enum class Names : uint8_t { kAll, kIdOrArn };
  Result<KmsKeyPtr> Find(const Caller& caller, Action action, const std::string& key_id,
                         Names names, AuditEvent& event);
  Result<KmsKeyPtr> Find(const Caller& caller, const std::string& key_id, Names names,
                         AuditEvent& event) {
    return Find(caller, event.action, key_id, names, event);
  }
  Result<KmsKeyPtr> Resolve(const KeyReference& reference) const;
  // The key as `mutation` sees it. Errors: kNotFound.
  Result<KmsKey> Reload(SecretStore::Mutation& mutation, const KmsKey& seen) const;
  // Changes one key: `edit` changes it and says whether anything changed. Announces to watchers of
  // its secrets when it can or cannot be used any more.
  using KeyEdit = std::function<Result<bool>(KmsKey&)>;
  Result<KmsKey> EditKey(const KmsKey& seen, const AuditEvent& event, const KeyEdit& edit);
  Status Announce(SecretStore::Mutation& mutation, const crypto::KeyId& key);
  Status Commit(SecretStore::Mutation& mutation, const crypto::KeyId& key, const AuditEvent& event);
  Status CheckState(const KmsKey& key, Action action) const {
    return CheckKeyState(key, action, Now());
  }
  // Names of secrets with a value under the key, at most kSecretNamesShownMax.
  Result<std::vector<std::string>> SecretNames(const crypto::KeyId& key) const;
  TimeMs Now() const { return door_.clock().NowMs(); }

  // --- key material. Wrapped before the write transaction, so none is held across the root key.
  std::shared_ptr<crypto::RootKey> root_key() const EXCLUDES(root_mutex_);
  struct NewGeneration {
    KeyMaterial material;
    Bytes public_key;
    uint64_t root_generation = 0;
  };
  Result<NewGeneration> Generate(const crypto::KeyId& key, crypto::KeySpec spec) const;
  Result<NewGeneration> Wrap(const crypto::KeyId& key, const crypto::MaterialId& material,
                             const crypto::SecretBuffer& bytes) const;
  // The root key is still the one that wrapped it. REQUIRES: inside a mutation.
  Status CheckRoot(const NewGeneration& generation) const EXCLUDES(root_mutex_);

  // --- data under keys (local_kms_crypto.cc)
  // Finds a key of which `action` is asked, and checks that it is for `usage` and can be used.
  Result<KmsKeyPtr> FindFor(const Caller& caller, Action action, const std::string& key_id,
                            const CryptoOptions& options, crypto::KeyUsage usage,
                            AuditEvent& event);
  struct Cryption {
    crypto::EncryptionAlgorithm algorithm;
    const ContextMap& context;
  };
  Status CheckCryption(const KmsKey& key, const Cryption& how) const;
  Result<Bytes> EncryptUnder(const KmsKey& key, const Cryption& how,
                             const crypto::SecretBuffer& plaintext);
  Result<crypto::SecretBuffer> DecryptUnder(const KmsKey& key, const Cryption& how, ByteSpan blob);
  // The key that is to decrypt `blob`: `key_id` if that is given, else the one that made it.
  Result<KmsKeyPtr> FindSource(const Caller& caller, Action action,
                               const std::optional<std::string>& key_id, const Cryption& how,
                               ByteSpan blob, const CryptoOptions& options, AuditEvent& event);
  Result<DataKey> MakeDataKey(const Caller& caller, Action action,
                              const GenerateDataKeyRequest& request);
  Result<DataKeyPair> MakeDataKeyPair(const Caller& caller, Action action,
                                      const GenerateDataKeyPairRequest& request);

  // --- upkeep
  Result<bool> RunDueOf(const crypto::KeyId& key, TimeMs now);
  Result<bool> DestroyKey(const crypto::KeyId& key, TimeMs now);
  Result<bool> ExpireMaterial(const crypto::KeyId& key, TimeMs now);
  Result<bool> RotateDue(const KmsKey& seen, TimeMs now);
  // False: a key was changed meanwhile.
  Result<bool> TryRewrap(const AuditEvent& event, const std::shared_ptr<crypto::RootKey>& next,
                         const crypto::RootKeySource& source);

  Status ChangeTags(const Caller& caller, const KeyTagsRequest& request, Action action);
  Result<NewGeneration> UnwrapImport(const KmsKey& key,
                                     const ImportKeyMaterialRequest& request) const;
  Status EndGrant(const Grant& grant, const AuditEvent& event);
  std::string NewGrantToken(const Grant& grant) const;
  // The grant that an unexpired token stands for. Errors: kInvalidGrantToken.
  Result<Grant> OpenGrantToken(const std::string& token) const;
  Status CheckGrantTokens(const std::vector<std::string>& tokens) const;

  AuditedStore& door_;
  SecretStore& store_;
  mutable KmsStore records_;
  const Realm realm_;
  crypto::KeyId default_key_{};

  std::atomic<bool> upgraded_;
  mutable Mutex root_mutex_;
  StoreHeader header_ GUARDED_BY(root_mutex_);
  std::shared_ptr<crypto::RootKey> root_key_ GUARDED_BY(root_mutex_);
  std::atomic<uint64_t> root_generation_ = 0;  // How often the root key was changed.

  mutable crypto::Keyring ring_;

  mutable Mutex use_mutex_;
  struct NotedUse {
    KeyUse use;
    bool saved = false;
  };
  std::map<crypto::KeyId, NotedUse> uses_ GUARDED_BY(use_mutex_);
  std::atomic<size_t> failed_due_ = 0;  // In the last RunDue().
};

}  // namespace secretfs::store
