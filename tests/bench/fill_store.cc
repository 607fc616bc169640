// Puts many secrets into a store that no daemon has open, thousands to a transaction.
//
//   fill_store STORE KEY_FILE COUNT
//
// Names are bench/<i / 1000>/s<i>, values 64 bytes. The daemon makes each write durable by itself,
// which would take minutes for a million.

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "crypto/envelope.h"
#include "store/kms_store.h"
#include "store/secret_store.h"
#include "store/store_header.h"
#include "store/table_key.h"

namespace {

using namespace secretfs;
using namespace secretfs::store;

constexpr int kPerTransaction = 5000;
constexpr int kPerDirectory = 1000;

// The key of a new store: alias/aws/secretsmanager.
class OnlyKey final : public crypto::KeySource {
 public:
  OnlyKey(const KmsStore& records, crypto::RootKey& root_key) : root_key_(root_key) {
    found_ = records.VisitKeys([this](const KmsKey& key) -> Status {
      key_ = key;
      return {};
    });
  }
  Result<crypto::KeyId> Find() const {
    TRY(found_);
    return key_.id;
  }
  Result<Material> Load(const crypto::KeyId& key, const crypto::MaterialId*) override {
    const KeyMaterial& material = key_.materials.front();
    TRY_ASSIGN(crypto::SecretBuffer bytes,
               crypto::UnwrapMaterial(root_key_, key, material.id, material.wrapped));
    return Material{material.id, key_.spec, std::move(bytes), std::nullopt};
  }

 private:
  crypto::RootKey& root_key_;
  Status found_;
  KmsKey key_;
};

Status Fill(const std::string& directory, const std::string& key_file, int count) {
  crypto::SystemRandom random;
  TRY_ASSIGN(auto root_key, crypto::OpenRootKey(crypto::KeyFileSource{key_file}, {}, random));
  TRY_ASSIGN(auto env, Env::Open(directory, Env::Mode::kOpen));
  std::optional<Bytes> encoded;
  {
    ReadTxn txn(*env);
    TRY_ASSIGN(encoded, txn.Get(Table::kMeta, HeaderKey()));
  }
  TRY_ASSIGN(StoreHeader header, DecodeStoreHeader(*encoded));
  TRY_ASSIGN(auto store_key,
             root_key->Unwrap(header.wrapped_store_key, StoreKeyPurpose(header.store_id)));
  SecretStore store(*env, StoreKeys(store_key), header.realm, random);
  TRY(store.Load());
  OnlyKey source(KmsStore(*env, store), *root_key);
  TRY_ASSIGN(const crypto::KeyId key, source.Find());
  store.SetDefaultKey(key);
  SystemClock clock;
  crypto::Keyring keyring(source, clock);

  crypto::SecretBuffer value = crypto::SecretBuffer::CopyOf(Bytes(64, 'x'));
  for (int first = 0; first < count; first += kPerTransaction) {
    TRY_ASSIGN(auto mutation, store.Begin());
    for (int i = first; i < std::min(first + kPerTransaction, count); ++i) {
      std::string text = "bench/" + std::to_string(i / kPerDirectory) + "/s" + std::to_string(i);
      TRY_ASSIGN(SecretName name, SecretName::Parse(text));
      Secret secret;
      secret.name = text;
      secret.arn_suffix = "AbCdEf";
      secret.kms_key = key;
      secret.created_at = secret.changed_at = header.created_at;
      TRY_ASSIGN(secret.path, mutation->EnsurePath(name));
      Version version;
      version.number = store.ReserveSelector();
      version.id = crypto::FormatUuid(crypto::NewUuid(random));
      version.created_at = header.created_at;
      version.kms_key = key;
      version.size_bytes = static_cast<uint32_t>(value.size());
      SelectorId number = version.number;
      std::string arn = SecretArn(header.realm, text, secret.arn_suffix);
      TRY_ASSIGN(
          Bytes envelope,
          crypto::SealEnvelope(keyring, key, {{"SecretARN", arn}, {"SecretVersionId", version.id}},
                               SecretStore::EnvelopePlace(number), value, random));
      TRY(secret.AddVersion(std::move(version), {}, header.created_at));
      TRY(mutation->PutVersion(number, secret.path, {}, envelope));
      TRY(mutation->PutSecret(secret));
    }
    TRY(mutation->Commit());
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s STORE KEY_FILE COUNT\n", argv[0]);
    return 2;
  }
  Status filled = Fill(argv[1], argv[2], std::atoi(argv[3]));
  if (!filled) std::fprintf(stderr, "%s\n", filled.error().message.c_str());
  return filled ? 0 : 1;
}
