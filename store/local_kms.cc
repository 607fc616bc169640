#include "store/local_kms.h"

#include <algorithm>

#include "crypto/aead.h"

namespace secretfs::store {
namespace {

constexpr size_t kGrantTokensMax = 10;
// More than the change feed keeps cannot be announced.
constexpr size_t kAnnouncedMax = 65'536;

// A root key that its owner keeps.
std::shared_ptr<crypto::RootKey> Borrow(crypto::RootKey& root_key) {
  return {&root_key, [](crypto::RootKey*) {}};
}

// Questions about a key, which everybody may be allowed to ask of one that AWS manages.
bool IsQuestion(Action action) {
  switch (action) {
    case Action::kKmsDescribeKey:
    case Action::kKmsGetKeyLastUsage:
    case Action::kKmsGetKeyPolicy:
    case Action::kKmsGetKeyRotationStatus:
    case Action::kKmsListAliases:
    case Action::kKmsListGrants:
    case Action::kKmsListKeyPolicies:
    case Action::kKmsListKeyRotations:
    case Action::kKmsListResourceTags:
      return true;
    default:
      return false;
  }
}

std::unexpected<Error> NoSuchKey(const std::string& arn) {
  return Fail(Code::kNotFound, "Key '" + arn + "' does not exist");
}

}  // namespace

LocalKms::LocalKms(AuditedStore& door, Env& env, SecretStore& store, StoreHeader header,
                   crypto::RootKey& root_key)
    : door_(door),
      store_(store),
      records_(env, store),
      realm_(header.realm),
      upgraded_(header.format_version >= 2),
      header_(std::move(header)),
      root_key_(Borrow(root_key)),
      ring_(*this, door.clock()) {}
LocalKms::~LocalKms() = default;

Status LocalKms::Create(SecretStore::Mutation& mutation, KmsStore& records, const Realm& realm,
                        crypto::RootKey& root_key, TimeMs now, crypto::RandomSource& random) {
  TRY(mutation.CreateTables());
  KmsKey key;
  key.id = crypto::NewUuid(random);
  key.arn = KeyArn(realm, key.id);
  key.description = kSecretsManagerKeyDescription;
  key.manager = KeyManager::kAws;
  key.created_at = now;
  key.rotation_enabled = true;
  key.next_rotation_at = now + kRotationPeriodDaysDefault * kMsPerDay;
  TRY_ASSIGN(crypto::WrappedMaterial wrapped, crypto::NewMaterial(key.id, root_key, random));
  KeyMaterial material;
  material.id = wrapped.id;
  material.created_at = now;
  material.wrapped = std::move(wrapped.wrapped);
  key.materials.push_back(std::move(material));
  TRY(records.PutKey(mutation, key));
  return records.PutAlias(mutation, {std::string(kSecretsManagerAlias), key.id, now, now});
}

Status LocalKms::Start() {
  const auto missing = [] {
    return Fail(Code::kCorrupt,
                "the store's default KMS key is missing; restore the store from a backup");
  };
  if (upgraded_) {
    TRY_ASSIGN(std::optional<Alias> alias, records_.FindAlias(std::string(kSecretsManagerAlias)));
    if (!alias) return missing();
    default_key_ = alias->target;
  } else {
    bool found = false;
    TRY(records_.VisitKeys([&](const KmsKey& key) -> Status {
      default_key_ = key.id;
      found = true;
      return {};
    }));
    if (!found) return missing();
  }
  store_.SetDefaultKey(default_key_);
  return ring_.Check(default_key_);
}

Status LocalKms::Upgrade() {
  if (upgraded_) return {};
  TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, door_.Begin());
  if (upgraded_) return {};  // Another thread was faster.
  TRY(mutation->CreateTables());
  TRY_ASSIGN(std::optional<KmsKey> key, records_.Load(*mutation, default_key_));
  if (!key) return NoSuchKey(ArnOf(default_key_));
  TRY(records_.PutKey(*mutation, *key));
  TRY(records_.PutAlias(
      *mutation, {std::string(kSecretsManagerAlias), key->id, key->created_at, key->created_at}));
  MutexLock lock(root_mutex_);
  StoreHeader header = header_;
  header.format_version = kFormatVersion;
  TRY(mutation->PutHeader(header));
  TRY(door_.CommitSilently(*mutation));
  header_ = std::move(header);
  records_.Forget();
  upgraded_ = true;
  return {};
}

// --- the keyring's source

