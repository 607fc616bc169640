#include "crypto/envelope.h"

#include <string_view>
#include <utility>

#include "crypto/aead.h"
#include "crypto/base/check.h"

namespace secretfs::crypto {
namespace {

constexpr uint8_t kEnvelopeVersion = 1;
constexpr std::string_view kValuePurpose = "secretfs value v1";

Bytes ValueAad(ByteSpan place) {
  ByteWriter aad(2 * sizeof(uint32_t) + kValuePurpose.size() + place.size());
  aad.Sized(kValuePurpose).Sized(place);
  return aad.Take();
}

Bytes WithBlob(ByteSpan blob) {
  CHECK(blob.size() <= UINT16_MAX);
  ByteWriter header;
  header.U8(kEnvelopeVersion).U16(static_cast<uint16_t>(blob.size())).Raw(blob);
  return header.Take();
}

struct Parts {
  ByteSpan blob;
  ByteSpan rest;  // Nonce and sealed value.
};

Result<Parts> Split(ByteSpan envelope) {
  ByteReader reader(envelope);
  const uint8_t version = reader.U8();
  const ByteSpan blob = reader.Raw(reader.U16());
  const ByteSpan rest = reader.Raw(reader.remaining());
  if (reader.failed() || rest.size() < kGcmNonceBytes + kGcmTagBytes) {
    return Fail(Code::kCorrupt, "envelope is cut short");
  }
  if (version != kEnvelopeVersion) {
    return Fail(Code::kCorrupt, "envelope has the unknown version " + std::to_string(version));
  }
  return Parts{blob, rest};
}

}  // namespace

Result<Bytes> SealEnvelope(Keyring& keyring, const KeyId& key, const EncryptionContext& context,
                           ByteSpan place, const SecretBuffer& plaintext, RandomSource& random) {
  SecretBuffer data_key(kAesKeyBytes);
  random.Fill(data_key.Writable());
  TRY_ASSIGN(const Bytes blob, keyring.Encrypt(key, context, data_key, random));
  Bytes envelope = WithBlob(blob);
  const size_t nonce_offset = envelope.size();
  envelope.resize(nonce_offset + kGcmNonceBytes + plaintext.size() + kGcmTagBytes);
  const std::span<uint8_t> tail = std::span(envelope).subspan(nonce_offset);
  // The data key is new and encrypts this message only, so any nonce would do.
  random.Fill(tail.first(kGcmNonceBytes));
  GcmSeal(data_key.Reveal(), tail.first(kGcmNonceBytes), ValueAad(place), plaintext.Reveal(),
          tail.subspan(kGcmNonceBytes));
  return envelope;
}

Result<SecretBuffer> OpenEnvelope(Keyring& keyring, const EncryptionContext& context,
                                  ByteSpan place, ByteSpan envelope) {
  TRY_ASSIGN(const Parts parts, Split(envelope));
  const ByteSpan nonce = parts.rest.first(kGcmNonceBytes);
  const ByteSpan sealed = parts.rest.subspan(kGcmNonceBytes);
  TRY_ASSIGN(const SecretBuffer data_key, keyring.Decrypt(parts.blob, context));
  if (data_key.size() != kAesKeyBytes) {
    return Fail(Code::kCorrupt, "envelope's data key has the wrong size");
  }
  SecretBuffer plaintext = SecretBuffer::Unfilled(sealed.size() - kGcmTagBytes);
  TRY(GcmOpen(data_key.Reveal(), nonce, ValueAad(place), sealed, plaintext.Writable()));
  return plaintext;
}

Result<Bytes> RewrapEnvelope(Keyring& keyring, const KeyId& key, const EncryptionContext& context,
                             ByteSpan envelope, RandomSource& random) {
  TRY_ASSIGN(const Parts parts, Split(envelope));
  TRY_ASSIGN(const SecretBuffer data_key, keyring.Decrypt(parts.blob, context));
  TRY_ASSIGN(const Bytes blob, keyring.Encrypt(key, context, data_key, random));
  Bytes rewrapped = WithBlob(blob);
  rewrapped.insert(rewrapped.end(), parts.rest.begin(), parts.rest.end());
  return rewrapped;
}

std::optional<BlobOrigin> ReadEnvelopeOrigin(ByteSpan envelope) {
  const auto parts = Split(envelope);
  return parts ? ReadBlobOrigin(parts->blob) : std::nullopt;
}

}  // namespace secretfs::crypto
