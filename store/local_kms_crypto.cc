// Encryption and decryption, and keys and random bytes for others' use.

#include <algorithm>

#include "crypto/base64.h"
#include "store/local_kms.h"
#include "store/secret_name.h"

namespace secretfs::store {
namespace {

using crypto::EncryptionAlgorithm;
using crypto::KeyUsage;

constexpr size_t kEncryptionContextBytesMax = 8192;
constexpr int64_t kRandomBytesMax = 1024;
constexpr int64_t kAes128KeyBytes = 16;
constexpr int64_t kAes256KeyBytes = 32;

std::unexpected<Error> Invalid(const std::string& member, const std::string& rule) {
  return Fail(Code::kValidation, "1 validation error detected: Value at '" + member +
                                     "' failed to satisfy constraint: " + rule);
}

Status CheckSize(size_t size, size_t most, const std::string& member) {
  if (size == 0) return Invalid(member, "Member must have length greater than or equal to 1");
  if (size <= most) return {};
  return Invalid(member, "Member must have length less than or equal to " + std::to_string(most));
}

Status CheckContext(const ContextMap& context) {
  size_t size = 0;
  for (const auto& [name, value] : context) {
    size += name.size() + value.size();
    if (!IsValidUtf8(name) || !IsValidUtf8(value)) {
      return Invalid("encryptionContext", "Member must be valid UTF-8");
    }
  }
  if (size <= kEncryptionContextBytesMax && context.size() <= UINT16_MAX) return {};
  return Invalid("encryptionContext", "Member must have at most 8192 bytes of names and values");
}

// By reference, as the crypto room takes it.
crypto::EncryptionContext ViewOf(const ContextMap& context) {
  return {context.begin(), context.end()};
}

std::unexpected<Error> InvalidCiphertext() {
  return Fail(Code::kInvalidCiphertext, "");  // AWS says no more.
}

std::unexpected<Error> WouldSucceed() {
  return Fail(Code::kDryRun, "The request would have succeeded, but the DryRun option is set.");
}

std::string MaterialOf(ByteSpan blob) {
  const auto origin = crypto::ReadBlobOrigin(blob);
  return origin ? ToHex(origin->material) : "";
}

Result<int64_t> DataKeyBytes(const GenerateDataKeyRequest& request) {
  if (request.key_spec.has_value() == request.number_of_bytes.has_value()) {
    return Fail(Code::kValidation, "Please specify either number of bytes or key spec.");
  }
  if (request.key_spec) {
    return *request.key_spec == DataKeySpec::kAes128 ? kAes128KeyBytes : kAes256KeyBytes;
  }
  if (*request.number_of_bytes < 1 || *request.number_of_bytes > kRandomBytesMax) {
    return Invalid("numberOfBytes", "Member must have value between 1 and 1024");
  }
  return *request.number_of_bytes;
}

}  // namespace

Result<KmsKeyPtr> LocalKms::FindFor(const Caller& caller, Action action, const std::string& key_id,
                                    const CryptoOptions& options, KeyUsage usage,
                                    AuditEvent& event) {
  TRY_ASSIGN(KmsKeyPtr key, Find(caller, action, key_id, Names::kAll, event));
  TRY(CheckGrantTokens(options.grant_tokens));
  TRY(CheckState(*key, action));
  if (key->usage == usage) return key;
  return Fail(Code::kInvalidKeyUsage,
              key->arn + " key usage is " + std::string(crypto::NameOf(key->usage)) +
                  " which is not valid for " + std::string(ActionName(event.action)) + ".");
}

Status LocalKms::CheckCryption(const KmsKey& key, const Cryption& how) const {
  const auto algorithms = crypto::EncryptionAlgorithmsOf(key.spec, key.usage);
  if (std::ranges::find(algorithms, how.algorithm) == algorithms.end()) {
    return Fail(Code::kInvalidKeyUsage, "Algorithm " + std::string(crypto::NameOf(how.algorithm)) +
                                            " is incompatible with key spec " +
                                            std::string(crypto::NameOf(key.spec)) + ".");
  }
  TRY(CheckContext(how.context));
  if (!key.symmetric() && !how.context.empty()) {
    return Fail(Code::kValidation, "EncryptionContext is for symmetric encryption keys alone; " +
                                       key.arn + " is asymmetric.");
  }
  return {};
}

Result<Bytes> LocalKms::EncryptUnder(const KmsKey& key, const Cryption& how,
                                     const crypto::SecretBuffer& plaintext) {
  if (key.symmetric())
    return ring_.Encrypt(key.id, ViewOf(how.context), plaintext, door_.random_source());
  TRY_ASSIGN(const auto pair, ring_.FindKeyPair(key.id));
  return pair->Encrypt(how.algorithm, plaintext);
}

Result<crypto::SecretBuffer> LocalKms::DecryptUnder(const KmsKey& key, const Cryption& how,
                                                    ByteSpan blob) {
  Result<crypto::SecretBuffer> plaintext;
  if (key.symmetric()) {
    plaintext = ring_.Decrypt(blob, ViewOf(how.context));
    // A generation that the key never had: its state was looked at before.
    const auto origin = crypto::ReadBlobOrigin(blob);
    if (!origin || key.FindMaterial(origin->material) == nullptr) return InvalidCiphertext();
  } else {
    TRY_ASSIGN(const auto pair, ring_.FindKeyPair(key.id));
    plaintext = pair->Decrypt(how.algorithm, blob);
  }
  if (!plaintext && plaintext.error().code == Code::kCorrupt) return InvalidCiphertext();
  return plaintext;
}

Result<Encrypted> LocalKms::Encrypt(const Caller& caller, const EncryptRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsEncrypt, request.key_id, request.options.request_id);
  return AuditedRead(event, [&]() -> Result<Encrypted> {
    TRY(CheckSize(request.plaintext.size(), crypto::kKmsPlaintextBytesMax, "plaintext"));
    TRY_ASSIGN(KmsKeyPtr key, FindFor(caller, event.action, request.key_id, request.options,
                                      KeyUsage::kEncryptDecrypt, event));
    const Cryption how{request.encryption_algorithm, request.encryption_context};
    TRY(CheckCryption(*key, how));
    const size_t most = crypto::PlaintextBytesMax(key->spec, how.algorithm);
    if (request.plaintext.size() > most) {
      return Fail(Code::kValidation, "Algorithm " + std::string(crypto::NameOf(how.algorithm)) +
                                         " and key spec " + std::string(crypto::NameOf(key->spec)) +
                                         " cannot encrypt data larger than " +
                                         std::to_string(most) + " bytes.");
    }
    if (request.options.dry_run) return WouldSucceed();
    TRY_ASSIGN(Bytes blob, EncryptUnder(*key, how, request.plaintext));
    NoteUse(key->id, event.action);
    return Encrypted{std::move(blob), key->arn, how.algorithm};
  });
}

