#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crypto/keyring.h"
#include "crypto/root_key.h"
#include "store/audit_trail.h"
#include "store/audited_store.h"
#include "store/authorizer.h"
#include "store/lmdb_env.h"
#include "store/local_kms.h"
#include "store/secret_service.h"
#include "store/secret_store.h"

namespace secretfs::store {

// The SecretService over a store on this host. Split over four files: local_service.cc (life,
// upkeep, the common steps of every call), secret_operations.cc (the AWS operations),
// secret_keys.cc (what secrets do with KMS keys), file_operations.cc (the filesystem's side).
class LocalService final : public SecretService {
 public:
  struct Parts {
    std::unique_ptr<Env> env;
    StoreHeader header;
    std::unique_ptr<SecretStore> store;
    std::unique_ptr<AuditTrail> trail;
    std::unique_ptr<Authorizer> authorizer;
  };
  // `root_key` must outlive this.
  LocalService(Parts parts, crypto::RootKey& root_key, Clock& clock, crypto::RandomSource& random);
  ~LocalService() override;

  const StoreHeader& header() const override { return parts_.header; }
  KmsService& kms() override { return kms_; }

  Result<WrittenVersion> CreateSecret(const Caller& caller, CreateRequest request) override;
  Result<WrittenVersion> PutSecretValue(const Caller& caller, PutRequest request) override;
  Result<WrittenVersion> UpdateSecret(const Caller& caller, UpdateRequest request) override;
  Result<SecretValue> GetSecretValue(const Caller& caller, const std::string& secret_id,
                                     const VersionSelector& selector,
                                     const std::string& request_id) override;
  Result<SecretPtr> DescribeSecret(const Caller& caller, const std::string& secret_id,
                                   const std::string& request_id) override;
  Result<SecretPtr> ListSecretVersionIds(const Caller& caller, const std::string& secret_id,
                                         const std::string& request_id) override;
  Result<SecretPage> ListSecrets(const Caller& caller, const ListRequest& request) override;
  Result<SecretIdentity> UpdateSecretVersionStage(const Caller& caller,
                                                  const MoveLabelRequest& request) override;
  Result<DeletedSecret> DeleteSecret(const Caller& caller, const DeleteRequest& request) override;
  Result<SecretIdentity> RestoreSecret(const Caller& caller, const std::string& secret_id,
                                       const std::string& request_id) override;
  Status TagResource(const Caller& caller, const TagRequest& request) override;
  Status UntagResource(const Caller& caller, const TagRequest& request) override;

  Result<std::optional<PathId>> PeekChild(PathId parent, std::string_view component) override;
  Result<bool> PeekPathExists(PathId path) override;
  Result<SecretPtr> PeekSecret(PathId path) override;
  Result<std::optional<PathId>> PeekVersionPath(SelectorId number) override;
  Result<std::optional<InternedName>> PeekLabel(SelectorId selector) override;
  Result<std::optional<KeySlot>> PeekKeySlot(std::string_view key) override;
  Result<std::optional<uint32_t>> PeekKeySize(SelectorId number, KeySlot slot) override;
  bool May(const Principal& principal, Action action, const Secret& secret) override;
  bool MayListSecrets(const Principal& principal) override;
  Status OpenValue(const Caller& caller, const Secret& secret, const Version& version,
                   std::string_view stage) override;
  Result<crypto::SecretBuffer> ReadValue(const Caller& caller, SelectorId number,
                                         const ValueFile& file) override;
  Status OpenMetadata(const Caller& caller, const Secret& secret, Action action) override;
  Status OpenPrefix(const Caller& caller, PathId path) override;
  Status ListChildren(PathId parent, uint64_t cursor, const ChildVisitor& visit) override;
  Result<std::vector<KeyFile>> ListKeys(SelectorId number) override;

  Result<std::vector<Change>> ChangesSince(uint64_t sequence, size_t limit) override;
  int change_fd() const override { return door_.change_fd(); }
  Result<size_t> PurgeExpired() override;
  void Upkeep() override;
  Health GetHealth() override;
  Result<AuditReport> ReadAudit(const Caller& caller, const AuditTrail::Visitor& visit,
                                const std::string& request_id) override;

  // Once, before any call. Errors: kCorrupt if the store is older than its trail, or if the default
  // KMS key is missing or cannot be unwrapped.
  Status Start();

 private:
  // --- the common steps of a call (local_service.cc)
  AuditEvent NewEvent(const Caller& caller, Action action, std::string_view secret_id,
                      const std::string& request_id) const {
    return door_.NewEvent(caller, action, secret_id, request_id);
  }
  std::unexpected<Error> Refuse(AuditEvent& event, Error error) {
    return door_.Refuse(event, std::move(error));
  }
  Status RecordSuccess(const AuditEvent& event) { return door_.RecordSuccess(event); }
  Status Record(const AuditEventView& event) { return door_.Record(event); }
  Status MovePendingEventsIfAny() { return door_.MovePendingEventsIfAny(); }
  Status Decide(const Principal& principal, Action action, std::string_view resource) const {
    return door_.Decide(principal, action, resource);
  }
  // The same for the secret's KMS key.
  Status DecideKms(const Principal& principal, Action action, const crypto::KeyId& key) const;
  // `action` on the secret, and what it does with the key of one of its versions.
  Status DecideOn(const Principal& principal, Action action, const Secret& secret,
                  const crypto::KeyId& key) const;

  AuditEventView FileEvent(const Caller& caller, const Secret& secret, Action action) const;
  // Records the outcome of a decision.
  Status RecordDecision(Status decided, AuditEventView event);

