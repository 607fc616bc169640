#include "mount/aws_kms_members.h"

#include <utility>

#include "crypto/keyring.h"

namespace secretfs::mount {
namespace {

constexpr LengthLimits kMarkerLimits{.characters_max = 1024};

}  // namespace

store::KeyRequest ReadKey(MemberReader& in, const AwsCall& call) {
  return {.key_id = in.RequiredText("KeyId"), .request_id = call.request_id};
}

store::DescribeKeyRequest ReadDescribe(MemberReader& in, const AwsCall& call) {
  return {.key_id = in.RequiredText("KeyId"),
          .grant_tokens = in.TextList("GrantTokens", kGrantTokenLimits),
          .request_id = call.request_id};
}

store::PageRequest ReadPage(MemberReader& in) {
  return {.limit = in.Integer("Limit"), .marker = in.Text("Marker", kMarkerLimits).value_or("")};
}

store::CryptoOptions ReadOptions(MemberReader& in, const AwsCall& call) {
  return {.grant_tokens = in.TextList("GrantTokens", kGrantTokenLimits),
          .dry_run = in.Flag("DryRun"),
          .request_id = call.request_id};
}

Bytes TakeBytes(AwsMessage& message, const char* name, MemberReader& in) {
  const crypto::SecretBuffer secret = TakeSecret(message, name, in);
  const ByteSpan bytes = secret.Reveal();
  return {bytes.begin(), bytes.end()};
}

crypto::SecretBuffer TakeSecret(AwsMessage& message, const char* name, MemberReader& in) {
  std::optional<crypto::SecretBuffer> secret = message.Take(name);
  if (!secret) in.FailOnMissing(name);
  return secret ? *std::move(secret) : crypto::SecretBuffer();
}

Bytes ReadRequiredBlob(MemberReader& in, const char* name) {
  in.Require(name);
  return in.Blob(name);
}

void PutPageEnd(Json& out, const std::string& next_marker) {
  if (!next_marker.empty()) out["NextMarker"] = next_marker;
  out["Truncated"] = !next_marker.empty();
}

std::string KeyIdText(const crypto::KeyId& key) {
  return crypto::FormatUuid(key);
}

void PutKeyKind(Json& out, const store::KmsKey& key) {
  // The second is what the first was called before 2021, and old clients ask for it.
  out["KeySpec"] = crypto::NameOf(key.spec);
  out["CustomerMasterKeySpec"] = crypto::NameOf(key.spec);
  out["KeyUsage"] = crypto::NameOf(key.usage);
  switch (key.usage) {
    case crypto::KeyUsage::kEncryptDecrypt:
      out["EncryptionAlgorithms"] = NamesJson(crypto::EncryptionAlgorithmsOf(key.spec, key.usage));
      return;
    case crypto::KeyUsage::kSignVerify:
      out["SigningAlgorithms"] = NamesJson(crypto::SigningAlgorithmsOf(key.spec, key.usage));
      return;
    case crypto::KeyUsage::kGenerateVerifyMac:
      out["MacAlgorithms"] = NamesJson(crypto::MacAlgorithmsOf(key.spec, key.usage));
      return;
    case crypto::KeyUsage::kKeyAgreement:
      out["KeyAgreementAlgorithms"] =
          NamesJson(crypto::KeyAgreementAlgorithmsOf(key.spec, key.usage));
      return;
  }
}

Json KeyMetadataJson(const store::KmsKey& key, const store::Realm& realm) {
  const store::KeyMaterial* current = key.Current();
  Json out;
  out["AWSAccountId"] = realm.account;
  out["KeyId"] = KeyIdText(key.id);
  out["Arn"] = key.arn;
  out["CreationDate"] = SecondsOf(key.created_at);
  out["Enabled"] = key.state == store::KeyState::kEnabled;
  out["Description"] = key.description;
  out["KeyState"] = store::KeyStateName(key.state);
  if (key.deletion_at) out["DeletionDate"] = SecondsOf(*key.deletion_at);
  const std::optional<TimeMs> valid_to = key.ValidTo();
  if (valid_to) out["ValidTo"] = SecondsOf(*valid_to);
  out["Origin"] = store::KeyOriginName(key.origin);
  if (key.origin == store::KeyOrigin::kExternal && key.HasAllMaterial()) {
    out["ExpirationModel"] = valid_to ? "KEY_MATERIAL_EXPIRES" : "KEY_MATERIAL_DOES_NOT_EXPIRE";
  }
  out["KeyManager"] = store::KeyManagerName(key.manager);
  PutKeyKind(out, key);
  out["MultiRegion"] = false;
  if (key.symmetric() && current != nullptr) out["CurrentKeyMaterialId"] = ToHex(current->id);
  return out;
}

}  // namespace secretfs::mount