Result<KmsKeyPtr> LocalKms::FindSource(const Caller& caller, Action action,
                                       const std::optional<std::string>& key_id,
                                       const Cryption& how, ByteSpan blob,
                                       const CryptoOptions& options, AuditEvent& event) {
  const auto origin = how.algorithm == EncryptionAlgorithm::kSymmetricDefault
                          ? crypto::ReadBlobOrigin(blob)
                          : std::nullopt;
  if (!key_id) {
    if (how.algorithm != EncryptionAlgorithm::kSymmetricDefault) {
      return Fail(Code::kValidation, "KeyId is required with an asymmetric encryption algorithm.");
    }
    KmsKeyPtr maker;
    if (origin) {
      TRY_ASSIGN(maker, records_.Load(origin->key));
    }
    // Whose ciphertext it is, if anyone's, is not told to who may not decrypt.
    if (maker != nullptr) event.resource_arn = maker->arn;
    TRY(Authorize(caller, action, event.resource_arn, ""));
    if (maker == nullptr) return InvalidCiphertext();
  }
  TRY_ASSIGN(KmsKeyPtr key,
             FindFor(caller, action, key_id ? *key_id : crypto::FormatUuid(origin->key), options,
                     KeyUsage::kEncryptDecrypt, event));
  TRY(CheckCryption(*key, how));
  if (key->symmetric() && !blob.empty()) {
    if (!origin) return InvalidCiphertext();
    if (origin->key != key->id) {
      return Fail(Code::kIncorrectKey,
                  "The key ID in the request does not identify a CMK that can perform this "
                  "operation.");
    }
  }
  return key;
}

