#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/keyring.h"
#include "crypto/random.h"
#include "crypto/root_key.h"
#include "crypto/secret_buffer.h"
#include "store/audit_trail.h"
#include "store/authorizer.h"
#include "store/principal.h"
#include "store/record.h"
#include "store/secret.h"
#include "store/store_header.h"

namespace secretfs::store {

class KmsService;
class SecretStore;
using SecretPtr = std::shared_ptr<const Secret>;

inline constexpr int kRecoveryWindowDaysMin = 7;
inline constexpr int kRecoveryWindowDaysMax = 30;

// A value on its way in.
struct NewValue {
  ValueKind kind = ValueKind::kString;
  crypto::SecretBuffer bytes;  // 1..kSecretValueBytesMax bytes; a string is valid UTF-8.
};

// Requests, as AWS names their members. A `secret_id` is a name, an ARN or an ARN without suffix.
// `request_id` goes to the audit event.
struct CreateRequest {
  std::string name;
  std::string client_request_token;
  std::string description;
  std::optional<NewValue> value;
  std::map<std::string, std::string> tags;
  std::string kms_key_id;  // Id, ARN, alias or alias ARN of a KMS key; empty: the default key.
  std::string request_id;
};
struct PutRequest {
  std::string secret_id;
  std::string client_request_token;
  NewValue value;
  std::vector<std::string> version_stages;  // Empty: AWSCURRENT.
  std::optional<std::string>
      if_version;  // Local: fail with kConflict unless AWSCURRENT is this version ("": none).
  std::string request_id;
};
struct UpdateRequest {
  std::string secret_id;
  std::string client_request_token;
  std::optional<std::string> description;
  std::optional<NewValue> value;
  std::optional<std::string> kms_key_id;  // As in CreateRequest. Re-encrypts what the labels of AWS
                                          // are on.
  std::string request_id;
};
struct VersionSelector {
  std::optional<std::string> version_id;
  std::optional<std::string> version_stage;  // Neither: AWSCURRENT.
};
struct DeleteRequest {
  std::string secret_id;
  std::optional<int64_t> recovery_window_days;
  bool force = false;
  std::string request_id;
};
struct MoveLabelRequest {
  std::string secret_id;
  std::string version_stage;
  std::optional<std::string> remove_from_version_id;
  std::optional<std::string> move_to_version_id;
  std::string request_id;
};
struct TagRequest {
  std::string secret_id;
  std::map<std::string, std::string> set;
  std::vector<std::string> remove;
  std::string request_id;
};
struct ListRequest {
  std::string name_prefix;
  bool include_planned_deletion = false;
  int64_t max_results = 100;  // 1..100 (AWS).
  std::string next_token;
  std::string request_id;
};

struct SecretIdentity {
  std::string arn;
  std::string name;
};
struct WrittenVersion {
  SecretIdentity secret;
  std::string version_id;  // Empty: no version was made.
  std::vector<std::string> version_stages;
};
struct SecretValue {
  SecretIdentity secret;
  std::string version_id;
  std::vector<std::string> version_stages;
  TimeMs created_at = 0;
  ValueKind kind = ValueKind::kString;
  crypto::SecretBuffer bytes;
};
struct DeletedSecret {
  SecretIdentity secret;
  TimeMs deletion_at = 0;
};
struct SecretPage {
  std::vector<SecretPtr> secrets;
  std::string next_token;  // Empty: the end.
};

// A version that a file handle has pinned.
struct PinnedVersion {
  SelectorId number = 0;
  uint32_t size_bytes = 0;  // Of the file: the whole value, or one key's content.
};
// Which file of a secret: the whole value, or one top-level JSON key.
struct ValueFile {
  std::optional<KeySlot> key;
};

// The only way to a secret. Every call on a secret authorises, acts, audits, in that order, and the
// audit event is written before anything is revealed; if it cannot be, the call fails with
// kUnavailable. A mutation's event commits with the mutation. Thread-safe.
//
// Calls named Peek... serve LOOKUP and GETATTR alone: they are not audited and never give a value,
// since a name that exists must resolve for everyone (DESIGN.md section 1).
class SecretService {
 public:
  struct Options {
    std::string directory;      // The store's.
    AuditTrail::Options audit;  // `directory` empty: <store>/audit.
  };

