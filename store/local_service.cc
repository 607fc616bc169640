#include "store/local_service.h"

#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "crypto/base/log.h"
#include "store/error_name.h"
#include "store/table_key.h"

namespace secretfs::store {
namespace {

constexpr std::string_view kDefaultKeyAlias = "alias/aws/secretsmanager";

constexpr std::string_view kCannotFind = "Secrets Manager can't find the specified secret.";

Result<StoreHeader> LoadHeader(Env& env, Bytes& encoded) {
  ReadTxn txn(env);
  TRY_ASSIGN(std::optional<Bytes> bytes, txn.Get(Table::kMeta, HeaderKey()));
  if (!bytes) {
    return Fail(Code::kCorrupt, "store " + env.directory() +
                                    ": it has no header; if its init was interrupted, remove "
                                    "data.mdb and lock.mdb there and run it again, else restore "
                                    "the store from a backup");
  }
  encoded = std::move(*bytes);
  return DecodeStoreHeader(encoded);
}

// Makes the records of a new store in one transaction.
Status WriteNewStore(Env& env, const Realm& realm, uint32_t owner_uid,
                     const crypto::RootKeySource& source, crypto::RootKey& root_key, Clock& clock,
                     crypto::RandomSource& random) {
  StoreHeader header;
  header.store_id = crypto::FormatUuid(crypto::NewUuid(random));
  header.realm = realm;
  header.owner_uid = owner_uid;
  header.created_at = clock.NowMs();
  header.root_key_source = source;
  crypto::SecretBuffer store_key(crypto::kAesKeyBytes);
  random.Fill(store_key.Writable());
  TRY_ASSIGN(header.wrapped_store_key, root_key.Wrap(store_key, StoreKeyPurpose(header.store_id)));
  TRY_ASSIGN(crypto::KeyRecord key, crypto::NewKeyRecord(std::string(kDefaultKeyAlias), root_key,
                                                         header.created_at, random));
  StoreKeys keys(store_key);
  Bytes encoded = EncodeStoreHeader(header, keys.header.Reveal());
  SecretStore store(env, std::move(keys), realm, random);
  TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, store.Begin());
  TRY(mutation->PutHeader(encoded));
  TRY(mutation->PutKmsKey(key));
  return mutation->Commit();
}

void LogFailure(const Status& status) {
  if (!status) Log(LogLevel::kError, status.error().message);
}

}  // namespace

Status SecretService::Create(const std::string& directory, const Realm& realm, uint32_t owner_uid,
                             const crypto::RootKeySource& source, crypto::RootKey& root_key,
                             Clock& clock, crypto::RandomSource& random) {
  bool made_directory = mkdir(directory.c_str(), 0700) == 0;
  if (!made_directory && errno != EEXIST) {
    Code code = errno == EACCES || errno == EROFS ? Code::kPermissionDenied : Code::kUnavailable;
    return FailErrno(code, "cannot create the store directory " + directory, errno);
  }
  Status status;
  bool ours = false;
  {
    auto env = Env::Open(directory, Env::Mode::kCreate);
    ours = env.has_value();
    status = env ? WriteNewStore(**env, realm, owner_uid, source, root_key, clock, random)
                 : Status(std::unexpected(std::move(env).error()));
  }
  if (!status && ours) {
    unlink((directory + "/data.mdb").c_str());
    unlink((directory + "/lock.mdb").c_str());
  }
  if (!status && made_directory) rmdir(directory.c_str());
  return status;
}

Result<StoreHeader> SecretService::ReadHeader(const std::string& directory) {
  TRY_ASSIGN(std::unique_ptr<Env> env, Env::Open(directory, Env::Mode::kOpen));
  Bytes encoded;
  return LoadHeader(*env, encoded);
}

