// What happens by itself or to all keys at once.

#include <algorithm>

#include "crypto/base/log.h"
#include "store/local_kms.h"

namespace secretfs::store {
namespace {

constexpr size_t kDueAtOnce = 100;
constexpr int kRewrapTries = 5;

const Principal& Service() {
  static const Principal service{"kms.amazonaws.com"};
  return service;
}

}  // namespace

Result<size_t> LocalKms::RunDue() {
  const TimeMs now = Now();
  if (!upgraded_) {
    // A store of format 1 has no index of what is due, and one key.
    TRY_ASSIGN(const KmsKeyPtr key, records_.Load(default_key_));
    if (key == nullptr || key->DueAt().value_or(now + 1) > now) return 0;
    TRY(Upgrade());
  }
  // Those that failed stay due, and must not fill the batch for ever.
  TRY_ASSIGN(const std::vector<crypto::KeyId> due, records_.DueKeys(now, kDueAtOnce + failed_due_));
  size_t changed = 0;
  size_t failed = 0;
  for (const crypto::KeyId& key : due) {
    const auto done = RunDueOf(key, now);
    if (done) {
      changed += *done ? 1 : 0;
      continue;
    }
    // The disk, not the key: the others would fail as well.
    if (done.error().code == Code::kUnavailable) return std::unexpected(done.error());
    ++failed;
    Log(LogLevel::kError,
        "a KMS key's deletion, expiry or rotation is due and fails: " + done.error().message);
  }
  failed_due_ = failed;
  return changed;
}

Result<bool> LocalKms::RunDueOf(const crypto::KeyId& key, TimeMs now) {
  // Not what is remembered: the record decides.
  records_.Forget();
  TRY_ASSIGN(const KmsKeyPtr seen, records_.Load(key));
  if (seen == nullptr) return false;
  if (seen->deletion_at && *seen->deletion_at <= now) return DestroyKey(key, now);
  if (seen->ExpiryAt().value_or(now + 1) <= now) return ExpireMaterial(key, now);
  if (seen->DueAt().value_or(now + 1) <= now) return RotateDue(*seen, now);
  return false;
}

Result<bool> LocalKms::DestroyKey(const crypto::KeyId& key, TimeMs now) {
  TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, door_.Begin());
  TRY_ASSIGN(std::optional<KmsKey> doomed, records_.Load(*mutation, key));
  // Its deletion was cancelled, or scheduled anew, since the list was made.
  if (!doomed || !doomed->deletion_at || *doomed->deletion_at > now) return false;
  AuditEvent event = door_.NewEvent({Service(), Door::kInternal}, Action::kKmsDestroyKey,
                                    crypto::FormatUuid(key), "");
  event.resource_arn = doomed->arn;
  TRY(records_.RemoveKey(*mutation, *doomed));
  TRY(Announce(*mutation, key));
  TRY(Commit(*mutation, key, event));
  MutexLock lock(use_mutex_);
  uses_.erase(key);
  return true;
}

Result<bool> LocalKms::ExpireMaterial(const crypto::KeyId& key, TimeMs now) {
  TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, door_.Begin());
  TRY_ASSIGN(std::optional<KmsKey> record, records_.Load(*mutation, key));
  if (!record) return false;
  // What was never current encrypted nothing: nobody needs its id.
  bool expired = std::erase_if(record->materials, [now](const KeyMaterial& material) {
                   return material.state == MaterialState::kPendingRotation &&
                          material.valid_to.value_or(now + 1) <= now;
                 }) > 0;
  for (KeyMaterial& material : record->materials) {
    if (material.wrapped.empty() || material.valid_to.value_or(now + 1) > now) continue;
    material.wrapped.clear();
    material.valid_to.reset();
    expired = true;
  }
  if (!expired) return false;
  const bool was_usable = record->state == KeyState::kEnabled;
  if (record->state != KeyState::kPendingDeletion && !record->HasAllMaterial()) {
    record->state = KeyState::kPendingImport;
  }
  AuditEvent event = door_.NewEvent({Service(), Door::kInternal}, Action::kKmsExpireKeyMaterial,
                                    crypto::FormatUuid(key), "");
  event.resource_arn = record->arn;
  TRY(records_.PutKey(*mutation, *record));
  if (was_usable && record->state != KeyState::kEnabled) TRY(Announce(*mutation, key));
  TRY(Commit(*mutation, key, event));
  return true;
}

