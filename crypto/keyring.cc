#include "crypto/keyring.h"

#include <algorithm>
#include <iterator>
#include <list>
#include <map>
#include <string_view>
#include <utility>
#include <variant>

#include "crypto/aead.h"
#include "crypto/base/check.h"
#include "crypto/base/mutex.h"

namespace secretfs::crypto {
namespace {

constexpr uint8_t kBlobVersion = 1;
constexpr size_t kBlobHeaderBytes = 1 + sizeof(KeyId) + sizeof(MaterialId);
constexpr std::string_view kMaterialPurpose = "secretfs kms material v1";

// Binds wrapped material to its key and generation, so that a store's records cannot be exchanged
// for one another.
Bytes MaterialPurpose(const KeyId& key, const MaterialId& material) {
  ByteWriter purpose;
  purpose.Sized(kMaterialPurpose).Raw(key).Raw(material);
  return purpose.Take();
}

Bytes BlobHeader(const KeyId& key, const MaterialId& material) {
  ByteWriter header(kBlobHeaderBytes);
  header.U8(kBlobVersion).Raw(key).Raw(material);
  return header.Take();
}

size_t EncodedBytes(const EncryptionContext& context) {
  size_t size = sizeof(uint16_t);
  for (const auto& [name, value] : context) {
    size += 2 * sizeof(uint32_t) + name.size() + value.size();
  }
  return size;
}

void WriteContext(ByteWriter& out, const EncryptionContext& context) {
  CHECK(context.size() <= UINT16_MAX);
  out.U16(static_cast<uint16_t>(context.size()));
  // The map's order is that of std::string_view::compare(): by bytes as unsigned char.
  for (const auto& [name, value] : context) out.Sized(name).Sized(value);
}

Bytes BlobAad(ByteSpan header, const EncryptionContext& context) {
  ByteWriter aad(header.size() + EncodedBytes(context));
  aad.Raw(header);
  WriteContext(aad, context);
  return aad.Take();
}

template <size_t kSize>
std::array<uint8_t, kSize> ToArray(ByteSpan bytes) {
  std::array<uint8_t, kSize> array{};
  CHECK(bytes.size() == kSize);
  std::ranges::copy(bytes, array.begin());
  return array;
}

}  // namespace

std::string FormatUuid(const std::array<uint8_t, 16>& uuid) {
  std::string text = ToHex(uuid);
  for (size_t position : {8, 13, 18, 23}) text.insert(position, 1, '-');
  return text;
}

std::array<uint8_t, 16> NewUuid(RandomSource& random) {
  std::array<uint8_t, 16> uuid;
  random.Fill(uuid);
  uuid[6] = static_cast<uint8_t>(0x40 | (uuid[6] & 0x0f));
  uuid[8] = static_cast<uint8_t>(0x80 | (uuid[8] & 0x3f));
  return uuid;
}

Bytes EncodeEncryptionContext(const EncryptionContext& context) {
  ByteWriter encoded(EncodedBytes(context));
  WriteContext(encoded, context);
  return encoded.Take();
}

Result<Bytes> WrapMaterial(RootKey& root_key, const KeyId& key, const MaterialId& material,
                           const SecretBuffer& bytes) {
  return root_key.Wrap(bytes, MaterialPurpose(key, material));
}

Result<SecretBuffer> UnwrapMaterial(RootKey& root_key, const KeyId& key, const MaterialId& material,
                                    ByteSpan wrapped) {
  auto unwrapped = root_key.Unwrap(wrapped, MaterialPurpose(key, material));
  if (unwrapped) return unwrapped;
  return Fail(unwrapped.error().code, "KMS key " + FormatUuid(key) + ": unwrap key material " +
                                          ToHex(material) + ": " + unwrapped.error().message);
}

Result<WrappedMaterial> NewMaterial(const KeyId& key, RootKey& root_key, RandomSource& random) {
  WrappedMaterial material;
  random.Fill(material.id);
  SecretBuffer bytes(kAesKeyBytes);
  random.Fill(bytes.Writable());
  TRY_ASSIGN(material.wrapped, WrapMaterial(root_key, key, material.id, bytes));
  return material;
}

std::optional<BlobOrigin> ReadBlobOrigin(ByteSpan blob) {
  ByteReader reader(blob);
  const uint8_t version = reader.U8();
  const ByteSpan key = reader.Raw(sizeof(KeyId));
  const ByteSpan material = reader.Raw(sizeof(MaterialId));
  if (reader.failed() || version != kBlobVersion) return std::nullopt;
  return BlobOrigin{ToArray<sizeof(KeyId)>(key), ToArray<sizeof(MaterialId)>(material)};
}

// --- the ring

struct Keyring::Held {
  MaterialId id;
  std::optional<TimeMs> valid_to;
  std::variant<Aead, AsymmetricKey, MacKey> object;
};

struct Keyring::Slots {
  using Name = std::pair<KeyId, MaterialId>;
  struct Slot {
    Name name;
    HeldPtr held;
  };
  using Place = std::list<Slot>::iterator;