Result<std::unique_ptr<SecretService>> SecretService::Open(const Options& options,
                                                           crypto::RootKey& root_key,
                                                           std::unique_ptr<Authorizer> authorizer,
                                                           Clock& clock,
                                                           crypto::RandomSource& random) {
  LocalService::Parts parts;
  TRY_ASSIGN(parts.env, Env::Open(options.directory, Env::Mode::kOpen));
  Bytes encoded;
  TRY_ASSIGN(parts.header, LoadHeader(*parts.env, encoded));
  auto store_key =
      root_key.Unwrap(parts.header.wrapped_store_key, StoreKeyPurpose(parts.header.store_id));
  if (!store_key) {
    if (store_key.error().code != Code::kCorrupt) {
      return std::unexpected(std::move(store_key).error());
    }
    return Fail(Code::kSealed, "store " + options.directory + ": the root key (" +
                                   crypto::DescribeRootKeySource(parts.header.root_key_source) +
                                   ") does not open it; give the root key that it was made with");
  }
  StoreKeys keys(*store_key);
  TRY(CheckStoreHeaderMac(encoded, keys.header.Reveal()));
  crypto::SecretBuffer audit_key = crypto::SecretBuffer::CopyOf(keys.audit.Reveal());
  parts.store =
      std::make_unique<SecretStore>(*parts.env, std::move(keys), parts.header.realm, random);
  TRY(parts.store->Load());
  TRY_ASSIGN(std::vector<crypto::KeyRecord> kms_keys, parts.store->LoadKmsKeys());
  bool has_default = false;
  for (const crypto::KeyRecord& key : kms_keys) {
    TRY(parts.keyring.Load(key, root_key));
    if (key.alias != kDefaultKeyAlias) continue;
    parts.default_key = key.id;
    has_default = true;
  }
  if (!has_default) {
    return Fail(Code::kCorrupt, "store " + options.directory +
                                    ": its default KMS key is missing; "
                                    "restore the store from a backup");
  }
  TRY_ASSIGN(AuditTrail::Position checkpoint, parts.store->LoadAuditPosition());
  AuditTrail::Options audit = options.audit;
  if (audit.directory.empty()) audit.directory = options.directory + "/audit";
  TRY_ASSIGN(parts.trail,
             AuditTrail::Open(audit, std::move(audit_key), checkpoint.head, clock.NowMs(), random));
  parts.authorizer = authorizer != nullptr
                         ? std::move(authorizer)
                         : std::make_unique<OwnerAuthorizer>(parts.header.owner_uid);
  auto service = std::make_unique<LocalService>(std::move(parts), clock, random);
  TRY(service->Start());
  return service;
}

LocalService::LocalService(Parts parts, Clock& clock, crypto::RandomSource& random)
    : parts_(std::move(parts)),
      clock_(clock),
      random_(random),
      kms_key_arn_("arn:aws:kms:" + parts_.header.realm.region + ":" + parts_.header.realm.account +
                   ":key/" + crypto::FormatUuid(parts_.default_key)),
      change_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      position_stored_at_(clock.NowMs()) {}

LocalService::~LocalService() {
  // A store that was refused is not written to.
  if (!started_) return;
  LogFailure(MovePendingEvents());
  LogFailure(parts_.trail->Sync());
  LogFailure(StoreAuditPosition());
}

Status LocalService::Start() {
  uint64_t in_trail = parts_.trail->appended().outbox;
  TRY_ASSIGN(uint64_t next_outbox, parts_.store->NextOutbox());
  // Every event in the trail was committed first. A store that does not know it is an older state:
  // a restored backup, or a damaged LMDB meta page that made an old snapshot look new.
  if (next_outbox <= in_trail) {
    return Fail(Code::kCorrupt,
                "store " + parts_.env->directory() +
                    ": it is older than its audit trail, so changes are missing; if you restored "
                    "a backup on purpose, move the audit directory away and start again");
  }
  // Events that cannot be moved now (a full disk) stay in the outbox; before they were moved
  // nothing is revealed.
  if (Status moved = MovePendingEvents(); !moved && moved.error().code != Code::kUnavailable) {
    return moved;
  }
  if (const std::string problem = parts_.trail->problem(); !problem.empty()) {
    Log(LogLevel::kError, problem);
  }
  TRY_ASSIGN(AuditTrail::Position stored, parts_.store->LoadAuditPosition());
  stored_sequence_ = stored.head.sequence;
  started_ = true;
  return {};
}

// --- the common steps of a call

AuditEvent LocalService::NewEvent(const Caller& caller, Action action, std::string_view secret_id,
                                  const std::string& request_id) const {
  AuditEvent event;
  event.at = clock_.NowMs();
  event.action = action;
  event.door = caller.door;
  event.principal_arn = caller.principal.arn;
  event.uid = caller.principal.uid;
  event.gid = caller.principal.gid;
  event.pid = caller.pid;
  event.request_id = request_id;
  event.secret_id = secret_id;
  return event;
}

