// What secrets do with KMS keys.

#include <algorithm>
#include <array>

#include "crypto/envelope.h"
#include "store/local_service.h"

namespace secretfs::store {
namespace {

constexpr int kMoveTries = 5;

// What a KMS key encrypts for a secret is bound to, as AWS does it.
crypto::EncryptionContext ContextOf(const std::string& arn, const std::string& version_id) {
  return {{"SecretARN", arn}, {"SecretVersionId", version_id}};
}

// The versions that follow a secret to another key: those that the labels of AWS are on.
std::vector<const Version*> MovingVersions(const Secret& secret) {
  std::vector<const Version*> moving;
  for (const std::string_view label : {kCurrent, kPrevious, kPending}) {
    const Version* version = secret.FindVersionByLabel(label);
    if (version != nullptr && std::ranges::find(moving, version) == moving.end()) {
      moving.push_back(version);
    }
  }
  return moving;
}

// A write that its key's state forbids is not a failed read.
Error AsWriteError(Error error) {
  if (error.code == Code::kKeyUnavailable) error.code = Code::kCannotEncrypt;
  return error;
}

Error Damaged(const Secret& secret, const Version& version) {
  return {Code::kCorrupt, "version " + version.id + " of " + secret.name +
                              " was altered or is damaged; restore the store from a backup"};
}

}  // namespace

Result<crypto::KeyId> LocalService::FindKey(const Caller& caller, const std::string& kms_key_id,
                                            KeyCheck check) {
  // What names a key is not for programs that know format 1 alone.
  if (!kms_key_id.empty()) TRY(kms_.Upgrade());
  const auto key = kms_.FindForSecret(kms_key_id);
  // A caller without access learns nothing about keys.
  if (!key) {
    const Decision decision =
        parts_.authorizer->Decide({caller.principal, Action::kKmsGenerateDataKey, kms_key_id});
    if (!decision.allowed) return Fail(Code::kPermissionDenied, "Access to KMS is not allowed");
    return std::unexpected(key.error());
  }
  TRY(DecideKms(caller.principal, Action::kKmsGenerateDataKey, (*key)->id));
  if (check == KeyCheck::kNamedAnew) {
    TRY(DecideKms(caller.principal, Action::kKmsDecrypt, (*key)->id));
  }
  if (Status usable = kms_.CheckUsable((*key)->id); !usable) {
    return std::unexpected(AsWriteError(std::move(usable).error()));
  }
  return (*key)->id;
}

// Encryption happens before the write transaction, so none is held across the KMS key's provider.
Result<LocalService::SealedValue> LocalService::Seal(const NewValue& value, const std::string& arn,
                                                     const std::string& version_id,
                                                     const crypto::KeyId& key) {
  SealedValue sealed = MakeVersion(value, version_id);
  sealed.number = parts_.store->ReserveSelector();
  sealed.version.number = sealed.number;
  sealed.version.kms_key = key;
  sealed.version.under_default_key = key == kms_.default_key();
  auto envelope =
      crypto::SealEnvelope(kms_.ring(), key, ContextOf(arn, version_id),
                           SecretStore::EnvelopePlace(sealed.number), value.bytes, random_);
  if (!envelope) return std::unexpected(AsWriteError(std::move(envelope).error()));
  sealed.envelope = *std::move(envelope);
  kms_.NoteUse(key, Action::kKmsGenerateDataKey);
  return sealed;
}

Result<bool> LocalService::LoadEnvelope(const Secret& secret, const Version& version,
                                        Bytes& envelope) const {
  crypto::KeyId key = version.kms_key;
  for (;;) {
    TRY_ASSIGN(const bool found, parts_.store->LoadEnvelope(version.number, envelope));
    if (!found) return false;
    const auto origin = crypto::ReadEnvelopeOrigin(envelope);
    if (origin && origin->key == key) return true;
    // Its secret may have moved to another key since it was seen.
    TRY_ASSIGN(const SecretPtr now, parts_.store->Load(secret.path));
    const Version* moved = now == nullptr ? nullptr : now->FindVersionByNumber(version.number);
    if (moved == nullptr) return false;
    if (moved->kms_key == key) return std::unexpected(Damaged(secret, version));
    key = moved->kms_key;
  }
}

Result<crypto::SecretBuffer> LocalService::Unseal(const Secret& secret, const Version& version) {
  // Ciphertext, so it may stay. A copy, since whoever writes to the store's file could change it
  // between two looks of the decryption. Fresh memory for each would cost a read of 64 KiB 3 %.
  thread_local Bytes envelope;
  TRY_ASSIGN(const bool found, LoadEnvelope(secret, version, envelope));
  if (!found) {
    return Fail(Code::kStale, "version " + version.id + " of " + secret.name + " is gone");
  }
  auto value = crypto::OpenEnvelope(kms_.ring(), ContextOf(secret.arn, version.id),
                                    SecretStore::EnvelopePlace(version.number), envelope);
  if (value && value->size() == version.size_bytes) {
    kms_.NoteUse(version.kms_key, Action::kKmsDecrypt);
    return value;
  }
  if (!value && value.error().code == Code::kKeyUnavailable) {
    // Otherwise a damaged envelope names a generation that the key never had.
    const auto origin = crypto::ReadEnvelopeOrigin(envelope);
    if (origin && !kms_.CheckUsable(origin->key)) {
      return Fail(Code::kKeyUnavailable,
                  "Secrets Manager can't decrypt the protected secret text using the provided KMS "
                  "key: " +
                      value.error().message);
    }
  } else if (!value && value.error().code != Code::kCorrupt) {
    return value;
  }
  return std::unexpected(Damaged(secret, version));
}

// --- to another key

Result<LocalService::KeyMove> LocalService::PrepareMove(const Caller& caller, const Secret& seen,
                                                        const std::string& kms_key_id) {
  KeyMove move;
  TRY_ASSIGN(move.key, FindKey(caller, kms_key_id, KeyCheck::kNamedAnew));
  if (move.key != kms_.default_key()) move.kms_key_id = kms_key_id;
  for (const Version* version : MovingVersions(seen)) {
    TRY(DecideKms(caller.principal, Action::kKmsDecrypt, version->kms_key));
    Bytes envelope;
    TRY_ASSIGN(const bool found, LoadEnvelope(seen, *version, envelope));
    // Dropped since it was seen; then ApplyMove() misses it.
    if (!found) continue;
    TRY_ASSIGN(move.envelopes[version->number],
               crypto::RewrapEnvelope(kms_.ring(), move.key, ContextOf(seen.arn, version->id),
                                      envelope, random_));
  }
  return move;
}

Status LocalService::ApplyMove(SecretStore::Mutation& mutation, const KeyMove& move,
                               Secret& secret) {
  for (const Version* version : MovingVersions(secret)) {
    if (!move.envelopes.contains(version->number)) {
      return Fail(Code::kConflict, "the secret's labels moved meanwhile");
    }
  }
  for (Version& version : secret.versions) {
    const auto rewrapped = move.envelopes.find(version.number);
    if (rewrapped == move.envelopes.end()) continue;
    TRY(mutation.PutEnvelope(version.number, rewrapped->second));
    version.kms_key = move.key;
  }
  secret.kms_key_id = move.kms_key_id;
  secret.kms_key = move.key;
  return {};
}

Result<WrittenVersion> LocalService::UpdateWithKey(const Caller& caller, SecretPtr seen,
                                                   const UpdateRequest& request,
                                                   AuditEvent& event) {
  for (int i = 1;; ++i) {
    TRY_ASSIGN(const KeyMove move, PrepareMove(caller, *seen, *request.kms_key_id));
    Result<WrittenVersion> written;
    if (request.value) {
      written = WriteVersion(caller, *seen,
                             {.version_id = request.client_request_token,
                              .value = *request.value,
                              .key = move.key,
                              .stages = {},
                              .if_version = std::nullopt,
                              .description = request.description,
                              .move = &move},
                             event);
    } else {
      written = MoveAlone(*seen, move, request.description, event);
    }
    if (written || written.error().code != Code::kConflict || i == kMoveTries) return written;
    TRY_ASSIGN(seen, LoadAgain(*seen));
  }
}

Result<WrittenVersion> LocalService::MoveAlone(const Secret& seen, const KeyMove& move,
                                               const std::optional<std::string>& description,
                                               AuditEvent& event) {
  TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, parts_.store->Begin());
  TRY_ASSIGN(Secret secret, ReloadLive(*mutation, seen));
  TRY(kms_.CheckUsable(*mutation, move.key));
  TRY(ApplyMove(*mutation, move, secret));
  if (description) secret.description = *description;
  secret.changed_at = clock_.NowMs();
  TRY(mutation->PutSecret(secret));
  TRY(mutation->AppendChange(secret.path, ChangeKind::kMetadata, secret.changed_at));
  TRY(CommitWithEvent(*mutation, event));
  return WrittenVersion{IdentityOf(secret), "", {}};
}

}  // namespace secretfs::store
