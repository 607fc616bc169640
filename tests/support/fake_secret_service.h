#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/base/clock.h"
#include "crypto/base/mutex.h"
#include "store/record.h"
#include "store/secret_service.h"

namespace secretfs::testing {

// A SecretService in memory for tests of the mount: the filesystem's side is complete, the
// operations of the AWS API fail with kInternal. It allows everybody everything until told
// otherwise, and records every decision. The visitor of ListChildren() must not call the service
// (the real one holds a read transaction then): here it would hang. Thread-safe.
class FakeSecretService final : public store::SecretService {
 public:
  using PathId = store::PathId;
  using SelectorId = store::SelectorId;

  // `clock` must outlive the fake.
  explicit FakeSecretService(const Clock& clock);

  // --- what a test sets up
  struct Value {
    std::string id;  // Of the version.
    std::string bytes;
    std::vector<std::pair<std::string, std::string>> keys;  // Empty: not a JSON object.
  };
  // A secret without versions. Returns its path.
  PathId AddSecret(std::string_view name);
  // A new version with these labels (none given: AWSCURRENT, which moves as AWS moves it). Makes
  // the secret.
  SelectorId PutValue(std::string_view name, Value value, std::vector<std::string> labels = {});
  void MoveLabel(std::string_view name, std::string_view label, SelectorId version);
  void RemoveLabel(std::string_view name, std::string_view label);
  void DestroyVersion(std::string_view name, SelectorId version);
  void MarkForDeletion(std::string_view name);
  // With every path that then leads nowhere.
  void DestroySecret(std::string_view name);

  void Deny(uint32_t uid);
  void Deny(uint32_t uid, store::Action action);
  // Every audited call fails: the trail cannot be written.
  void FailAudit(bool fail);

  // --- what happened
  struct Audited {
    store::Action action;
    uint32_t uid;
    std::string secret;  // A name; of OpenPrefix, the prefix.
    std::string version_id;
    std::string stage;
    bool allowed;
    bool operator==(const Audited&) const = default;
  };
  std::vector<Audited> TakeAudited();
  // Calls of any kind, for tests that want none or few.
  uint64_t calls() const;
  uint64_t decryptions() const;

  // --- store::SecretService
  const store::StoreHeader& header() const override { return header_; }
  // The fake has secrets alone: to ask for keys stops the test.
  store::KmsService& kms() override;
  Result<store::WrittenVersion> CreateSecret(const store::Caller&, store::CreateRequest) override;
  Result<store::WrittenVersion> PutSecretValue(const store::Caller&, store::PutRequest) override;
  Result<store::WrittenVersion> UpdateSecret(const store::Caller&, store::UpdateRequest) override;
  Result<store::SecretValue> GetSecretValue(const store::Caller&, const std::string&,
                                            const store::VersionSelector&,
                                            const std::string&) override;
  Result<store::SecretPtr> DescribeSecret(const store::Caller&, const std::string&,
                                          const std::string&) override;
  Result<store::SecretPtr> ListSecretVersionIds(const store::Caller&, const std::string&,
                                                const std::string&) override;
  Result<store::SecretPage> ListSecrets(const store::Caller&, const store::ListRequest&) override;
  Result<store::SecretIdentity> UpdateSecretVersionStage(const store::Caller&,
                                                         const store::MoveLabelRequest&) override;
  Result<store::DeletedSecret> DeleteSecret(const store::Caller&,
                                            const store::DeleteRequest&) override;
  Result<store::SecretIdentity> RestoreSecret(const store::Caller&, const std::string&,
                                              const std::string&) override;
  Status TagResource(const store::Caller&, const store::TagRequest&) override;
  Status UntagResource(const store::Caller&, const store::TagRequest&) override;

  Result<std::optional<PathId>> PeekChild(PathId parent, std::string_view component) override;
  Result<bool> PeekPathExists(PathId path) override;
  Result<store::SecretPtr> PeekSecret(PathId path) override;
  Result<std::optional<PathId>> PeekVersionPath(SelectorId number) override;
  Result<std::optional<store::InternedName>> PeekLabel(SelectorId selector) override;
  Result<std::optional<store::KeySlot>> PeekKeySlot(std::string_view key) override;
  Result<std::optional<uint32_t>> PeekKeySize(SelectorId number, store::KeySlot slot) override;
  bool May(const store::Principal& principal, store::Action action,
           const store::Secret& secret) override;
  bool MayListSecrets(const store::Principal& principal) override;
  Status OpenValue(const store::Caller& caller, const store::Secret& secret,
                   const store::Version& version, std::string_view stage) override;
  Result<crypto::SecretBuffer> ReadValue(const store::Caller& caller, SelectorId number,
                                         const store::ValueFile& file) override;
  Status OpenMetadata(const store::Caller& caller, const store::Secret& secret,
                      store::Action action) override;
  Status OpenPrefix(const store::Caller& caller, PathId path) override;
  Status ListChildren(PathId parent, uint64_t cursor, const ChildVisitor& visit) override;
  Result<std::vector<KeyFile>> ListKeys(SelectorId number) override;

  Result<std::vector<store::Change>> ChangesSince(uint64_t sequence, size_t limit) override;
  Result<size_t> PurgeExpired() override;
  void Upkeep() override {}
  int change_fd() const override { return -1; }
  Health GetHealth() override;
  Result<store::AuditReport> ReadAudit(const store::Caller&, const store::AuditTrail::Visitor&,
                                       const std::string&) override;

 private:
  struct Child {
    PathId path;
    std::string component;
  };
  struct Path {
    PathId parent = 0;
    std::string name;                    // Of the secret that would be here.
    std::map<uint64_t, Child> children;  // By cursor.
    store::SecretPtr secret;
  };
  struct StoredValue {
    PathId path;
    std::string bytes;
    std::map<store::KeySlot, std::string> keys;
  };

  PathId MakePath(std::string_view name) REQUIRES(mutex_);
  store::Secret Edit(std::string_view name) REQUIRES(mutex_);
  void Save(store::Secret secret) REQUIRES(mutex_);
  void SetLabel(store::Secret& secret, std::string_view label, SelectorId version) REQUIRES(mutex_);
  bool Allowed(const store::Principal& principal, store::Action action) const REQUIRES(mutex_);
  Status Audit(Audited event) REQUIRES(mutex_);

  const Clock& clock_;
  store::StoreHeader header_;
  mutable Mutex mutex_;
  uint64_t calls_ GUARDED_BY(mutex_) = 0;
  uint64_t decryptions_ GUARDED_BY(mutex_) = 0;
  bool audit_fails_ GUARDED_BY(mutex_) = false;
  std::vector<Audited> audited_ GUARDED_BY(mutex_);
  std::set<uint32_t> denied_ GUARDED_BY(mutex_);
  std::set<std::pair<uint32_t, store::Action>> denied_actions_ GUARDED_BY(mutex_);
  PathId next_path_ GUARDED_BY(mutex_) = store::kRootPath + 1;
  SelectorId next_selector_ GUARDED_BY(mutex_) = 1;
  std::map<PathId, Path> paths_ GUARDED_BY(mutex_);
  std::map<SelectorId, StoredValue> values_ GUARDED_BY(mutex_);
  std::map<SelectorId, store::InternedName> labels_ GUARDED_BY(mutex_);
  std::map<std::string, store::KeySlot, std::less<>> key_slots_ GUARDED_BY(mutex_);
};

}  // namespace secretfs::testing
