#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/mutex.h"
#include "crypto/base/result.h"
#include "store/kms_grant.h"
#include "store/kms_key.h"
#include "store/kms_record.h"
#include "store/kms_requests.h"
#include "store/secret_store.h"

namespace secretfs::store {

// The records about KMS keys as objects: keys, aliases, grants, use, and the indexes over them. A
// part of a SecretStore, whose Mutation writes them. Remembers a bounded number of decoded keys and
// aliases until Forget(). Knows nothing of rules or audit; only local_kms.h uses it. Thread-safe.
class KmsStore {
 public:
  using Mutation = SecretStore::Mutation;

  // Both must outlive this.
  KmsStore(Env& env, SecretStore& records) : env_(env), records_(records) {}

  // --- reading
  // Null: there is no such key.
  Result<KmsKeyPtr> Load(const crypto::KeyId& key) const;
  Result<std::optional<Alias>> FindAlias(const std::string& name) const;
  // What was loaded before a commit became visible is not remembered after the Forget() that
  // follows the commit.
  void Forget();

  // Those with an id > `after` (null: all), in order; `visit` returns false to stop.
  Status ListKeys(const crypto::KeyId* after,
                  const std::function<bool(const crypto::KeyId&)>& visit) const;
  // Keys with their records, without remembering them.
  Status VisitKeys(const std::function<Status(const KmsKey&)>& visit) const;
  // In an order of their own. `cursor` is what `visit` got with an entry, empty for the start.
  using AliasVisitor = std::function<bool(ByteSpan cursor, const Alias& alias)>;
  Status ListAliases(const crypto::KeyId* key, ByteSpan cursor, const AliasVisitor& visit) const;
  using GrantVisitor = std::function<bool(ByteSpan cursor, const Grant& grant)>;
  Status ListGrants(const crypto::KeyId& key, ByteSpan cursor, const GrantVisitor& visit) const;
  Status ListRetirableGrants(const std::string& principal, ByteSpan cursor,
                             const GrantVisitor& visit) const;
  Result<std::optional<Grant>> LoadGrant(const crypto::KeyId& key, const GrantId& grant) const;
  Result<std::optional<KeyUse>> LoadUse(const crypto::KeyId& key) const;
  // Keys for which DueAt() has come, at most `limit`. Their own records decide.
  Result<std::vector<crypto::KeyId>> DueKeys(TimeMs now, size_t limit) const;
  // Secrets with a value under `key`, at most `limit`; none are known of the default key.
  Result<std::vector<PathId>> SecretsUnder(const crypto::KeyId& key, size_t limit) const;

  // --- inside a mutation, which sees its own writes
  Result<std::optional<KmsKey>> Load(Mutation& mutation, const crypto::KeyId& key) const;
  Result<std::optional<Alias>> FindAlias(Mutation& mutation, std::string_view name) const;
  Result<std::optional<Grant>> LoadGrant(Mutation& mutation, const crypto::KeyId& key,
                                         const GrantId& grant) const;
  // The grant with exactly these name and terms (all but id, issuer and time).
  Result<std::optional<Grant>> FindNamedGrant(Mutation& mutation, const Grant& terms) const;
  Result<std::vector<PathId>> SecretsUnder(Mutation& mutation, const crypto::KeyId& key,
                                           size_t limit) const;
  // All keys, for RewrapAll().
  Result<std::vector<KmsKey>> LoadAll(Mutation& mutation) const;

  // Errors of all: those of WriteTxn; kLimitExceeded where AWS has a quota.
  Status PutKey(Mutation& mutation, const KmsKey& key);
  // With its aliases, grants, use and indexes.
  Status RemoveKey(Mutation& mutation, const KmsKey& key);
  // A new one, or one with another target.
  Status PutAlias(Mutation& mutation, const Alias& alias);
  Status RemoveAlias(Mutation& mutation, const Alias& alias);
  Status PutGrant(Mutation& mutation, const Grant& grant);
  Status RemoveGrant(Mutation& mutation, const Grant& grant);
  Status PutUse(Mutation& mutation, const crypto::KeyId& key, const KeyUse& use);

  // Opaque, and its own each time: seals `plaintext` for `purpose` under the store's key.
  Bytes SealToken(std::string_view purpose, ByteSpan plaintext) const;
  // Errors: kCorrupt if SealToken() did not make it for this purpose.
  Result<crypto::SecretBuffer> OpenToken(std::string_view purpose, ByteSpan token) const;
  // A 32-byte keyed hash of `bytes`, for `purpose`.
  crypto::MaterialId KeyedHash(std::string_view purpose, ByteSpan bytes) const;

 private:
  Result<std::optional<KmsKey>> ReadKey(const ReadTxn& txn, const crypto::KeyId& key) const;
  Result<std::optional<Alias>> ReadAlias(const ReadTxn& txn, ByteSpan hash) const;
  Result<std::optional<Grant>> ReadGrant(const ReadTxn& txn, const crypto::KeyId& key,
                                         const GrantId& grant) const;
  Result<std::vector<PathId>> ReadSecretsUnder(const ReadTxn& txn, const crypto::KeyId& key,
                                               size_t limit) const;
  // The part of each key of the index that follows `prefix`, in order from `cursor` on (itself
  // left out); `visit` returns false to stop.
  Status ScanIndex(const ReadTxn& txn, const Bytes& prefix, ByteSpan cursor,
                   const std::function<Result<bool>(ByteSpan rest)>& visit) const;
  // Adds `change` to the counts of `key` and of the store, within the limits of `most`.
  Status Count(Mutation& mutation, const crypto::KeyId& key, uint32_t KmsCounts::* member,
               int change, size_t most);
  Bytes GrantNameKey(const Grant& grant) const;
  Bytes RetirableKey(const Grant& grant) const;
  Bytes AliasHash(std::string_view name) const;

  Env& env_;
  SecretStore& records_;

  mutable Mutex mutex_;
  mutable std::map<crypto::KeyId, KmsKeyPtr> keys_ GUARDED_BY(mutex_);
  mutable std::map<std::string, Alias, std::less<>> aliases_ GUARDED_BY(mutex_);
  mutable uint64_t epoch_ GUARDED_BY(mutex_) = 0;
};

}  // namespace secretfs::store