std::unexpected<Error> LocalService::Refuse(AuditEvent& event, Error error) {
  event.error_code = AwsErrorName(error.code);
  event.error_message = error.message;
  Status recorded = Record(ViewOf(event));
  if (!recorded) return std::unexpected(std::move(recorded).error());
  return std::unexpected(std::move(error));
}

Status LocalService::MovePendingEvents() {
  MutexLock lock(move_mutex_);
  uint64_t txn = parts_.env->LastTxnId();
  TRY_ASSIGN(std::vector<SecretStore::PendingEvent> events,
             parts_.store->PendingEvents(parts_.trail->appended().outbox));
  for (const SecretStore::PendingEvent& pending : events) {
    TRY(parts_.trail->Append(pending.event, pending.outbox));
  }
  moved_txn_ = txn;
  return {};
}

Status LocalService::MovePendingEventsIfAny() {
  if (parts_.env->LastTxnId() == moved_txn_.load()) return {};
  return MovePendingEvents();
}

Status LocalService::Record(const AuditEventView& event) {
  TRY(MovePendingEventsIfAny());
  Status recorded = parts_.trail->Append(event, 0);
  if (recorded || recorded.error().code != Code::kUnavailable) return recorded;
  // After a failed Sync() the trail wants the last mutations' events again first.
  TRY(MovePendingEvents());
  return parts_.trail->Append(event, 0);
}

Status LocalService::Decide(const Principal& principal, Action action, std::string_view resource,
                            std::optional<Action> kms_action) const {
  Decision decision = parts_.authorizer->Decide({principal, action, resource});
  if (!decision.allowed) {
    std::string text = "User: " + principal.arn + " is not authorized to perform: secretsmanager:";
    text.append(ActionName(action));
    if (!resource.empty()) text.append(" on resource: ").append(resource);
    text.append(" because ").append(decision.reason);
    return Fail(Code::kPermissionDenied, std::move(text));
  }
  if (kms_action && !parts_.authorizer->Decide({principal, *kms_action, kms_key_arn_}).allowed) {
    return Fail(Code::kPermissionDenied, "Access to KMS is not allowed");
  }
  return {};
}

Result<SecretPtr> LocalService::Resolve(const SecretReference& reference) const {
  TRY_ASSIGN(std::optional<PathId> path, parts_.store->FindPath(reference.name));
  if (!path) return SecretPtr();
  TRY_ASSIGN(SecretPtr secret, parts_.store->Load(*path));
  if (secret != nullptr && reference.suffix && *reference.suffix != secret->arn_suffix) {
    return SecretPtr();
  }
  return secret;
}

Result<SecretPtr> LocalService::Find(const Caller& caller, const std::string& secret_id,
                                     std::optional<Action> kms_action, AuditEvent& event) {
  auto reference = ParseSecretId(secret_id, realm());
  SecretPtr secret;
  if (reference) {
    TRY_ASSIGN(secret, Resolve(*reference));
  }
  if (secret != nullptr) event.resource_arn = secret->arn;
  TRY(Decide(caller.principal, event.action, secret ? event.resource_arn : secret_id, kms_action));
  if (!reference) return std::unexpected(std::move(reference).error());
  if (secret == nullptr) return Fail(Code::kNotFound, std::string(kCannotFind));
  return secret;
}

Result<SecretPtr> LocalService::FindLive(const Caller& caller, const std::string& secret_id,
                                         std::optional<Action> kms_action, AuditEvent& event) {
  TRY_ASSIGN(SecretPtr secret, Find(caller, secret_id, kms_action, event));
  if (secret->deletion_at) {
    return Fail(
        Code::kFailedPrecondition,
        "You can't perform this operation on the secret because it was marked for deletion.");
  }
  return secret;
}

Status LocalService::CommitWithEvent(SecretStore::Mutation& mutation, const AuditEvent& event) {
  TRY(mutation.AppendEvent(event));
  AuditTrail::Position position = parts_.trail->durable();
  TRY(mutation.SetAuditPosition(position));
  TRY(mutation.Commit());
  eventfd_write(change_.get(), 1);
  stored_sequence_ = position.head.sequence;
  // The change and its event are on the disk. If the trail cannot take the event now, it stays in
  // the outbox, and nothing is revealed before it was moved.
  LogFailure(MovePendingEvents());
  return {};
}

