// Encryption and decryption, keys and random bytes for others' use.

#include <array>
#include <utility>

#include "mount/aws_kms_members.h"
#include "mount/aws_kms_operations.h"

namespace secretfs::mount {
namespace {

constexpr std::string_view kIgnoreCiphertext = "IGNORE_CIPHERTEXT";

std::string_view DataKeySpecName(store::DataKeySpec spec) {
  return spec == store::DataKeySpec::kAes256 ? "AES_256" : "AES_128";
}
constexpr std::array kDataKeySpecs = {store::DataKeySpec::kAes256, store::DataKeySpec::kAes128};

crypto::EncryptionAlgorithm ReadAlgorithm(MemberReader& in, const char* member) {
  return ReadName<crypto::EncryptionAlgorithm>(in, member)
      .value_or(crypto::EncryptionAlgorithm::kSymmetricDefault);
}

// AWS's list of one possible value.
bool ReadIgnoreCiphertext(MemberReader& in) {
  const std::vector<std::string> modifiers = in.TextList("DryRunModifiers");
  for (const std::string& each : modifiers) {
    if (each != kIgnoreCiphertext) in.FailOnChoice("DryRunModifiers", each, {kIgnoreCiphertext});
  }
  return !modifiers.empty();
}

store::GenerateDataKeyRequest ReadDataKey(MemberReader& in, const AwsCall& call) {
  return {.key_id = in.RequiredText("KeyId"),
          .encryption_context = in.TextMap("EncryptionContext"),
          .key_spec = in.OneOf<store::DataKeySpec>("KeySpec", kDataKeySpecs, &DataKeySpecName),
          .number_of_bytes = in.Integer("NumberOfBytes"),
          .options = ReadOptions(in, call)};
}

Json DataKeyJson(const store::DataKey& key) {
  Json out;
  out["CiphertextBlob"] = Base64Text(key.ciphertext_blob);
  out["KeyId"] = key.key_id;
  if (!key.key_material_id.empty()) out["KeyMaterialId"] = key.key_material_id;
  return out;
}

store::GenerateDataKeyPairRequest ReadDataKeyPair(MemberReader& in, const AwsCall& call) {
  return {.key_id = in.RequiredText("KeyId"),
          .encryption_context = in.TextMap("EncryptionContext"),
          .key_pair_spec = ReadRequiredName<crypto::KeySpec>(in, "KeyPairSpec"),
          .options = ReadOptions(in, call)};
}

Json DataKeyPairJson(const store::DataKeyPair& pair) {
  Json out;
  out["PrivateKeyCiphertextBlob"] = Base64Text(pair.private_key_ciphertext_blob);
  out["PublicKey"] = Base64Text(pair.public_key);
  out["KeyId"] = pair.key_id;
  out["KeyPairSpec"] = crypto::NameOf(pair.key_pair_spec);
  if (!pair.key_material_id.empty()) out["KeyMaterialId"] = pair.key_material_id;
  return out;
}

}  // namespace

AwsOutcome AwsKmsOperations::Encrypt(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::EncryptRequest request{
      .key_id = in.RequiredText("KeyId"),
      .plaintext = TakeSecret(call.message, "Plaintext", in),
      .encryption_context = in.TextMap("EncryptionContext"),
      .encryption_algorithm = ReadAlgorithm(in, "EncryptionAlgorithm"),
      .options = ReadOptions(in, call)};
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::Encrypted encrypted, kms_.Encrypt(call.caller, request));
  Json out;
  out["CiphertextBlob"] = Base64Text(encrypted.ciphertext_blob);
  out["KeyId"] = encrypted.key_id;
  out["EncryptionAlgorithm"] = crypto::NameOf(encrypted.encryption_algorithm);
  return ToText(out);
}