  mutable Mutex mutex;
  std::list<Slot> by_use GUARDED_BY(mutex);  // The one used last is the first.
  std::map<Name, Place> held GUARDED_BY(mutex);
  // Which generation is a key's current one, if that is held.
  std::map<KeyId, MaterialId> current GUARDED_BY(mutex);
  // Goes up whenever something is forgotten.
  uint64_t epoch GUARDED_BY(mutex) = 0;

  // `material` null: the current one. Null if it is not held.
  HeldPtr Use(const KeyId& key, const MaterialId* material) REQUIRES(mutex) {
    if (material == nullptr) {
      const auto known = current.find(key);
      if (known == current.end()) return nullptr;
      material = &known->second;
    }
    const auto found = held.find({key, *material});
    if (found == held.end()) return nullptr;
    by_use.splice(by_use.begin(), by_use, found->second);
    return found->second->held;
  }
  void Erase(Place place) REQUIRES(mutex) {
    const auto known = current.find(place->name.first);
    if (known != current.end() && known->second == place->name.second) current.erase(known);
    held.erase(place->name);
    by_use.erase(place);
  }
  void Hold(const Name& name, HeldPtr object, size_t capacity) REQUIRES(mutex) {
    if (const auto found = held.find(name); found != held.end()) {
      found->second->held = std::move(object);
      by_use.splice(by_use.begin(), by_use, found->second);
      return;
    }
    while (by_use.size() >= capacity) Erase(std::prev(by_use.end()));
    by_use.push_front({name, std::move(object)});
    held.emplace(name, by_use.begin());
  }
};

Keyring::Keyring(KeySource& source, const Clock& clock, size_t capacity)
    : source_(source), clock_(clock), capacity_(capacity), slots_(std::make_unique<Slots>()) {}
Keyring::~Keyring() = default;

Result<Keyring::HeldPtr> Keyring::Prepare(const KeyId& key, KeySource::Material material) {
  const auto damaged = [&] {
    return Fail(Code::kCorrupt, "KMS key " + FormatUuid(key) + ": key material " +
                                    ToHex(material.id) + " does not fit its key spec");
  };
  const auto hold = [&](auto object) -> HeldPtr {
    return std::make_shared<const Held>(Held{material.id, material.valid_to, std::move(object)});
  };
  if (material.spec == KeySpec::kSymmetricDefault) {
    if (material.bytes.size() != kAesKeyBytes) return damaged();
    return hold(Aead(std::move(material.bytes)));
  }
  if (IsAsymmetric(material.spec)) {
    auto pair = AsymmetricKey::FromOwnPkcs8(material.spec, material.bytes);
    if (!pair) return damaged();
    return hold(*std::move(pair));
  }
  auto mac = MacKey::FromMaterial(material.spec, std::move(material.bytes));
  if (!mac) return damaged();
  return hold(*std::move(mac));
}

Result<Keyring::HeldPtr> Keyring::Find(const KeyId& key, const MaterialId* material) {
  uint64_t epoch = 0;
  HeldPtr held;
  {
    MutexLock lock(slots_->mutex);
    epoch = slots_->epoch;
    held = slots_->Use(key, material);
  }
  if (held != nullptr && (!held->valid_to || clock_.NowMs() < *held->valid_to)) return held;

  TRY_ASSIGN(KeySource::Material loaded, source_.Load(key, material));
  TRY_ASSIGN(held, Prepare(key, std::move(loaded)));
  MutexLock lock(slots_->mutex);
  // Something was forgotten while the source was asked: what it gave may be older.
  if (slots_->epoch != epoch) return held;
  slots_->Hold({key, held->id}, held, capacity_);
  if (material == nullptr) slots_->current[key] = held->id;
  return held;
}

void Keyring::Forget(const KeyId& key) {
  MutexLock lock(slots_->mutex);
  ++slots_->epoch;
  auto next = slots_->held.lower_bound({key, MaterialId{}});
  while (next != slots_->held.end() && next->first.first == key) {
    slots_->Erase((next++)->second);
  }
}

size_t Keyring::size() const {
  MutexLock lock(slots_->mutex);
  return slots_->by_use.size();
}

Status Keyring::Check(const KeyId& key) {
  TRY(Find(key, nullptr));
  return {};
}

namespace {

std::unexpected<Error> WrongKind(const KeyId& key) {
  return Fail(Code::kInvalidKeyUsage, "KMS key " + FormatUuid(key) + " is of another kind");
}

}  // namespace

Result<std::shared_ptr<const AsymmetricKey>> Keyring::FindKeyPair(const KeyId& key) {
  TRY_ASSIGN(const HeldPtr held, Find(key, nullptr));
  const auto* pair = std::get_if<AsymmetricKey>(&held->object);
  if (pair == nullptr) return WrongKind(key);
  return std::shared_ptr<const AsymmetricKey>(held, pair);
}

Result<std::shared_ptr<const MacKey>> Keyring::FindMacKey(const KeyId& key) {
  TRY_ASSIGN(const HeldPtr held, Find(key, nullptr));
  const auto* mac = std::get_if<MacKey>(&held->object);
  if (mac == nullptr) return WrongKind(key);
  return std::shared_ptr<const MacKey>(held, mac);
}

Result<Bytes> Keyring::Encrypt(const KeyId& key, const EncryptionContext& context,
                               const SecretBuffer& plaintext, RandomSource& random) {
  TRY_ASSIGN(const HeldPtr current, Find(key, nullptr));
  const auto* aead = std::get_if<Aead>(&current->object);
  if (aead == nullptr) return WrongKind(key);
  Bytes blob = BlobHeader(key, current->id);
  const Bytes aad = BlobAad(blob, context);
  blob.resize(kBlobHeaderBytes + plaintext.size() + Aead::kOverheadBytes);
  std::array<uint8_t, kXaesNonceBytes> nonce;
  random.Fill(nonce);
  aead->SealWithNonce(nonce, plaintext.Reveal(), aad, std::span(blob).subspan(kBlobHeaderBytes));
  return blob;
}

Result<SecretBuffer> Keyring::Decrypt(ByteSpan blob, const EncryptionContext& context) {
  const auto origin = ReadBlobOrigin(blob);
  if (!origin) return Fail(Code::kCorrupt, "not a ciphertext blob of a known version");
  TRY_ASSIGN(const HeldPtr held, Find(origin->key, &origin->material));
  const auto* aead = std::get_if<Aead>(&held->object);
  if (aead == nullptr) return Fail(Code::kCorrupt, "ciphertext blob of a key that makes none");
  return aead->Open(blob.subspan(kBlobHeaderBytes), BlobAad(blob.first(kBlobHeaderBytes), context));
}

}  // namespace secretfs::crypto