Status LocalService::StoreAuditPosition() {
  if (parts_.trail->durable().head.sequence == stored_sequence_) return {};
  TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, parts_.store->Begin());
  AuditTrail::Position position = parts_.trail->durable();
  TRY(mutation->SetAuditPosition(position));
  TRY(mutation->Commit());
  stored_sequence_ = position.head.sequence;
  return MovePendingEvents();
}

Result<Secret> LocalService::Reload(SecretStore::Mutation& mutation, const Secret& seen) const {
  TRY_ASSIGN(std::optional<Secret> secret, mutation.Load(seen.path));
  if (!secret || secret->arn_suffix != seen.arn_suffix) {
    return Fail(Code::kNotFound, std::string(kCannotFind));
  }
  return std::move(*secret);
}

SecretIdentity LocalService::IdentityOf(const Secret& secret) const {
  return {secret.arn, secret.name};
}

// --- changes, upkeep, health

Result<std::vector<Change>> LocalService::ChangesSince(uint64_t sequence, size_t limit) {
  return parts_.store->ChangesSince(sequence, limit);
}

Result<bool> LocalService::Purge(PathId path, TimeMs now) {
  static const Principal kService{"secretsmanager.amazonaws.com"};
  TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, parts_.store->Begin());
  TRY_ASSIGN(std::optional<Secret> secret, mutation->Load(path));
  // Restored, or scheduled anew, since the list was made.
  if (!secret || !secret->deletion_at || *secret->deletion_at > now) return false;
  AuditEvent event =
      NewEvent({kService, Door::kInternal}, Action::kDestroySecret, secret->name, "");
  event.resource_arn = secret->arn;
  TRY(mutation->RemoveSecret(*secret));
  TRY(mutation->AppendChange(path, ChangeKind::kRemoved, now));
  TRY(CommitWithEvent(*mutation, event));
  return true;
}

Result<size_t> LocalService::PurgeExpired() {
  constexpr size_t kBatch = 100;
  TimeMs now = clock_.NowMs();
  // Those that failed stay due, and must not fill the batch for ever.
  TRY_ASSIGN(std::vector<PathId> due, parts_.store->DueDeletions(now, kBatch + failed_purges_));
  size_t purged = 0;
  size_t failed = 0;
  for (PathId path : due) {
    auto done = Purge(path, now);
    if (done && *done) ++purged;
    if (done) continue;
    // The disk, not the record: the others would fail as well.
    if (done.error().code == Code::kUnavailable) return std::unexpected(std::move(done).error());
    ++failed;
    Log(LogLevel::kError,
        "a secret whose recovery window has passed cannot be destroyed: " + done.error().message);
  }
  failed_purges_ = failed;
  return purged;
}

void LocalService::Upkeep() {
  constexpr TimeMs kPositionIntervalMs = 60'000;
  LogFailure(MovePendingEvents());
  LogFailure(parts_.trail->Sync());
  // A commit costs a sync and the decoded metadata that is remembered, so not each time.
  TimeMs now = clock_.NowMs();
  TimeMs stored_at = position_stored_at_;
  if (now < stored_at || now - stored_at >= kPositionIntervalMs) {
    position_stored_at_ = now;
    LogFailure(StoreAuditPosition());
  }
  parts_.env->Trim();
}

SecretService::Health LocalService::GetHealth() {
  Health health;
  health.secrets = parts_.store->CountSecrets().value_or(0);
  health.last_txn = parts_.env->LastTxnId();
  health.last_change = parts_.store->LastChange().value_or(0);
  health.audit_head = parts_.trail->appended().head;
  health.audit_problem = parts_.trail->problem();
  return health;
}

Result<AuditReport> LocalService::ReadAudit(const Caller& caller, const AuditTrail::Visitor& visit,
                                            const std::string& request_id) {
  AuditEvent event = NewEvent(caller, Action::kReadAuditTrail, "", request_id);
  Decision decision = parts_.authorizer->Decide({caller.principal, Action::kReadAuditTrail, ""});
  if (!decision.allowed) {
    return Refuse(event, {Code::kPermissionDenied, "User: " + caller.principal.arn +
                                                       " is not authorized to read the audit trail "
                                                       "because " +
                                                       std::string(decision.reason)});
  }
  TRY(RecordSuccess(event));
  return parts_.trail->Read(visit);
}

}  // namespace secretfs::store
