// Signatures, macs, key agreement, public keys.

#include <algorithm>

#include "store/local_kms.h"

namespace secretfs::store {
namespace {

using crypto::KeyUsage;

Status CheckSize(size_t size, size_t most, const std::string& member) {
  if (size >= 1 && size <= most) return {};
  return Fail(Code::kValidation, "1 validation error detected: Value at '" + member +
                                     "' failed to satisfy constraint: Member must have length "
                                     "between 1 and " +
                                     std::to_string(most));
}

template <typename Algorithm>
Status CheckAlgorithm(std::span<const Algorithm> of_key, Algorithm wanted, const KmsKey& key) {
  if (std::ranges::find(of_key, wanted) != of_key.end()) return {};
  return Fail(Code::kInvalidKeyUsage, "Algorithm " + std::string(crypto::NameOf(wanted)) +
                                          " is incompatible with key spec " +
                                          std::string(crypto::NameOf(key.spec)) + ".");
}

Status CheckMessage(const SignRequest& request) {
  TRY(CheckSize(request.message.size(), crypto::kKmsMessageBytesMax, "message"));
  const std::string algorithm(crypto::NameOf(request.signing_algorithm));
  if (!crypto::TakesMessageType(request.signing_algorithm, request.message_type)) {
    return Fail(Code::kValidation, "MessageType " +
                                       std::string(crypto::NameOf(request.message_type)) +
                                       " is not valid for algorithm " + algorithm + ".");
  }
  const size_t digest = crypto::DigestBytes(request.signing_algorithm);
  if (request.message_type == crypto::MessageType::kDigest && request.message.size() != digest) {
    return Fail(Code::kValidation, "Digest is invalid length for algorithm " + algorithm + ".");
  }
  return {};
}

crypto::MessageToSign MessageOf(const SignRequest& request) {
  return {request.signing_algorithm, request.message_type, request.message};
}

std::unexpected<Error> WouldSucceed() {
  return Fail(Code::kDryRun, "The request would have succeeded, but the DryRun option is set.");
}

}  // namespace

Result<Signed> LocalKms::Sign(const Caller& caller, const SignRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsSign, request.key_id, request.options.request_id);
  return AuditedRead(event, [&]() -> Result<Signed> {
    TRY_ASSIGN(KmsKeyPtr key, FindFor(caller, event.action, request.key_id, request.options,
                                      KeyUsage::kSignVerify, event));
    TRY(CheckAlgorithm(crypto::SigningAlgorithmsOf(key->spec, key->usage),
                       request.signing_algorithm, *key));
    TRY(CheckMessage(request));
    if (request.options.dry_run) return WouldSucceed();
    TRY_ASSIGN(const auto pair, ring_.FindKeyPair(key->id));
    Signed answer{key->arn, {}, request.signing_algorithm};
    TRY_ASSIGN(answer.signature, pair->Sign(MessageOf(request)));
    NoteUse(key->id, event.action);
    return answer;
  });
}

Result<Signed> LocalKms::Verify(const Caller& caller, const VerifyRequest& request) {
  const SignRequest& message = request.signed_message;
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsVerify, message.key_id, message.options.request_id);
  return AuditedRead(event, [&]() -> Result<Signed> {
    TRY_ASSIGN(KmsKeyPtr key, FindFor(caller, event.action, message.key_id, message.options,
                                      KeyUsage::kSignVerify, event));
    TRY(CheckAlgorithm(crypto::SigningAlgorithmsOf(key->spec, key->usage),
                       message.signing_algorithm, *key));
    TRY(CheckMessage(message));
    TRY(CheckSize(request.signature.size(), crypto::kKmsSignatureBytesMax, "signature"));
    TRY_ASSIGN(const auto pair, ring_.FindKeyPair(key->id));
    const Status verified = pair->Verify(MessageOf(message), request.signature);
    if (!verified && verified.error().code == Code::kCorrupt) {
      return Fail(Code::kInvalidSignature, "");  // AWS says no more.
    }
    TRY(verified);
    if (message.options.dry_run) return WouldSucceed();
    NoteUse(key->id, event.action);
    return Signed{key->arn, {}, message.signing_algorithm};
  });
}