Result<crypto::KeySource::Material> LocalKms::Load(const crypto::KeyId& key,
                                                   const crypto::MaterialId* material) {
  for (;;) {
    const uint64_t generation = root_generation_;
    auto loaded = Unwrap(key, material);
    // The record may be of before a change of the root key, and the root key of after it.
    if (loaded || generation == root_generation_) return loaded;
  }
}

Result<crypto::KeySource::Material> LocalKms::Unwrap(const crypto::KeyId& key,
                                                     const crypto::MaterialId* material) const {
  TRY_ASSIGN(KmsKeyPtr record, records_.Load(key));
  if (record == nullptr) {
    return Fail(Code::kKeyUnavailable, "the KMS key " + ArnOf(key) + " does not exist");
  }
  if (const Status usable = CheckState(*record, Action::kKmsDecrypt); !usable) {
    return Fail(Code::kKeyUnavailable, "the KMS key " + usable.error().message);
  }
  const KeyMaterial* wanted =
      material == nullptr ? record->Current() : record->FindMaterial(*material);
  if (wanted == nullptr || wanted->wrapped.empty()) {
    return Fail(Code::kKeyUnavailable,
                "the KMS key " + record->arn + " does not have this key material");
  }
  TRY_ASSIGN(crypto::SecretBuffer bytes,
             crypto::UnwrapMaterial(*root_key(), key, wanted->id, wanted->wrapped));
  return Material{wanted->id, record->spec, std::move(bytes), record->ValidTo()};
}

std::shared_ptr<crypto::RootKey> LocalKms::root_key() const {
  MutexLock lock(root_mutex_);
  return root_key_;
}

Result<LocalKms::NewGeneration> LocalKms::Wrap(const crypto::KeyId& key,
                                               const crypto::MaterialId& material,
                                               const crypto::SecretBuffer& bytes) const {
  NewGeneration made;
  made.root_generation = root_generation_;
  made.material.id = material;
  made.material.created_at = Now();
  TRY_ASSIGN(made.material.wrapped, crypto::WrapMaterial(*root_key(), key, material, bytes));
  return made;
}

Result<LocalKms::NewGeneration> LocalKms::Generate(const crypto::KeyId& key,
                                                   crypto::KeySpec spec) const {
  crypto::MaterialId id;
  door_.random_source().Fill(id);
  if (crypto::IsAsymmetric(spec)) {
    TRY_ASSIGN(crypto::AsymmetricKey pair, crypto::AsymmetricKey::Generate(spec));
    TRY_ASSIGN(NewGeneration made, Wrap(key, id, pair.ToPkcs8()));
    made.public_key = pair.PublicKeyDer();
    return made;
  }
  crypto::SecretBuffer bytes(crypto::MaterialBytes(spec));
  door_.random_source().Fill(bytes.Writable());
  return Wrap(key, id, bytes);
}

Status LocalKms::CheckRoot(const NewGeneration& generation) const {
  // Whoever changes the root key holds this until the new one is in use.
  MutexLock lock(root_mutex_);
  if (generation.root_generation == root_generation_) return {};
  return Fail(Code::kUnavailable, "the root key was changed at this moment; try again");
}

// --- the common steps

std::string LocalKms::ArnOf(const crypto::KeyId& key) const {
  return KeyArn(realm_, key);
}

Result<KmsKeyPtr> LocalKms::Resolve(const KeyReference& reference) const {
  if (reference.key) return records_.Load(*reference.key);
  if (!upgraded_) {
    return reference.alias == kSecretsManagerAlias ? records_.Load(default_key_) : KmsKeyPtr();
  }
  TRY_ASSIGN(std::optional<Alias> alias, records_.FindAlias(reference.alias));
  return alias ? records_.Load(alias->target) : KmsKeyPtr();
}

Status LocalKms::Authorize(const Caller& caller, Action action, std::string_view resource,
                           std::string_view shown) {
  TRY(door_.Decide(caller.principal, action, resource, shown));
  return Upgrade();
}

Result<KmsKeyPtr> LocalKms::Find(const Caller& caller, Action action, const std::string& key_id,
                                 Names names, AuditEvent& event) {
  const auto reference = ParseKeyReference(key_id, realm_);
  KmsKeyPtr key;
  if (reference && (reference->key || names == Names::kAll)) {
    TRY_ASSIGN(key, Resolve(*reference));
  }
  if (key != nullptr) event.resource_arn = key->arn;
  TRY(Authorize(caller, action, key != nullptr ? key->arn : key_id, key_id));
  if (!reference) return std::unexpected(reference.error());
  if (key == nullptr) {
    if (reference->key) return NoSuchKey(ArnOf(*reference->key));
    if (names == Names::kIdOrArn) {
      return Fail(Code::kNotFound, "Invalid keyId '" + key_id + "'");
    }
    return Fail(Code::kNotFound, "Alias " + AliasArn(realm_, reference->alias) + " is not found.");
  }
  if (key->manager == KeyManager::kAws && !IsQuestion(action)) {
    return Fail(Code::kPermissionDenied,
                "User: " + caller.principal.arn +
                    " is not authorized to perform: kms:" + std::string(ActionName(action)) +
                    " on resource: " + key->arn + " because AWS manages the key for secrets alone");
  }
  return key;
}