AwsOutcome AwsKmsOperations::Decrypt(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::DecryptRequest request{
      .key_id = in.Text("KeyId"),
      .ciphertext_blob = in.Blob("CiphertextBlob"),
      .encryption_context = in.TextMap("EncryptionContext"),
      .encryption_algorithm = ReadAlgorithm(in, "EncryptionAlgorithm"),
      .ignore_ciphertext = ReadIgnoreCiphertext(in),
      .options = ReadOptions(in, call)};
  if (!request.ignore_ciphertext) in.Require("CiphertextBlob");
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::Decrypted decrypted, kms_.Decrypt(call.caller, request));
  Json out;
  out["KeyId"] = decrypted.key_id;
  out["EncryptionAlgorithm"] = crypto::NameOf(decrypted.encryption_algorithm);
  if (!decrypted.key_material_id.empty()) out["KeyMaterialId"] = decrypted.key_material_id;
  return ComposeAwsMessage(out, {{"Plaintext", decrypted.plaintext.Reveal()}});
}

AwsOutcome AwsKmsOperations::ReEncrypt(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::ReEncryptRequest request{
      .ciphertext_blob = ReadRequiredBlob(in, "CiphertextBlob"),
      .source_key_id = in.Text("SourceKeyId"),
      .source_encryption_context = in.TextMap("SourceEncryptionContext"),
      .source_encryption_algorithm = ReadAlgorithm(in, "SourceEncryptionAlgorithm"),
      .destination_key_id = in.RequiredText("DestinationKeyId"),
      .destination_encryption_context = in.TextMap("DestinationEncryptionContext"),
      .destination_encryption_algorithm = ReadAlgorithm(in, "DestinationEncryptionAlgorithm"),
      .options = ReadOptions(in, call)};
  if (in.failed()) return RefuseMember(in);
  if (in.Has("DryRunModifiers")) {
    return Refuse(Code::kUnsupported, "DryRunModifiers: not supported for ReEncrypt.");
  }
  TRY_ASSIGN(const store::ReEncrypted done, kms_.ReEncrypt(call.caller, request));
  Json out;
  out["CiphertextBlob"] = Base64Text(done.ciphertext_blob);
  out["SourceKeyId"] = done.source_key_id;
  out["KeyId"] = done.key_id;
  out["SourceEncryptionAlgorithm"] = crypto::NameOf(done.source_encryption_algorithm);
  out["DestinationEncryptionAlgorithm"] = crypto::NameOf(done.destination_encryption_algorithm);
  if (!done.source_key_material_id.empty()) {
    out["SourceKeyMaterialId"] = done.source_key_material_id;
  }
  if (!done.destination_key_material_id.empty()) {
    out["DestinationKeyMaterialId"] = done.destination_key_material_id;
  }
  return ToText(out);
}

AwsOutcome AwsKmsOperations::GenerateDataKey(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::GenerateDataKeyRequest request = ReadDataKey(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::DataKey key, kms_.GenerateDataKey(call.caller, request));
  return ComposeAwsMessage(DataKeyJson(key), {{"Plaintext", key.plaintext.Reveal()}});
}

AwsOutcome AwsKmsOperations::GenerateDataKeyWithoutPlaintext(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::GenerateDataKeyRequest request = ReadDataKey(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::DataKey key, kms_.GenerateDataKeyWithoutPlaintext(call.caller, request));
  return ToText(DataKeyJson(key));
}

AwsOutcome AwsKmsOperations::GenerateDataKeyPair(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::GenerateDataKeyPairRequest request = ReadDataKeyPair(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::DataKeyPair pair, kms_.GenerateDataKeyPair(call.caller, request));
  return ComposeAwsMessage(DataKeyPairJson(pair),
                           {{"PrivateKeyPlaintext", pair.private_key_plaintext.Reveal()}});
}

AwsOutcome AwsKmsOperations::GenerateDataKeyPairWithoutPlaintext(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::GenerateDataKeyPairRequest request = ReadDataKeyPair(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::DataKeyPair pair,
             kms_.GenerateDataKeyPairWithoutPlaintext(call.caller, request));
  return ToText(DataKeyPairJson(pair));
}

AwsOutcome AwsKmsOperations::GenerateRandom(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::GenerateRandomRequest request{
      .number_of_bytes = in.Integer("NumberOfBytes"),
      .custom_key_store_id = in.Text("CustomKeyStoreId").value_or(""),
      .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const crypto::SecretBuffer bytes, kms_.GenerateRandom(call.caller, request));
  return ComposeAwsMessage(Json::object(), {{"Plaintext", bytes.Reveal()}});
}

}  // namespace secretfs::mount
