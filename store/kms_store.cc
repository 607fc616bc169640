#include "store/kms_store.h"

#include <algorithm>

#include "crypto/kdf.h"
#include "store/table_key.h"

namespace secretfs::store {
namespace {

constexpr size_t kRememberedMax = 256;
constexpr crypto::KeyId kWholeStore{};

Bytes GrantKey(const crypto::KeyId& key, const GrantId& grant) {
  return ByteWriter(sizeof(key) + sizeof(grant)).Raw(key).Raw(grant).Take();
}

Bytes DueKey(TimeMs at, const crypto::KeyId& key) {
  return KmsIndexKey(KmsIndex::kDueKey).U64(static_cast<uint64_t>(at)).Raw(key).Take();
}

// The smallest key that follows `key`.
Bytes After(ByteSpan key) {
  return ByteWriter(key.size() + 1).Raw(key).U8(0).Take();
}

template <size_t N>
std::array<uint8_t, N> ToArray(ByteSpan bytes) {
  std::array<uint8_t, N> array{};
  std::ranges::copy(bytes.first(std::min(bytes.size(), N)), array.begin());
  return array;
}

}  // namespace

Bytes KmsStore::AliasHash(std::string_view name) const {
  return records_.TextHash(Table::kKmsAliases, name);
}

// --- keys

Result<std::optional<KmsKey>> KmsStore::ReadKey(const ReadTxn& txn,
                                                const crypto::KeyId& key) const {
  TRY_ASSIGN(std::optional<Bytes> bytes, records_.GetRecord(txn, Table::kKmsKeys, key));
  if (!bytes) return std::optional<KmsKey>();
  TRY_ASSIGN(KmsKey loaded, DecodeKmsKey(*bytes));
  loaded.arn = KeyArn(records_.realm_, key);
  return std::optional<KmsKey>(std::move(loaded));
}

Result<KmsKeyPtr> KmsStore::Load(const crypto::KeyId& key) const {
  uint64_t epoch = 0;
  {
    MutexLock lock(mutex_);
    epoch = epoch_;
    if (auto found = keys_.find(key); found != keys_.end()) return found->second;
  }
  ReadTxn txn(env_);
  TRY_ASSIGN(std::optional<KmsKey> read, ReadKey(txn, key));
  if (!read) return KmsKeyPtr();
  auto loaded = std::make_shared<const KmsKey>(std::move(*read));
  MutexLock lock(mutex_);
  if (epoch_ != epoch) return KmsKeyPtr(loaded);
  if (keys_.size() >= kRememberedMax) keys_.clear();
  keys_[key] = loaded;
  return KmsKeyPtr(loaded);
}

Result<std::optional<KmsKey>> KmsStore::Load(Mutation& mutation, const crypto::KeyId& key) const {
  return ReadKey(mutation.txn_->reader(), key);
}

void KmsStore::Forget() {
  MutexLock lock(mutex_);
  ++epoch_;
  keys_.clear();
  aliases_.clear();
}

Status KmsStore::ListKeys(const crypto::KeyId* after,
                          const std::function<bool(const crypto::KeyId&)>& visit) const {
  const Bytes from = after == nullptr ? Bytes() : After(*after);
  ReadTxn txn(env_);
  return txn.Scan(Table::kKmsKeys, from, [&](ByteSpan key, ByteSpan sealed) -> Result<bool> {
    // A key that was added to the file by others must not be listed.
    TRY(records_.OpenRecord(Table::kKmsKeys, key, sealed));
    return visit(ToArray<sizeof(crypto::KeyId)>(key));
  });
}

Status KmsStore::VisitKeys(const std::function<Status(const KmsKey&)>& visit) const {
  ReadTxn txn(env_);
  return txn.Scan(Table::kKmsKeys, {}, [&](ByteSpan key, ByteSpan sealed) -> Result<bool> {
    TRY_ASSIGN(Bytes bytes, records_.OpenRecord(Table::kKmsKeys, key, sealed));
    TRY_ASSIGN(KmsKey loaded, DecodeKmsKey(bytes));
    loaded.arn = KeyArn(records_.realm_, loaded.id);
    TRY(visit(loaded));
    return true;
  });
}

Result<std::vector<KmsKey>> KmsStore::LoadAll(Mutation& mutation) const {
  std::vector<KmsKey> keys;
  TRY(mutation.txn_->reader().Scan(
      Table::kKmsKeys, {}, [&](ByteSpan key, ByteSpan sealed) -> Result<bool> {
        TRY_ASSIGN(Bytes bytes, records_.OpenRecord(Table::kKmsKeys, key, sealed));
        TRY_ASSIGN(KmsKey loaded, DecodeKmsKey(bytes));
        loaded.arn = KeyArn(records_.realm_, loaded.id);
        keys.push_back(std::move(loaded));
        return true;
      }));
  return keys;
}

Status KmsStore::PutKey(Mutation& mutation, const KmsKey& key) {
  TRY_ASSIGN(std::optional<KmsKey> before, Load(mutation, key.id));
  if (!before && key.manager == KeyManager::kCustomer) {
    TRY(Count(mutation, kWholeStore, &KmsCounts::keys, 1, kKmsKeysMax));
  }
  const std::optional<TimeMs> was_due = before ? before->DueAt() : std::nullopt;
  const std::optional<TimeMs> due = key.DueAt();
  if (was_due && was_due != due) {
    TRY(mutation.txn_->Delete(Table::kKmsIndex, DueKey(*was_due, key.id)));
  }
  // Also where nothing changed: a store that becomes one of format 2 has no index yet.
  if (due) TRY(mutation.Put(Table::kKmsIndex, DueKey(*due, key.id), {}));
  return mutation.Put(Table::kKmsKeys, key.id, EncodeKmsKey(key));
}

Status KmsStore::RemoveKey(Mutation& mutation, const KmsKey& key) {
  const ReadTxn& reader = mutation.txn_->reader();
  std::vector<Alias> aliases;
  TRY(ScanIndex(reader, KmsIndexKey(KmsIndex::kAliasOfKey).Raw(key.id).Take(), {},
                [&](ByteSpan hash) -> Result<bool> {
                  TRY_ASSIGN(std::optional<Alias> alias, ReadAlias(reader, hash));
                  if (alias) aliases.push_back(std::move(*alias));
                  return true;
                }));
  for (const Alias& alias : aliases) TRY(RemoveAlias(mutation, alias));
  std::vector<Grant> grants;
  TRY(reader.Scan(Table::kKmsGrants, key.id, [&](ByteSpan place, ByteSpan sealed) -> Result<bool> {
    if (!std::ranges::equal(place.first(sizeof(key.id)), key.id)) return false;
    TRY_ASSIGN(Bytes bytes, records_.OpenRecord(Table::kKmsGrants, place, sealed));
    TRY_ASSIGN(Grant grant, DecodeGrant(bytes));
    grants.push_back(std::move(grant));
    return true;
  }));
  for (const Grant& grant : grants) TRY(RemoveGrant(mutation, grant));
  if (key.DueAt()) TRY(mutation.txn_->Delete(Table::kKmsIndex, DueKey(*key.DueAt(), key.id)));
  TRY(mutation.txn_->Delete(Table::kKmsIndex, KmsIndexKey(KmsIndex::kCounts).Raw(key.id).Take()));
  TRY(mutation.txn_->Delete(Table::kKmsUse, key.id));
  TRY(mutation.txn_->Delete(Table::kKmsKeys, key.id));
  if (key.manager != KeyManager::kCustomer) return {};
  return Count(mutation, kWholeStore, &KmsCounts::keys, -1, kKmsKeysMax);
}

Result<std::vector<crypto::KeyId>> KmsStore::DueKeys(TimeMs now, size_t limit) const {
  std::vector<crypto::KeyId> due;
  ReadTxn txn(env_);
  TRY(ScanIndex(txn, KmsIndexKey(KmsIndex::kDueKey).Take(), {}, [&](ByteSpan rest) -> Result<bool> {
    ByteReader in(rest);
    if (static_cast<TimeMs>(in.U64()) > now || due.size() == limit) return false;
    due.push_back(ToArray<sizeof(crypto::KeyId)>(in.Raw(sizeof(crypto::KeyId))));
    return true;
  }));
  return due;
}

// --- secrets under a key

Result<std::vector<PathId>> KmsStore::ReadSecretsUnder(const ReadTxn& txn, const crypto::KeyId& key,
                                                       size_t limit) const {
  std::vector<PathId> paths;
  TRY(ScanIndex(txn, KmsIndexKey(KmsIndex::kSecretUnderKey).Raw(key).Take(), {},
                [&](ByteSpan rest) -> Result<bool> {
                  if (paths.size() == limit) return false;
                  paths.push_back(ByteReader(rest).U64());
                  return true;
                }));
  return paths;
}

Result<std::vector<PathId>> KmsStore::SecretsUnder(const crypto::KeyId& key, size_t limit) const {
  ReadTxn txn(env_);
  return ReadSecretsUnder(txn, key, limit);
}

Result<std::vector<PathId>> KmsStore::SecretsUnder(Mutation& mutation, const crypto::KeyId& key,
                                                   size_t limit) const {
  return ReadSecretsUnder(mutation.txn_->reader(), key, limit);
}

Status KmsStore::ScanIndex(const ReadTxn& txn, const Bytes& prefix, ByteSpan cursor,
                           const std::function<Result<bool>(ByteSpan rest)>& visit) const {
  const Bytes from = cursor.empty() ? prefix : After(ByteWriter().Raw(prefix).Raw(cursor).bytes());
  return txn.Scan(Table::kKmsIndex, from, [&](ByteSpan key, ByteSpan sealed) -> Result<bool> {
    if (key.size() < prefix.size() || !std::ranges::equal(key.first(prefix.size()), prefix)) {
      return false;
    }
    TRY(records_.OpenRecord(Table::kKmsIndex, key, sealed));
    return visit(key.subspan(prefix.size()));
  });
}

Status KmsStore::Count(Mutation& mutation, const crypto::KeyId& key, uint32_t KmsCounts::* member,
                       int change, size_t most) {
  const Bytes place = KmsIndexKey(KmsIndex::kCounts).Raw(key).Take();
  TRY_ASSIGN(std::optional<Bytes> bytes,
             records_.GetRecord(mutation.txn_->reader(), Table::kKmsIndex, place));
  KmsCounts counts;
  if (bytes) {
    TRY_ASSIGN(counts, DecodeKmsCounts(*bytes));
  }
  uint32_t& count = counts.*member;
  if (change > 0 && count >= most) {
    return Fail(Code::kLimitExceeded,
                "The quota of " + std::to_string(most) + " has been reached.");
  }
  if (change < 0 && count == 0) return {};
  count += static_cast<uint32_t>(change);
  return mutation.Put(Table::kKmsIndex, place, EncodeKmsCounts(counts));
}

// --- aliases

Result<std::optional<Alias>> KmsStore::ReadAlias(const ReadTxn& txn, ByteSpan hash) const {
  TRY_ASSIGN(std::optional<Bytes> bytes, records_.GetRecord(txn, Table::kKmsAliases, hash));
  if (!bytes) return std::optional<Alias>();
  TRY_ASSIGN(Alias alias, DecodeAlias(*bytes));
  return std::optional<Alias>(std::move(alias));
}

Result<std::optional<Alias>> KmsStore::FindAlias(const std::string& name) const {
  uint64_t epoch = 0;
  {
    MutexLock lock(mutex_);
    epoch = epoch_;
    if (auto found = aliases_.find(name); found != aliases_.end()) {
      return std::optional<Alias>(found->second);
    }
  }
  ReadTxn txn(env_);
  TRY_ASSIGN(std::optional<Alias> alias, ReadAlias(txn, AliasHash(name)));
  if (!alias || alias->name != name) return std::optional<Alias>();
  MutexLock lock(mutex_);
  if (epoch_ != epoch) return alias;
  if (aliases_.size() >= kRememberedMax) aliases_.clear();
  aliases_[name] = *alias;
  return alias;
}

Result<std::optional<Alias>> KmsStore::FindAlias(Mutation& mutation, std::string_view name) const {
  return ReadAlias(mutation.txn_->reader(), AliasHash(name));
}

Status KmsStore::ListAliases(const crypto::KeyId* key, ByteSpan cursor,
                             const AliasVisitor& visit) const {
  ReadTxn txn(env_);
  if (key != nullptr) {
    return ScanIndex(txn, KmsIndexKey(KmsIndex::kAliasOfKey).Raw(*key).Take(), cursor,
                     [&](ByteSpan hash) -> Result<bool> {
                       TRY_ASSIGN(std::optional<Alias> alias, ReadAlias(txn, hash));
                       return !alias || visit(hash, *alias);
                     });
  }
  const Bytes from = cursor.empty() ? Bytes() : After(cursor);
  return txn.Scan(Table::kKmsAliases, from, [&](ByteSpan hash, ByteSpan sealed) -> Result<bool> {
    TRY_ASSIGN(Bytes bytes, records_.OpenRecord(Table::kKmsAliases, hash, sealed));
    TRY_ASSIGN(Alias alias, DecodeAlias(bytes));
    return visit(hash, alias);
  });
}

Status KmsStore::PutAlias(Mutation& mutation, const Alias& alias) {
  const Bytes hash = AliasHash(alias.name);
  TRY_ASSIGN(std::optional<Alias> before, ReadAlias(mutation.txn_->reader(), hash));
  if (before && before->target != alias.target) TRY(RemoveAlias(mutation, *before));
  if (!before || before->target != alias.target) {
    TRY(Count(mutation, alias.target, &KmsCounts::aliases, 1, kAliasesPerKeyMax));
  }
  TRY(mutation.Put(Table::kKmsIndex,
                   KmsIndexKey(KmsIndex::kAliasOfKey).Raw(alias.target).Raw(hash).Take(), {}));
  return mutation.Put(Table::kKmsAliases, hash, EncodeAlias(alias));
}

Status KmsStore::RemoveAlias(Mutation& mutation, const Alias& alias) {
  const Bytes hash = AliasHash(alias.name);
  TRY(mutation.txn_->Delete(Table::kKmsIndex,
                            KmsIndexKey(KmsIndex::kAliasOfKey).Raw(alias.target).Raw(hash).Take()));
  TRY(mutation.txn_->Delete(Table::kKmsAliases, hash));
  return Count(mutation, alias.target, &KmsCounts::aliases, -1, kAliasesPerKeyMax);
}

// --- grants

Bytes KmsStore::RetirableKey(const Grant& grant) const {
  return KmsIndexKey(KmsIndex::kRetirableGrant)
      .Raw(records_.TextHash(Table::kKmsGrants, grant.retiring_principal))
      .Raw(grant.key)
      .Raw(grant.id)
      .Take();
}

Bytes KmsStore::GrantNameKey(const Grant& grant) const {
  Grant terms = grant;
  terms.id = {};
  terms.issued_by.clear();
  terms.created_at = 0;
  const Bytes hash = records_.TextHash(Table::kKmsGrants, AsText(EncodeGrant(terms)));
  return KmsIndexKey(KmsIndex::kGrantByName).Raw(grant.key).Raw(hash).Take();
}

Result<std::optional<Grant>> KmsStore::ReadGrant(const ReadTxn& txn, const crypto::KeyId& key,
                                                 const GrantId& grant) const {
  TRY_ASSIGN(std::optional<Bytes> bytes,
             records_.GetRecord(txn, Table::kKmsGrants, GrantKey(key, grant)));
  if (!bytes) return std::optional<Grant>();
  TRY_ASSIGN(Grant loaded, DecodeGrant(*bytes));
  return std::optional<Grant>(std::move(loaded));
}

Result<std::optional<Grant>> KmsStore::LoadGrant(const crypto::KeyId& key,
                                                 const GrantId& grant) const {
  ReadTxn txn(env_);
  return ReadGrant(txn, key, grant);
}

Result<std::optional<Grant>> KmsStore::LoadGrant(Mutation& mutation, const crypto::KeyId& key,
                                                 const GrantId& grant) const {
  return ReadGrant(mutation.txn_->reader(), key, grant);
}

Result<std::optional<Grant>> KmsStore::FindNamedGrant(Mutation& mutation,
                                                      const Grant& terms) const {
  TRY_ASSIGN(std::optional<Bytes> id,
             records_.GetRecord(mutation.txn_->reader(), Table::kKmsIndex, GrantNameKey(terms)));
  if (!id) return std::optional<Grant>();
  return LoadGrant(mutation, terms.key, ToArray<sizeof(GrantId)>(*id));
}

Status KmsStore::ListGrants(const crypto::KeyId& key, ByteSpan cursor,
                            const GrantVisitor& visit) const {
  const Bytes prefix(key.begin(), key.end());
  const Bytes from = cursor.empty() ? prefix : After(ByteWriter().Raw(prefix).Raw(cursor).bytes());
  ReadTxn txn(env_);
  return txn.Scan(Table::kKmsGrants, from, [&](ByteSpan place, ByteSpan sealed) -> Result<bool> {
    if (!std::ranges::equal(place.first(prefix.size()), prefix)) return false;
    TRY_ASSIGN(Bytes bytes, records_.OpenRecord(Table::kKmsGrants, place, sealed));
    TRY_ASSIGN(Grant grant, DecodeGrant(bytes));
    return visit(place.subspan(prefix.size()), grant);
  });
}

Status KmsStore::ListRetirableGrants(const std::string& principal, ByteSpan cursor,
                                     const GrantVisitor& visit) const {
  const Bytes prefix = KmsIndexKey(KmsIndex::kRetirableGrant)
                           .Raw(records_.TextHash(Table::kKmsGrants, principal))
                           .Take();
  ReadTxn txn(env_);
  return ScanIndex(txn, prefix, cursor, [&](ByteSpan rest) -> Result<bool> {
    ByteReader in(rest);
    const auto key = ToArray<sizeof(crypto::KeyId)>(in.Raw(sizeof(crypto::KeyId)));
    const auto id = ToArray<sizeof(GrantId)>(in.Raw(sizeof(GrantId)));
    TRY_ASSIGN(std::optional<Grant> grant, ReadGrant(txn, key, id));
    return !grant || visit(rest, *grant);
  });
}

Status KmsStore::PutGrant(Mutation& mutation, const Grant& grant) {
  TRY(Count(mutation, grant.key, &KmsCounts::grants, 1, kGrantsPerKeyMax));
  if (!grant.name.empty()) TRY(mutation.Put(Table::kKmsIndex, GrantNameKey(grant), grant.id));
  if (!grant.retiring_principal.empty()) {
    TRY(mutation.Put(Table::kKmsIndex, RetirableKey(grant), {}));
  }
  return mutation.Put(Table::kKmsGrants, GrantKey(grant.key, grant.id), EncodeGrant(grant));
}

Status KmsStore::RemoveGrant(Mutation& mutation, const Grant& grant) {
  if (!grant.name.empty()) TRY(mutation.txn_->Delete(Table::kKmsIndex, GrantNameKey(grant)));
  if (!grant.retiring_principal.empty()) {
    TRY(mutation.txn_->Delete(Table::kKmsIndex, RetirableKey(grant)));
  }
  TRY(mutation.txn_->Delete(Table::kKmsGrants, GrantKey(grant.key, grant.id)));
  return Count(mutation, grant.key, &KmsCounts::grants, -1, kGrantsPerKeyMax);
}

// --- use, tokens

Result<std::optional<KeyUse>> KmsStore::LoadUse(const crypto::KeyId& key) const {
  ReadTxn txn(env_);
  TRY_ASSIGN(std::optional<Bytes> bytes, records_.GetRecord(txn, Table::kKmsUse, key));
  if (!bytes) return std::optional<KeyUse>();
  TRY_ASSIGN(KeyUse use, DecodeKeyUse(*bytes));
  return std::optional<KeyUse>(use);
}

Status KmsStore::PutUse(Mutation& mutation, const crypto::KeyId& key, const KeyUse& use) {
  return mutation.Put(Table::kKmsUse, key, EncodeKeyUse(use));
}

Bytes KmsStore::SealToken(std::string_view purpose, ByteSpan plaintext) const {
  const Bytes aad = ByteWriter().Sized("secretfs kms token v1").Sized(purpose).Take();
  return records_.keys_.records.Seal(plaintext, aad, records_.random_);
}

Result<crypto::SecretBuffer> KmsStore::OpenToken(std::string_view purpose, ByteSpan token) const {
  const Bytes aad = ByteWriter().Sized("secretfs kms token v1").Sized(purpose).Take();
  return records_.keys_.records.Open(token, aad);
}

crypto::MaterialId KmsStore::KeyedHash(std::string_view purpose, ByteSpan bytes) const {
  crypto::SecretBuffer message = crypto::SecretBuffer::CopyOf(
      ByteWriter().Sized("secretfs kms hash v1").Sized(purpose).bytes());
  message.Append(bytes);
  return crypto::HmacSha256(records_.keys_.names.Reveal(), message.Reveal());
}

}  // namespace secretfs::store
