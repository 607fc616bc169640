#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crypto/base/mutex.h"
#include "crypto/base/unique_fd.h"
#include "crypto/keyring.h"
#include "store/audit_trail.h"
#include "store/authorizer.h"
#include "store/lmdb_env.h"
#include "store/secret_service.h"
#include "store/secret_store.h"

namespace secretfs::store {

// The SecretService over a store on this host. Split over three files: local_service.cc (life,
// upkeep, the common steps of every call), secret_operations.cc (the AWS operations),
// file_operations.cc (the filesystem's side).
class LocalService final : public SecretService {
 public:
  struct Parts {
    std::unique_ptr<Env> env;
    StoreHeader header;
    std::unique_ptr<SecretStore> store;
    crypto::Keyring keyring;
    crypto::KeyId default_key;
    std::unique_ptr<AuditTrail> trail;
    std::unique_ptr<Authorizer> authorizer;
  };
  LocalService(Parts parts, Clock& clock, crypto::RandomSource& random);
  ~LocalService() override;

  const StoreHeader& header() const override { return parts_.header; }

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
  int change_fd() const override { return change_.get(); }
  Result<size_t> PurgeExpired() override;
  void Upkeep() override;
  Health GetHealth() override;
  Result<AuditReport> ReadAudit(const Caller& caller, const AuditTrail::Visitor& visit,
                                const std::string& request_id) override;

  // Brings the trail up to the store; once, before any call. Errors: kCorrupt if the store is older
  // than its trail.
  Status Start();

 private:
  // --- the common steps of a call (local_service.cc)
  AuditEvent NewEvent(const Caller& caller, Action action, std::string_view secret_id,
                      const std::string& request_id) const;
  // Records that the call failed, and returns the error to answer with: `error`, or that of the
  // trail.
  std::unexpected<Error> Refuse(AuditEvent& event, Error error);
  Status RecordSuccess(const AuditEvent& event) { return Record(ViewOf(event)); }
  // Appends the event of a read or a denial, after those of all mutations that it may have seen.
  Status Record(const AuditEventView& event);
  // The trail has the events of all committed mutations when these succeed. The second costs two
  // loads if nothing was committed since the last time.
  Status MovePendingEvents() EXCLUDES(move_mutex_);
  Status MovePendingEventsIfAny();
  // Allows `event.action` on `resource`, and `kms_action` on the key of the secret, or says why
  // not.
  Status Decide(const Principal& principal, Action action, std::string_view resource,
                std::optional<Action> kms_action) const;
  Status DecideOn(const Principal& principal, Action action, const Secret& secret) const;

  AuditEventView FileEvent(const Caller& caller, const Secret& secret, Action action) const;
  // Decides on `event.action` and records the outcome.
  Status RecordDecision(const Caller& caller, const Secret& secret, AuditEventView event);

  // Finds the secret that `secret_id` names and decides on `event.action`; fills
  // `event.resource_arn`. A secret that does not exist is decided on by the name that was asked
  // for, so that a denied caller learns nothing.
  Result<SecretPtr> Find(const Caller& caller, const std::string& secret_id,
                         std::optional<Action> kms_action, AuditEvent& event);
  // Find(), and the secret is not marked for deletion.
  Result<SecretPtr> FindLive(const Caller& caller, const std::string& secret_id,
                             std::optional<Action> kms_action, AuditEvent& event);
  // The secret at `reference`'s name if its suffix fits; null if there is none.
  Result<SecretPtr> Resolve(const SecretReference& reference) const;

  // Commits `mutation` together with `event`, then hands the event to the trail.
  Status CommitWithEvent(SecretStore::Mutation& mutation, const AuditEvent& event);

  // Destroys the secret if its recovery window has passed at `now`, and says whether it had.
  Result<bool> Purge(PathId path, TimeMs now);

  // Tells the store what of the trail is on the disk, if that is more than it knows: events that
  // are missing later are then missed.
  Status StoreAuditPosition();

  // Loads the secret again inside `mutation` and checks that it is still the one that was decided
  // on.
  Result<Secret> Reload(SecretStore::Mutation& mutation, const Secret& seen) const;

  // --- values (secret_operations.cc)
  struct SealedValue {
    SelectorId number = 0;
    Bytes envelope;
    std::vector<SecretStore::Mutation::KeySize> keys;
    Version version;
  };
  SealedValue MakeVersion(const NewValue& value, const std::string& version_id) const;
  Result<SealedValue> Seal(const NewValue& value, const std::string& arn,
                           const std::string& version_id);
  Result<crypto::SecretBuffer> Unseal(const Secret& secret, const Version& version) const;
  // Whether the version holds exactly `value`: the test of an idempotent replay.
  Result<bool> Holds(const Secret& secret, const Version& version, const NewValue& value) const;
  Result<WrittenVersion> Replay(const Secret& secret, const Version& version, const NewValue& value,
                                AuditEvent& event);
  Result<WrittenVersion> WriteVersion(const Secret& seen, const std::string& version_id,
                                      const NewValue& value, const std::vector<std::string>& stages,
                                      const std::optional<std::string>& if_version,
                                      const std::optional<std::string>& description,
                                      AuditEvent& event);
  Result<WrittenVersion> InsertSecret(const SecretName& name, CreateRequest& request,
                                      AuditEvent& event);
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
  const std::string kms_key_arn_;
  const UniqueFd change_;  // An event descriptor.
  bool started_ = false;

  // An event that stayed behind must not be overtaken: the outbox forgets what lies below the
  // trail's number. Before the trail's own mutexes.
  Mutex move_mutex_;
  // The trail has the events of all mutations up to this transaction.
  std::atomic<uint64_t> moved_txn_ = 0;
  std::atomic<uint64_t> stored_sequence_ = 0;  // Of the position that the store knows.
  std::atomic<TimeMs> position_stored_at_;
  std::atomic<size_t> failed_purges_ = 0;  // In the last PurgeExpired().
};

}  // namespace secretfs::store