Result<Decrypted> LocalKms::Decrypt(const Caller& caller, const DecryptRequest& request) {
  AuditEvent event = door_.NewEvent(caller, Action::kKmsDecrypt, request.key_id.value_or(""),
                                    request.options.request_id);
  return AuditedRead(event, [&]() -> Result<Decrypted> {
    const Cryption how{request.encryption_algorithm, request.encryption_context};
    const bool key_alone = request.options.dry_run && request.ignore_ciphertext;
    if (key_alone && !request.key_id) {
      return Fail(Code::kValidation, "KeyId is required when the ciphertext is ignored.");
    }
    const ByteSpan blob = key_alone ? ByteSpan() : ByteSpan(request.ciphertext_blob);
    if (!key_alone) TRY(CheckSize(blob.size(), crypto::kKmsCiphertextBytesMax, "ciphertextBlob"));
    TRY_ASSIGN(KmsKeyPtr key,
               FindSource(caller, event.action, request.key_id, how, blob, request.options, event));
    if (key_alone) return WouldSucceed();
    TRY_ASSIGN(crypto::SecretBuffer plaintext, DecryptUnder(*key, how, blob));
    if (request.options.dry_run) return WouldSucceed();
    NoteUse(key->id, event.action);
    return Decrypted{std::move(plaintext), key->arn, how.algorithm,
                     key->symmetric() ? MaterialOf(blob) : ""};
  });
}

Result<ReEncrypted> LocalKms::ReEncrypt(const Caller& caller, const ReEncryptRequest& request) {
  AuditEvent event = door_.NewEvent(caller, Action::kKmsReEncrypt,
                                    request.source_key_id.value_or(""), request.options.request_id);
  return AuditedRead(event, [&]() -> Result<ReEncrypted> {
    const Cryption from{request.source_encryption_algorithm, request.source_encryption_context};
    const Cryption to{request.destination_encryption_algorithm,
                      request.destination_encryption_context};
    const ByteSpan blob = request.ciphertext_blob;
    TRY(CheckSize(blob.size(), crypto::kKmsCiphertextBytesMax, "ciphertextBlob"));
    TRY_ASSIGN(KmsKeyPtr source,
               FindSource(caller, Action::kKmsReEncryptFrom, request.source_key_id, from, blob,
                          request.options, event));
    event.secret_id = source->arn;
    TRY_ASSIGN(KmsKeyPtr destination,
               FindFor(caller, Action::kKmsReEncryptTo, request.destination_key_id, request.options,
                       KeyUsage::kEncryptDecrypt, event));
    TRY(CheckCryption(*destination, to));
    TRY_ASSIGN(const crypto::SecretBuffer plaintext, DecryptUnder(*source, from, blob));
    if (plaintext.size() > crypto::PlaintextBytesMax(destination->spec, to.algorithm)) {
      return Fail(Code::kValidation, "The plaintext is too long for " + destination->arn + ".");
    }
    if (request.options.dry_run) return WouldSucceed();
    ReEncrypted answer;
    TRY_ASSIGN(answer.ciphertext_blob, EncryptUnder(*destination, to, plaintext));
    NoteUse(source->id, event.action);
    NoteUse(destination->id, event.action);
    answer.source_key_id = source->arn;
    answer.key_id = destination->arn;
    answer.source_encryption_algorithm = from.algorithm;
    answer.destination_encryption_algorithm = to.algorithm;
    if (source->symmetric()) answer.source_key_material_id = MaterialOf(blob);
    if (destination->symmetric()) {
      answer.destination_key_material_id = MaterialOf(answer.ciphertext_blob);
    }
    return answer;
  });
}

// --- data keys

Result<DataKey> LocalKms::MakeDataKey(const Caller& caller, Action action,
                                      const GenerateDataKeyRequest& request) {
  AuditEvent event = door_.NewEvent(caller, action, request.key_id, request.options.request_id);
  return AuditedRead(event, [&]() -> Result<DataKey> {
    TRY_ASSIGN(const int64_t size, DataKeyBytes(request));
    TRY_ASSIGN(KmsKeyPtr key, FindFor(caller, action, request.key_id, request.options,
                                      KeyUsage::kEncryptDecrypt, event));
    const Cryption how{EncryptionAlgorithm::kSymmetricDefault, request.encryption_context};
    TRY(CheckCryption(*key, how));
    if (request.options.dry_run) return WouldSucceed();
    DataKey made;
    made.plaintext = crypto::SecretBuffer(static_cast<size_t>(size));
    door_.random_source().Fill(made.plaintext.Writable());
    TRY_ASSIGN(made.ciphertext_blob, EncryptUnder(*key, how, made.plaintext));
    made.key_id = key->arn;
    made.key_material_id = MaterialOf(made.ciphertext_blob);
    if (action == Action::kKmsGenerateDataKeyWithoutPlaintext) made.plaintext = {};
    NoteUse(key->id, action);
    return made;
  });
}

