#include "crypto/keyring.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "crypto/base/check.h"

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

Result<KeyRecord> NewKeyRecord(std::string alias, RootKey& root_key, TimeMs now,
                               RandomSource& random) {
  KeyRecord record{NewUuid(random), std::move(alias), now, {}};
  TRY(AddGeneration(record, root_key, now, random));
  return record;
}

Status AddGeneration(KeyRecord& record, RootKey& root_key, TimeMs now, RandomSource& random) {
  MaterialId id;
  random.Fill(id);
  SecretBuffer material(kAesKeyBytes);
  random.Fill(material.Writable());
  TRY_ASSIGN(Bytes wrapped, root_key.Wrap(material, MaterialPurpose(record.id, id)));
  record.materials.push_back({id, now, std::move(wrapped)});
  return {};
}

Status Keyring::Load(const KeyRecord& record, RootKey& root_key) {
  const std::string name = "KMS key " + FormatUuid(record.id);
  if (record.materials.empty()) return Fail(Code::kCorrupt, name + ": no key material");
  std::vector<Generation> generations;
  generations.reserve(record.materials.size());
  for (const WrappedMaterial& material : record.materials) {
    auto unwrapped = root_key.Unwrap(material.wrapped, MaterialPurpose(record.id, material.id));
    if (!unwrapped) {
      return Fail(unwrapped.error().code, name + ": unwrap key material " + ToHex(material.id) +
                                              ": " + unwrapped.error().message);
    }
    if (unwrapped->size() != kAesKeyBytes) {
      return Fail(Code::kCorrupt, name + ": key material has the wrong size");
    }
    generations.push_back({material.id, std::make_unique<Aead>(*std::move(unwrapped))});
  }
  keys_.insert_or_assign(record.id, std::move(generations));
  return {};
}

Result<Bytes> Keyring::Encrypt(const KeyId& key, const EncryptionContext& context,
                               const SecretBuffer& plaintext, RandomSource& random) const {
  const auto found = keys_.find(key);
  if (found == keys_.end()) {
    return Fail(Code::kKeyUnavailable, "no KMS key " + FormatUuid(key));
  }
  const Generation& newest = found->second.back();
  Bytes blob = BlobHeader(key, newest.id);
  const Bytes aad = BlobAad(blob, context);
  blob.resize(kBlobHeaderBytes + plaintext.size() + Aead::kOverheadBytes);
  std::array<uint8_t, kXaesNonceBytes> nonce;
  random.Fill(nonce);
  newest.aead->SealWithNonce(nonce, plaintext.Reveal(), aad,
                             std::span(blob).subspan(kBlobHeaderBytes));
  return blob;
}

Result<SecretBuffer> Keyring::Decrypt(ByteSpan blob, const EncryptionContext& context) const {
  ByteReader reader(blob);
  const uint8_t version = reader.U8();
  const ByteSpan key_bytes = reader.Raw(sizeof(KeyId));
  const ByteSpan material_bytes = reader.Raw(sizeof(MaterialId));
  if (reader.failed()) return Fail(Code::kCorrupt, "ciphertext blob is cut short");
  if (version != kBlobVersion) {
    return Fail(Code::kCorrupt,
                "ciphertext blob has the unknown version " + std::to_string(version));
  }
  const auto key = ToArray<sizeof(KeyId)>(key_bytes);
  const auto found = keys_.find(key);
  if (found == keys_.end()) {
    return Fail(Code::kKeyUnavailable, "no KMS key " + FormatUuid(key));
  }
  const auto generation = std::ranges::find_if(found->second, [&](const Generation& candidate) {
    return std::ranges::equal(candidate.id, material_bytes);
  });
  if (generation == found->second.end()) {
    return Fail(Code::kKeyUnavailable,
                "KMS key " + FormatUuid(key) + " has no key material " + ToHex(material_bytes));
  }
  return generation->aead->Open(blob.subspan(kBlobHeaderBytes),
                                BlobAad(blob.first(kBlobHeaderBytes), context));
}

}  // namespace secretfs::crypto
