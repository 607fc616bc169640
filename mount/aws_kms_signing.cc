// Signatures, macs, key agreement, public keys.

#include "mount/aws_kms_members.h"
#include "mount/aws_kms_operations.h"

namespace secretfs::mount {
namespace {

store::SignRequest ReadSign(MemberReader& in, AwsCall& call) {
  return {.key_id = in.RequiredText("KeyId"),
          .message = TakeBytes(call.message, "Message", in),
          .message_type =
              ReadName<crypto::MessageType>(in, "MessageType").value_or(crypto::MessageType::kRaw),
          .signing_algorithm = ReadRequiredName<crypto::SigningAlgorithm>(in, "SigningAlgorithm"),
          .options = ReadOptions(in, call)};
}

store::MacRequest ReadMac(MemberReader& in, AwsCall& call) {
  return {.key_id = in.RequiredText("KeyId"),
          .message = TakeBytes(call.message, "Message", in),
          .mac_algorithm = ReadRequiredName<crypto::MacAlgorithm>(in, "MacAlgorithm"),
          .mac = {},
          .options = ReadOptions(in, call)};
}

}  // namespace

AwsOutcome AwsKmsOperations::Sign(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::SignRequest request = ReadSign(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::Signed done, kms_.Sign(call.caller, request));
  Json out;
  out["KeyId"] = done.key_id;
  out["Signature"] = Base64Text(done.signature);
  out["SigningAlgorithm"] = crypto::NameOf(done.signing_algorithm);
  return ToText(out);
}

AwsOutcome AwsKmsOperations::Verify(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::VerifyRequest request{.signed_message = ReadSign(in, call),
                                     .signature = ReadRequiredBlob(in, "Signature")};
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::Signed done, kms_.Verify(call.caller, request));
  Json out;
  out["KeyId"] = done.key_id;
  out["SignatureValid"] = true;  // Else it is an error.
  out["SigningAlgorithm"] = crypto::NameOf(done.signing_algorithm);
  return ToText(out);
}

AwsOutcome AwsKmsOperations::GenerateMac(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::MacRequest request = ReadMac(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::Macced done, kms_.GenerateMac(call.caller, request));
  Json out;
  out["MacAlgorithm"] = crypto::NameOf(done.mac_algorithm);
  out["KeyId"] = done.key_id;
  return ComposeAwsMessage(out, {{"Mac", done.mac}});
}

AwsOutcome AwsKmsOperations::VerifyMac(AwsCall& call) {
  MemberReader in(call.message.members);
  store::MacRequest request = ReadMac(in, call);
  request.mac = TakeBytes(call.message, "Mac", in);
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::Macced done, kms_.VerifyMac(call.caller, request));
  Json out;
  out["KeyId"] = done.key_id;
  out["MacValid"] = true;  // Else it is an error.
  out["MacAlgorithm"] = crypto::NameOf(done.mac_algorithm);
  return ToText(out);
}

AwsOutcome AwsKmsOperations::DeriveSharedSecret(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::DeriveSharedSecretRequest request{
      .key_id = in.RequiredText("KeyId"),
      .key_agreement_algorithm =
          ReadRequiredName<crypto::KeyAgreementAlgorithm>(in, "KeyAgreementAlgorithm"),
      .public_key = ReadRequiredBlob(in, "PublicKey"),
      .options = ReadOptions(in, call)};
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::SharedSecret done, kms_.DeriveSharedSecret(call.caller, request));
  Json out;
  out["KeyId"] = done.key_id;
  out["KeyAgreementAlgorithm"] = crypto::NameOf(request.key_agreement_algorithm);
  out["KeyOrigin"] = store::KeyOriginName(done.key_origin);
  return ComposeAwsMessage(out, {{"SharedSecret", done.shared_secret.Reveal()}});
}

AwsOutcome AwsKmsOperations::GetPublicKey(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::DescribeKeyRequest request = ReadDescribe(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::KmsKeyPtr key, kms_.GetPublicKey(call.caller, request));
  Json out;
  out["KeyId"] = key->arn;
  out["PublicKey"] = Base64Text(key->public_key);
  PutKeyKind(out, *key);
  return ToText(out);
}

}  // namespace secretfs::mount