  // Makes a store in `directory` (created if missing, mode 0700; must hold no store). Durable when
  // it returns; on an error, what was created is removed.
  static Status Create(const std::string& directory, const Realm& realm, uint32_t owner_uid,
                       const crypto::RootKeySource& source, crypto::RootKey& root_key, Clock& clock,
                       crypto::RandomSource& random);

  // Reads the header, so that the caller can obtain the root key. Errors: kNotFound, kCorrupt,
  // kFailedPrecondition.
  static Result<StoreHeader> ReadHeader(const std::string& directory);

  // Opens and unseals. `root_key` must outlive the service. `authorizer` may be null:
  // OwnerAuthorizer of the header's owner. Errors: as Env::Open(); kSealed if the root key is not
  // this store's.
  static Result<std::unique_ptr<SecretService>> Open(const Options& options,
                                                     crypto::RootKey& root_key,
                                                     std::unique_ptr<Authorizer> authorizer,
                                                     Clock& clock, crypto::RandomSource& random);
  virtual ~SecretService() = default;

  // As it was when the store was opened.
  virtual const StoreHeader& header() const = 0;
  // The door to the store's KMS keys; lives as long as this.
  virtual KmsService& kms() = 0;
  const Realm& realm() const { return header().realm; }

  // --- Secrets Manager operations (docs.aws.amazon.com/secretsmanager/latest/apireference;
  // aws-semantics section 2). Errors common to all: kPermissionDenied; kNotFound; kValidation,
  // kInvalidArgument, kFailedPrecondition with AWS's messages; kUnavailable for disk and audit
  // failures; kCorrupt; kKeyUnavailable where a value is read, kCannotEncrypt where one is written,
  // if the state of its KMS key forbids.
  virtual Result<WrittenVersion> CreateSecret(const Caller& caller, CreateRequest request) = 0;
  virtual Result<WrittenVersion> PutSecretValue(const Caller& caller, PutRequest request) = 0;
  virtual Result<WrittenVersion> UpdateSecret(const Caller& caller, UpdateRequest request) = 0;
  virtual Result<SecretValue> GetSecretValue(const Caller& caller, const std::string& secret_id,
                                             const VersionSelector& selector,
                                             const std::string& request_id) = 0;
  // The returned secret is the metadata of DescribeSecret and ListSecretVersionIds.
  virtual Result<SecretPtr> DescribeSecret(const Caller& caller, const std::string& secret_id,
                                           const std::string& request_id) = 0;
  virtual Result<SecretPtr> ListSecretVersionIds(const Caller& caller, const std::string& secret_id,
                                                 const std::string& request_id) = 0;
  virtual Result<SecretPage> ListSecrets(const Caller& caller, const ListRequest& request) = 0;
  virtual Result<SecretIdentity> UpdateSecretVersionStage(const Caller& caller,
                                                          const MoveLabelRequest& request) = 0;
  virtual Result<DeletedSecret> DeleteSecret(const Caller& caller,
                                             const DeleteRequest& request) = 0;
  virtual Result<SecretIdentity> RestoreSecret(const Caller& caller, const std::string& secret_id,
                                               const std::string& request_id) = 0;
  virtual Status TagResource(const Caller& caller, const TagRequest& request) = 0;
  virtual Status UntagResource(const Caller& caller, const TagRequest& request) = 0;