  // Finds the secret that `secret_id` names and decides on `event.action`; fills
  // `event.resource_arn`. A secret that does not exist is decided on by the name that was asked
  // for, so that a denied caller learns nothing.
  Result<SecretPtr> Find(const Caller& caller, const std::string& secret_id, AuditEvent& event);
  // Find(), and the secret is not marked for deletion.
  Result<SecretPtr> FindLive(const Caller& caller, const std::string& secret_id, AuditEvent& event);
  // The secret at `reference`'s name if its suffix fits; null if there is none.
  Result<SecretPtr> Resolve(const SecretReference& reference) const;

  // Commits `mutation` together with `event`, then hands the event to the trail.
  Status CommitWithEvent(SecretStore::Mutation& mutation, const AuditEvent& event) {
    return door_.CommitWithEvent(mutation, event);
  }

  // Destroys the secret if its recovery window has passed at `now`, and says whether it had.
  Result<bool> Purge(PathId path, TimeMs now);

  // Loads the secret again inside `mutation` and checks that it is still the one that was decided
  // on.
  Result<Secret> Reload(SecretStore::Mutation& mutation, const Secret& seen) const;
  // Reload(), and the secret is not marked for deletion.
  Result<Secret> ReloadLive(SecretStore::Mutation& mutation, const Secret& seen) const;
  // The same outside a mutation, for another try after a conflict.
  Result<SecretPtr> LoadAgain(const Secret& seen) const;

  // --- values (secret_operations.cc)
  struct SealedValue {
    SelectorId number = 0;
    Bytes envelope;
    std::vector<SecretStore::Mutation::KeySize> keys;
    Version version;
  };
  SealedValue MakeVersion(const NewValue& value, const std::string& version_id) const;
  // Under `key`. Errors: kCannotEncrypt.
  Result<SealedValue> Seal(const NewValue& value, const std::string& arn,
                           const std::string& version_id, const crypto::KeyId& key);
  // Into `envelope`; says whether there is one. Errors: kCorrupt if it is under another key than
  // the secret's record says.
  Result<bool> LoadEnvelope(const Secret& secret, const Version& version, Bytes& envelope) const;
  // Errors: kKeyUnavailable.
  Result<crypto::SecretBuffer> Unseal(const Secret& secret, const Version& version);
  // The key that `kms_key_id` names now, if the caller may encrypt under it (and decrypt, where it
  // is named anew). Errors: kInvalidArgument, kPermissionDenied, kCannotEncrypt.
  enum class KeyCheck : uint8_t { kForWriting, kNamedAnew };
  Result<crypto::KeyId> FindKey(const Caller& caller, const std::string& kms_key_id,
                                KeyCheck check);

  // --- a secret's move to another KMS key (secret_keys.cc)
  struct KeyMove {
    std::string kms_key_id;
    crypto::KeyId key{};
    std::map<SelectorId, Bytes> envelopes;  // Of the versions that AWS's labels are on.
  };
  // Errors: as FindKey(); kKeyUnavailable if a value cannot be decrypted.
  Result<KeyMove> PrepareMove(const Caller& caller, const Secret& seen,
                              const std::string& kms_key_id);
  // Errors: kConflict if labels have moved since, so that it must be prepared again.
  static Status ApplyMove(SecretStore::Mutation& mutation, const KeyMove& move, Secret& secret);
  Result<WrittenVersion> MoveAlone(const Secret& seen, const KeyMove& move,
                                   const std::optional<std::string>& description,
                                   AuditEvent& event);
  Result<WrittenVersion> UpdateWithKey(const Caller& caller, SecretPtr seen,
                                       const UpdateRequest& request, AuditEvent& event);
  // Whether the version holds exactly `value`: the test of an idempotent replay.
  Result<bool> Holds(const Secret& secret, const Version& version, const NewValue& value);
  // Answers a request that was done before, if the caller may compare. Errors: kPermissionDenied,
  // kAlreadyExists if the value is another.
  Result<WrittenVersion> Replay(const Caller& caller, const Secret& secret, const Version& version,
                                const NewValue& value, AuditEvent& event);
  struct VersionWrite {
    const std::string& version_id;
    const NewValue& value;
    crypto::KeyId key{};
    const std::vector<std::string>& stages;
    const std::optional<std::string>& if_version;
    const std::optional<std::string>& description;
    const KeyMove* move = nullptr;
  };
  // Errors: kConflict if the secret is not at `if_version`, or if it or its labels moved to another
  // key meanwhile, so that the write must be prepared again; kCannotEncrypt.
  Result<WrittenVersion> WriteVersion(const Caller& caller, const Secret& seen,
                                      const VersionWrite& write, AuditEvent& event);
  // Under the key that the secret names; fills `write.key`.
  Result<WrittenVersion> WriteUnderOwnKey(const Caller& caller, SecretPtr seen, VersionWrite write,
                                          AuditEvent& event);
  Result<WrittenVersion> InsertSecret(const SecretName& name, CreateRequest& request,
                                      const crypto::KeyId& key, AuditEvent& event);
  Status ChangeTags(const Caller& caller, const TagRequest& request, Action action);
  // Changes a secret's record alone: `change` edits it and says whether anything changed.
  template <typename Edited>
  Result<Secret> Edit(const Secret& seen, ChangeKind kind, const AuditEvent& event,
                      const Edited& edit);
  SecretIdentity IdentityOf(const Secret& secret) const;
  std::string NewArnSuffix();
  std::string PageToken(const ListRequest& request, PathId last) const;
  Result<PathId> ParsePageToken(const ListRequest& request) const;

  Parts parts_;
  Clock& clock_;
  crypto::RandomSource& random_;
  AuditedStore door_;
  LocalKms kms_;
  std::string default_key_arn_;
  bool started_ = false;
  std::atomic<size_t> failed_purges_ = 0;  // In the last PurgeExpired().
};

}  // namespace secretfs::store