Result<bool> LocalKms::RotateDue(const KmsKey& seen, TimeMs now) {
  TRY_ASSIGN(const NewGeneration next, Generate(seen.id, seen.spec));
  TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, door_.Begin());
  TRY_ASSIGN(std::optional<KmsKey> key, records_.Load(*mutation, seen.id));
  const bool still_due = key && key->rotation_enabled && key->state == KeyState::kEnabled &&
                         key->next_rotation_at <= now;
  if (!still_due) return false;
  TRY(CheckRoot(next));
  key->Rotate(next.material, RotationType::kAutomatic, now);
  // What was missed, for the key was disabled or nobody had the store open, is caught up with once.
  const TimeMs period = key->rotation_period_days * kMsPerDay;
  key->next_rotation_at += ((now - key->next_rotation_at) / period + 1) * period;
  AuditEvent event = door_.NewEvent({Service(), Door::kInternal}, Action::kKmsRotateKey,
                                    crypto::FormatUuid(seen.id), "");
  event.resource_arn = key->arn;
  TRY(records_.PutKey(*mutation, *key));
  TRY(Commit(*mutation, seen.id, event));
  return true;
}

// --- a new root key

Result<bool> LocalKms::TryRewrap(const AuditEvent& event,
                                 const std::shared_ptr<crypto::RootKey>& next,
                                 const crypto::RootKeySource& source) {
  StoreHeader header;
  {
    MutexLock lock(root_mutex_);
    header = header_;
  }
  const std::shared_ptr<crypto::RootKey> current = root_key();
  // Before the transaction: none is held across a root key.
  const Bytes purpose = StoreKeyPurpose(header.store_id);
  TRY_ASSIGN(const crypto::SecretBuffer store_key,
             current->Unwrap(header.wrapped_store_key, purpose));
  TRY_ASSIGN(header.wrapped_store_key, next->Wrap(store_key, purpose));
  header.root_key_source = source;
  std::vector<Bytes> seen;
  std::vector<KmsKey> rewrapped;
  TRY(records_.VisitKeys([&](const KmsKey& key) -> Status {
    seen.push_back(EncodeKmsKey(key));
    rewrapped.push_back(key);
    return {};
  }));
  for (KmsKey& key : rewrapped) {
    for (KeyMaterial& material : key.materials) {
      if (material.wrapped.empty()) continue;
      TRY_ASSIGN(const crypto::SecretBuffer bytes,
                 crypto::UnwrapMaterial(*current, key.id, material.id, material.wrapped));
      TRY_ASSIGN(material.wrapped, crypto::WrapMaterial(*next, key.id, material.id, bytes));
    }
  }
  TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, door_.Begin());
  TRY_ASSIGN(const std::vector<KmsKey> now, records_.LoadAll(*mutation));
  const bool unchanged = std::ranges::equal(
      now, seen, [](const KmsKey& key, const Bytes& bytes) { return EncodeKmsKey(key) == bytes; });
  if (!unchanged) return false;
  for (const KmsKey& key : rewrapped) TRY(records_.PutKey(*mutation, key));
  TRY(mutation->PutHeader(header));
  // Whoever loads a key from the new snapshot must find the new root key, and the other way round:
  // between the two, nobody gets either.
  MutexLock lock(root_mutex_);
  const Status committed = door_.CommitWithEvent(*mutation, event);
  records_.Forget();
  TRY(committed);
  header_ = header;
  root_key_ = next;
  ++root_generation_;
  return true;
}

Status LocalKms::RewrapAll(const Caller& caller, std::shared_ptr<crypto::RootKey> root_key,
                           const crypto::RootKeySource& source, const std::string& request_id) {
  AuditEvent event = door_.NewEvent(caller, Action::kKmsRewrapKeys, "", request_id);
  return Audited(event, [&]() -> Status {
    TRY(Authorize(caller, event.action, "", ""));
    for (int i = 0; i < kRewrapTries; ++i) {
      TRY_ASSIGN(const bool done, TryRewrap(event, root_key, source));
      if (done) return {};
    }
    return Fail(Code::kConflict,
                "Keys were changed all the time while the root key was to be changed; try again.");
  });
}

}  // namespace secretfs::store