Result<KmsKey> LocalKms::EditKey(const KmsKey& seen, const AuditEvent& event, const KeyEdit& edit) {
  TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, door_.Begin());
  TRY_ASSIGN(KmsKey key, Reload(*mutation, seen));
  const bool was_usable = key.state == KeyState::kEnabled;
  TRY_ASSIGN(const bool changed, edit(key));
  if (!changed) {
    mutation.reset();
    TRY(door_.RecordSuccess(event));
    return key;
  }
  TRY(records_.PutKey(*mutation, key));
  if (was_usable != (key.state == KeyState::kEnabled)) TRY(Announce(*mutation, key.id));
  TRY(Commit(*mutation, key.id, event));
  return key;
}

Result<KmsKey> LocalKms::Reload(SecretStore::Mutation& mutation, const KmsKey& seen) const {
  TRY_ASSIGN(std::optional<KmsKey> key, records_.Load(mutation, seen.id));
  if (!key) return NoSuchKey(seen.arn);
  return std::move(*key);
}

Status LocalKms::Announce(SecretStore::Mutation& mutation, const crypto::KeyId& key) {
  TRY_ASSIGN(const std::vector<PathId> paths, records_.SecretsUnder(mutation, key, kAnnouncedMax));
  for (const PathId path : paths) TRY(mutation.AppendChange(path, ChangeKind::kKeyState, Now()));
  return {};
}

Status LocalKms::Commit(SecretStore::Mutation& mutation, const crypto::KeyId& key,
                        const AuditEvent& event) {
  const Status committed = door_.CommitWithEvent(mutation, event);
  records_.Forget();
  ring_.Forget(key);
  return committed;
}

Status LocalKms::CheckGrantTokens(const std::vector<std::string>& tokens) const {
  if (tokens.size() > kGrantTokensMax) {
    return Fail(Code::kValidation,
                "1 validation error detected: Value at 'grantTokens' failed to satisfy constraint: "
                "Member must have length less than or equal to 10");
  }
  // A token of another key is good, and of no use.
  for (const std::string& token : tokens) TRY(OpenGrantToken(token));
  return {};
}

// --- for secrets

Result<KmsKeyPtr> LocalKms::FindForSecret(const std::string& kms_key_id) const {
  if (kms_key_id.empty()) return records_.Load(default_key_);
  const auto reference = ParseKeyReference(kms_key_id, realm_);
  KmsKeyPtr key;
  if (reference) {
    TRY_ASSIGN(key, Resolve(*reference));
  }
  if (key == nullptr) {
    return Fail(Code::kInvalidArgument, "The KMS key " + kms_key_id +
                                            " does not exist; name a key by its id, ARN or alias.");
  }
  if (!key->symmetric()) {
    return Fail(Code::kInvalidArgument,
                "The KMS key " + kms_key_id +
                    " cannot encrypt secrets; use a key of spec SYMMETRIC_DEFAULT.");
  }
  return key;
}

Status LocalKms::CheckUsable(const crypto::KeyId& key) {
  return ring_.Check(key);
}

Status LocalKms::CheckUsable(SecretStore::Mutation& mutation, const crypto::KeyId& key) const {
  TRY_ASSIGN(const std::optional<KmsKey> record, records_.Load(mutation, key));
  if (!record) {
    return Fail(Code::kCannotEncrypt, "the KMS key " + ArnOf(key) + " does not exist");
  }
  if (const Status usable = CheckState(*record, Action::kKmsEncrypt); !usable) {
    return Fail(Code::kCannotEncrypt, "the KMS key " + usable.error().message);
  }
  return {};
}

Result<std::vector<std::string>> LocalKms::SecretNames(const crypto::KeyId& key) const {
  TRY_ASSIGN(const std::vector<PathId> paths, records_.SecretsUnder(key, kSecretNamesShownMax));
  std::vector<std::string> names;
  for (const PathId path : paths) {
    TRY_ASSIGN(const SecretPtr secret, store_.Load(path));
    if (secret != nullptr) names.push_back(secret->name);
  }
  return names;
}

}  // namespace secretfs::store
