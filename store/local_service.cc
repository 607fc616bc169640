#include "store/local_service.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "crypto/base/log.h"
#include "store/table_key.h"

namespace secretfs::store {
namespace {

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
  SecretStore store(env, StoreKeys(store_key), realm, random);
  KmsStore kms(env, store);
  TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, store.Begin());
  TRY(mutation->PutHeader(header));
  TRY(LocalKms::Create(*mutation, kms, realm, root_key, header.created_at, random));
  return mutation->Commit();
}

Error MarkedForDeletion() {
  return {Code::kFailedPrecondition,
          "You can't perform this operation on the secret because it was marked for deletion."};
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
  TRY_ASSIGN(AuditTrail::Position checkpoint, parts.store->LoadAuditPosition());
  AuditTrail::Options audit = options.audit;
  if (audit.directory.empty()) audit.directory = options.directory + "/audit";
  TRY_ASSIGN(parts.trail,
             AuditTrail::Open(audit, std::move(audit_key), checkpoint.head, clock.NowMs(), random));
  parts.authorizer = authorizer != nullptr
                         ? std::move(authorizer)
                         : std::make_unique<OwnerAuthorizer>(parts.header.owner_uid);
  auto service = std::make_unique<LocalService>(std::move(parts), root_key, clock, random);
  TRY(service->Start());
  return service;
}

LocalService::LocalService(Parts parts, crypto::RootKey& root_key, Clock& clock,
                           crypto::RandomSource& random)
    : parts_(std::move(parts)),
      clock_(clock),
      random_(random),
      door_({*parts_.env, *parts_.store, *parts_.trail, *parts_.authorizer}, clock, random),
      kms_(door_, *parts_.env, *parts_.store, parts_.header, root_key) {}

LocalService::~LocalService() {
  if (started_) LogFailure(kms_.SaveUses());
  door_.End();
}

Status LocalService::Start() {
  if (Status started = kms_.Start(); !started) {
    started.error().message = "store " + parts_.env->directory() + ": " + started.error().message;
    return started;
  }
  default_key_arn_ = kms_.ArnOf(kms_.default_key());
  TRY(door_.Start());
  started_ = true;
  return {};
}

// --- the common steps of a call

Status LocalService::DecideKms(const Principal& principal, Action action,
                               const crypto::KeyId& key) const {
  // Nearly always the default key; its ARN costs nothing.
  const bool allowed =
      key == kms_.default_key()
          ? parts_.authorizer->Decide({principal, action, default_key_arn_}).allowed
          : parts_.authorizer->Decide({principal, action, kms_.ArnOf(key)}).allowed;
  if (allowed) return {};
  return Fail(Code::kPermissionDenied, "Access to KMS is not allowed");
}

Status LocalService::DecideOn(const Principal& principal, Action action, const Secret& secret,
                              const crypto::KeyId& key) const {
  TRY(Decide(principal, action, secret.arn));
  if (action != Action::kGetSecretValue) return {};
  return DecideKms(principal, Action::kKmsDecrypt, key);
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
                                     AuditEvent& event) {
  auto reference = ParseSecretId(secret_id, realm());
  SecretPtr secret;
  if (reference) {
    TRY_ASSIGN(secret, Resolve(*reference));
  }
  if (secret != nullptr) event.resource_arn = secret->arn;
  TRY(Decide(caller.principal, event.action, secret ? event.resource_arn : secret_id));
  if (!reference) return std::unexpected(std::move(reference).error());
  if (secret == nullptr) return Fail(Code::kNotFound, std::string(kCannotFind));
  return secret;
}

Result<SecretPtr> LocalService::FindLive(const Caller& caller, const std::string& secret_id,
                                         AuditEvent& event) {
  TRY_ASSIGN(SecretPtr secret, Find(caller, secret_id, event));
  if (secret->deletion_at) return std::unexpected(MarkedForDeletion());
  return secret;
}

Result<Secret> LocalService::Reload(SecretStore::Mutation& mutation, const Secret& seen) const {
  TRY_ASSIGN(std::optional<Secret> secret, mutation.Load(seen.path));
  if (!secret || secret->arn_suffix != seen.arn_suffix) {
    return Fail(Code::kNotFound, std::string(kCannotFind));
  }
  return std::move(*secret);
}

Result<Secret> LocalService::ReloadLive(SecretStore::Mutation& mutation, const Secret& seen) const {
  TRY_ASSIGN(Secret secret, Reload(mutation, seen));
  if (secret.deletion_at) return std::unexpected(MarkedForDeletion());
  return secret;
}

Result<SecretPtr> LocalService::LoadAgain(const Secret& seen) const {
  TRY_ASSIGN(SecretPtr secret, parts_.store->Load(seen.path));
  if (secret == nullptr || secret->arn_suffix != seen.arn_suffix) {
    return Fail(Code::kNotFound, std::string(kCannotFind));
  }
  if (secret->deletion_at) return std::unexpected(MarkedForDeletion());
  return secret;
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
  // Secrets must not wait for a key whose turn fails.
  if (const auto done = kms_.RunDue(); !done) LogFailure(std::unexpected(done.error()));
  LogFailure(kms_.SaveUses());
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
  door_.Upkeep();
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