Result<Macced> LocalKms::GenerateMac(const Caller& caller, const MacRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsGenerateMac, request.key_id, request.options.request_id);
  return AuditedRead(event, [&]() -> Result<Macced> {
    TRY_ASSIGN(KmsKeyPtr key, FindFor(caller, event.action, request.key_id, request.options,
                                      KeyUsage::kGenerateVerifyMac, event));
    TRY(CheckAlgorithm(crypto::MacAlgorithmsOf(key->spec, key->usage), request.mac_algorithm,
                       *key));
    TRY(CheckSize(request.message.size(), crypto::kKmsMessageBytesMax, "message"));
    if (request.options.dry_run) return WouldSucceed();
    TRY_ASSIGN(const auto mac_key, ring_.FindMacKey(key->id));
    Macced answer{key->arn, {}, request.mac_algorithm};
    TRY_ASSIGN(answer.mac, mac_key->Mac(request.mac_algorithm, request.message));
    NoteUse(key->id, event.action);
    return answer;
  });
}

Result<Macced> LocalKms::VerifyMac(const Caller& caller, const MacRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsVerifyMac, request.key_id, request.options.request_id);
  return AuditedRead(event, [&]() -> Result<Macced> {
    TRY_ASSIGN(KmsKeyPtr key, FindFor(caller, event.action, request.key_id, request.options,
                                      KeyUsage::kGenerateVerifyMac, event));
    TRY(CheckAlgorithm(crypto::MacAlgorithmsOf(key->spec, key->usage), request.mac_algorithm,
                       *key));
    TRY(CheckSize(request.message.size(), crypto::kKmsMessageBytesMax, "message"));
    TRY(CheckSize(request.mac.size(), crypto::kKmsMacBytesMax, "mac"));
    TRY_ASSIGN(const auto mac_key, ring_.FindMacKey(key->id));
    const Status verified = mac_key->Verify(request.mac_algorithm, {request.message, request.mac});
    if (!verified && verified.error().code == Code::kCorrupt) {
      return Fail(Code::kInvalidMac, "");  // AWS says no more.
    }
    TRY(verified);
    if (request.options.dry_run) return WouldSucceed();
    NoteUse(key->id, event.action);
    return Macced{key->arn, {}, request.mac_algorithm};
  });
}

Result<SharedSecret> LocalKms::DeriveSharedSecret(const Caller& caller,
                                                  const DeriveSharedSecretRequest& request) {
  AuditEvent event = door_.NewEvent(caller, Action::kKmsDeriveSharedSecret, request.key_id,
                                    request.options.request_id);
  return AuditedRead(event, [&]() -> Result<SharedSecret> {
    TRY_ASSIGN(KmsKeyPtr key, FindFor(caller, event.action, request.key_id, request.options,
                                      KeyUsage::kKeyAgreement, event));
    TRY(CheckAlgorithm(crypto::KeyAgreementAlgorithmsOf(key->spec, key->usage),
                       request.key_agreement_algorithm, *key));
    TRY(CheckSize(request.public_key.size(), crypto::kKmsPublicKeyBytesMax, "publicKey"));
    TRY_ASSIGN(const auto pair, ring_.FindKeyPair(key->id));
    SharedSecret answer;
    answer.key_id = key->arn;
    answer.key_origin = key->origin;
    TRY_ASSIGN(answer.shared_secret, pair->DeriveSharedSecret(request.public_key));
    if (request.options.dry_run) return WouldSucceed();
    NoteUse(key->id, event.action);
    return answer;
  });
}

Result<KmsKeyPtr> LocalKms::GetPublicKey(const Caller& caller, const DescribeKeyRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsGetPublicKey, request.key_id, request.request_id);
  return AuditedRead(event, [&]() -> Result<KmsKeyPtr> {
    TRY_ASSIGN(KmsKeyPtr key, Find(caller, request.key_id, Names::kAll, event));
    TRY(CheckGrantTokens(request.grant_tokens));
    if (!crypto::IsAsymmetric(key->spec)) {
      return Fail(Code::kUnsupported, key->arn + " is a " + std::string(crypto::NameOf(key->spec)) +
                                          " key, which has no public key.");
    }
    TRY(CheckState(*key, event.action));
    return key;
  });
}

}  // namespace secretfs::store