Result<DataKey> LocalKms::GenerateDataKey(const Caller& caller,
                                          const GenerateDataKeyRequest& request) {
  return MakeDataKey(caller, Action::kKmsGenerateDataKey, request);
}

Result<DataKey> LocalKms::GenerateDataKeyWithoutPlaintext(const Caller& caller,
                                                          const GenerateDataKeyRequest& request) {
  return MakeDataKey(caller, Action::kKmsGenerateDataKeyWithoutPlaintext, request);
}

Result<DataKeyPair> LocalKms::MakeDataKeyPair(const Caller& caller, Action action,
                                              const GenerateDataKeyPairRequest& request) {
  AuditEvent event = door_.NewEvent(caller, action, request.key_id, request.options.request_id);
  return AuditedRead(event, [&]() -> Result<DataKeyPair> {
    TRY_ASSIGN(KmsKeyPtr key, FindFor(caller, action, request.key_id, request.options,
                                      KeyUsage::kEncryptDecrypt, event));
    const Cryption how{EncryptionAlgorithm::kSymmetricDefault, request.encryption_context};
    TRY(CheckCryption(*key, how));
    if (!crypto::IsAsymmetric(request.key_pair_spec) ||
        !crypto::IsSupported(request.key_pair_spec)) {
      return Fail(Code::kUnsupported, "KeyPairSpec " +
                                          std::string(crypto::NameOf(request.key_pair_spec)) +
                                          " is not supported by this build.");
    }
    if (request.options.dry_run) return WouldSucceed();
    TRY_ASSIGN(const crypto::AsymmetricKey pair,
               crypto::AsymmetricKey::Generate(request.key_pair_spec));
    DataKeyPair made;
    made.private_key_plaintext = pair.ToPkcs8();
    TRY_ASSIGN(made.private_key_ciphertext_blob,
               EncryptUnder(*key, how, made.private_key_plaintext));
    made.public_key = pair.PublicKeyDer();
    made.key_id = key->arn;
    made.key_pair_spec = request.key_pair_spec;
    made.key_material_id = MaterialOf(made.private_key_ciphertext_blob);
    if (action == Action::kKmsGenerateDataKeyPairWithoutPlaintext) made.private_key_plaintext = {};
    NoteUse(key->id, action);
    return made;
  });
}

Result<DataKeyPair> LocalKms::GenerateDataKeyPair(const Caller& caller,
                                                  const GenerateDataKeyPairRequest& request) {
  return MakeDataKeyPair(caller, Action::kKmsGenerateDataKeyPair, request);
}

Result<DataKeyPair> LocalKms::GenerateDataKeyPairWithoutPlaintext(
    const Caller& caller, const GenerateDataKeyPairRequest& request) {
  return MakeDataKeyPair(caller, Action::kKmsGenerateDataKeyPairWithoutPlaintext, request);
}

Result<crypto::SecretBuffer> LocalKms::GenerateRandom(const Caller& caller,
                                                      const GenerateRandomRequest& request) {
  AuditEvent event = door_.NewEvent(caller, Action::kKmsGenerateRandom, "", request.request_id);
  return AuditedRead(event, [&]() -> Result<crypto::SecretBuffer> {
    TRY(Authorize(caller, event.action, "", ""));
    if (!request.custom_key_store_id.empty()) {
      return Fail(Code::kUnsupported, "Custom key stores are not supported.");
    }
    if (!request.number_of_bytes) return Fail(Code::kValidation, "NumberOfBytes is required.");
    if (*request.number_of_bytes < 1 || *request.number_of_bytes > kRandomBytesMax) {
      return Fail(Code::kValidation, "1 validation error detected: Value '" +
                                         std::to_string(*request.number_of_bytes) +
                                         "' at 'numberOfBytes' failed to satisfy constraint: "
                                         "Member must have value less than or equal to 1024");
    }
    crypto::SecretBuffer bytes(static_cast<size_t>(*request.number_of_bytes));
    door_.random_source().Fill(bytes.Writable());
    return bytes;
  });
}

}  // namespace secretfs::store