  // --- the filesystem's side
  virtual Result<std::optional<PathId>> PeekChild(PathId parent, std::string_view component) = 0;
  virtual Result<bool> PeekPathExists(PathId path) = 0;
  // Null: the path is a prefix only, or its secret is marked for deletion (the mount then shows no
  // value).
  virtual Result<SecretPtr> PeekSecret(PathId path) = 0;
  // The path that version `number` belongs to; nullopt if the version is gone.
  virtual Result<std::optional<PathId>> PeekVersionPath(SelectorId number) = 0;
  virtual Result<std::optional<InternedName>> PeekLabel(SelectorId selector) = 0;
  virtual Result<std::optional<KeySlot>> PeekKeySlot(std::string_view key) = 0;
  // The size of a key's file in a version; nullopt if that version has no such key.
  virtual Result<std::optional<uint32_t>> PeekKeySize(SelectorId number, KeySlot slot) = 0;
  // The decision alone, without a record: for the attributes that files show to `principal`, and
  // for going on with what an audited call began.
  virtual bool May(const Principal& principal, Action action, const Secret& secret) = 0;
  virtual bool MayListSecrets(const Principal& principal) = 0;

  // OPEN of a value's file: decides and audits GetSecretValue for `version` of `secret` (which Peek
  // gave). `stage` is the label in the path, empty for a version's path.
  virtual Status OpenValue(const Caller& caller, const Secret& secret, const Version& version,
                           std::string_view stage) = 0;
  // READ: decides again (a refusal is audited), decrypts, returns the whole file of version
  // `number`. Errors: kStale if the version is gone.
  virtual Result<crypto::SecretBuffer> ReadValue(const Caller& caller, SelectorId number,
                                                 const ValueFile& file) = 0;
  // Decides and audits an access to metadata: DescribeSecret, ListSecretVersionIds, or
  // GetSecretValue for the key names of a value.
  virtual Status OpenMetadata(const Caller& caller, const Secret& secret, Action action) = 0;
  // OPENDIR of a prefix: decides and audits ListSecrets for it.
  virtual Status OpenPrefix(const Caller& caller, PathId path) = 0;
  // Children of a path after `cursor` (0: from the start) in a fixed order. `visit` returns false
  // to stop.
  using ChildVisitor =
      std::function<bool(uint64_t cursor, PathId child, std::string_view component)>;
  virtual Status ListChildren(PathId parent, uint64_t cursor, const ChildVisitor& visit) = 0;
  // Key names and file sizes of a version, in a fixed order.
  struct KeyFile {
    KeySlot slot;
    std::string key;
    uint32_t size_bytes;
  };
  virtual Result<std::vector<KeyFile>> ListKeys(SelectorId number) = 0;

  // --- changes, upkeep, health
  // Commits after change `sequence`, at most `limit`. The feed keeps the newest 65,536.
  virtual Result<std::vector<Change>> ChangesSince(uint64_t sequence, size_t limit) = 0;
  // An event descriptor (eventfd(2), non-blocking) that is readable after a commit through this
  // service.
  virtual int change_fd() const = 0;
  // Destroys secrets whose recovery window has passed, and does what is due of KMS keys: deletion,
  // expiry, rotation. Returns how many secrets; one that cannot be is logged and stays.
  virtual Result<size_t> PurgeExpired() = 0;
  // Puts the audit trail on the disk (once a minute, and at the end, the store is told how far it
  // is there) and trims resident memory; every second or so.
  virtual void Upkeep() = 0;

  struct Health {
    uint64_t secrets = 0;
    uint64_t last_txn = 0;
    uint64_t last_change = 0;
    AuditHead audit_head;
    std::string audit_problem;
  };
  virtual Health GetHealth() = 0;

  // Reads the audit trail (owner only: kReadAuditTrail). Errors: kPermissionDenied, kUnavailable.
  virtual Result<AuditReport> ReadAudit(const Caller& caller, const AuditTrail::Visitor& visit,
                                        const std::string& request_id) = 0;
};

}  // namespace secretfs::store
