#include <algorithm>
#include <array>

#include "crypto/envelope.h"
#include "crypto/kdf.h"
#include "store/json_object.h"
#include "store/local_service.h"

namespace secretfs::store {
namespace {

constexpr int64_t kRecoveryWindowDaysDefault = 30;
constexpr int64_t kPageSizeMax = 100;
// Records looked at for one page, so that a filter that matches little cannot make a request long.
constexpr size_t kScannedPerPageMax = 1000;
constexpr int kWriteTries = 5;

Status ValidateToken(const std::string& token) {
  if (token.empty()) {
    return Fail(Code::kFailedPrecondition,
                "You must provide a ClientRequestToken value. We recommend a UUID-type value.");
  }
  return ValidateVersionId(token);
}

Status ValidateValue(const NewValue& value) {
  if (value.bytes.empty()) {
    return Fail(Code::kFailedPrecondition, "You must provide either SecretString or SecretBinary.");
  }
  if (value.bytes.size() > kSecretValueBytesMax) {
    return Fail(Code::kValidation,
                "1 validation error detected: the secret value has " +
                    std::to_string(value.bytes.size()) +
                    " bytes; Member must have length less than or equal to 65536");
  }
  if (value.kind == ValueKind::kString && !IsValidUtf8(AsText(value.bytes.Reveal()))) {
    return Fail(Code::kInvalidArgument,
                "SecretString is not valid UTF-8 text; send the value as SecretBinary.");
  }
  return {};
}

Status ValidateDescription(const std::string& description) {
  if (description.size() <= kDescriptionBytesMax && IsValidUtf8(description)) return {};
  return Fail(Code::kValidation, "Invalid description. At most 2048 bytes of UTF-8 text.");
}

Error ScheduledForDeletion() {
  return {Code::kFailedPrecondition,
          "You can't create this secret because a secret with this name is already scheduled for "
          "deletion."};
}

}  // namespace

// --- values

LocalService::SealedValue LocalService::MakeVersion(const NewValue& value,
                                                    const std::string& version_id) const {
  SealedValue sealed;
  sealed.version.id = version_id;
  sealed.version.created_at = clock_.NowMs();
  sealed.version.kind = value.kind;
  sealed.version.size_bytes = static_cast<uint32_t>(value.bytes.size());
  auto members =
      value.kind == ValueKind::kString ? ScanJsonObject(value.bytes.Reveal()) : std::nullopt;
  if (!members) return sealed;
  sealed.version.has_keys = true;
  for (const JsonMember& member : *members) {
    // A key whose file name would be too long has no file; the value itself is complete all the
    // same.
    if (EscapeFreeText(member.key).size() > kPathComponentBytesMax) continue;
    auto size = static_cast<uint32_t>(JsonMemberContent(value.bytes.Reveal(), member).size());
    sealed.keys.push_back({member.key, size});
  }
  return sealed;
}

Result<bool> LocalService::Holds(const Secret& secret, const Version& version,
                                 const NewValue& value) {
  if (version.kind != value.kind) return false;
  TRY_ASSIGN(crypto::SecretBuffer stored, Unseal(secret, version));
  return stored.Equals(value.bytes);
}

Result<WrittenVersion> LocalService::Replay(const Caller& caller, const Secret& secret,
                                            const Version& version, const NewValue& value,
                                            AuditEvent& event) {
  TRY(DecideKms(caller.principal, Action::kKmsDecrypt, version.kms_key));
  TRY_ASSIGN(bool same, Holds(secret, version, value));
  if (!same) {
    return Fail(Code::kAlreadyExists, "You can't use ClientRequestToken " + version.id +
                                          " because that value is already in use for a version of "
                                          "secret " +
                                          secret.arn + ".");
  }
  event.version_id = version.id;
  TRY(RecordSuccess(event));
  return WrittenVersion{IdentityOf(secret), version.id, secret.LabelsOf(version.number)};
}

Result<WrittenVersion> LocalService::WriteVersion(const Caller& caller, const Secret& seen,
                                                  const VersionWrite& write, AuditEvent& event) {
  const std::string& version_id = write.version_id;
  TRY_ASSIGN(SealedValue sealed, Seal(write.value, seen.arn, version_id, write.key));
  TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, parts_.store->Begin());
  TRY_ASSIGN(Secret secret, ReloadLive(*mutation, seen));
  if (const Version* same_id = secret.FindVersionById(version_id)) {
    // Another request with this token was faster: answer as if it had come first.
    mutation.reset();
    return Replay(caller, secret, *same_id, write.value, event);
  }
  // What the encryption rested on must hold still.
  if (write.move == nullptr && secret.kms_key_id != seen.kms_key_id) {
    return Fail(Code::kConflict, "The secret " + secret.name +
                                     " was moved to another KMS key at this moment; retry.");
  }
  TRY(kms_.CheckUsable(*mutation, write.key));
  if (write.if_version) {
    const Version* current = secret.FindVersionByLabel(kCurrent);
    std::string current_id = current == nullptr ? "" : current->id;
    if (current_id != *write.if_version) {
      return Fail(Code::kConflict, "The secret " + secret.name + " is at version " +
                                       (current_id.empty() ? "none" : current_id) + ", not at " +
                                       (write.if_version->empty() ? "none" : *write.if_version) +
                                       "; read it again and retry.");
    }
  }
  TimeMs now = clock_.NowMs();
  if (write.move != nullptr) TRY(ApplyMove(*mutation, *write.move, secret));
  secret.kms_key = write.key;
  TRY_ASSIGN(std::vector<SelectorId> dropped,
             secret.AddVersion(std::move(sealed.version), write.stages, now));
  if (write.description) secret.description = *write.description;
  for (SelectorId number : dropped) TRY(mutation->RemoveVersion(number));
  TRY(mutation->PutVersion(sealed.number, secret.path, sealed.keys, sealed.envelope));
  TRY(mutation->PutSecret(secret));
  TRY(mutation->AppendChange(secret.path, ChangeKind::kLabelsMoved, now));
  event.version_id = version_id;
  TRY(CommitWithEvent(*mutation, event));
  return WrittenVersion{IdentityOf(secret), version_id, secret.LabelsOf(sealed.number)};
}

Result<WrittenVersion> LocalService::WriteUnderOwnKey(const Caller& caller, SecretPtr seen,
                                                      VersionWrite write, AuditEvent& event) {
  for (int i = 1;; ++i) {
    TRY_ASSIGN(write.key, FindKey(caller, seen->kms_key_id, KeyCheck::kForWriting));
    auto written = WriteVersion(caller, *seen, write, event);
    if (written || written.error().code != Code::kConflict || i == kWriteTries) return written;
    TRY_ASSIGN(SecretPtr now, LoadAgain(*seen));
    // Then it is the conflict of `if_version`, for the caller to solve.
    if (now->kms_key_id == seen->kms_key_id) return written;
    seen = std::move(now);
  }
}

// --- create, put, update

std::string LocalService::NewArnSuffix() {
  static constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  std::string suffix;
  while (suffix.size() < kArnSuffixSize) {
    uint8_t byte = 0;
    random_.Fill({&byte, 1});
    // 248 = 4 * 62: every character is as likely as any other.
    if (byte < 248) suffix.push_back(kAlphabet[byte % kAlphabet.size()]);
  }
  return suffix;
}

Result<WrittenVersion> LocalService::InsertSecret(const SecretName& name, CreateRequest& request,
                                                  const crypto::KeyId& key, AuditEvent& event) {
  Secret secret;
  secret.name = name.text();
  secret.arn_suffix = NewArnSuffix();
  secret.description = request.description;
  secret.ever_tagged = !request.tags.empty();
  secret.tags = request.tags;
  secret.created_at = secret.changed_at = clock_.NowMs();
  if (key != kms_.default_key()) secret.kms_key_id = request.kms_key_id;
  secret.kms_key = key;
  secret.arn = SecretArn(realm(), secret.name, secret.arn_suffix);
  event.resource_arn = secret.arn;
  SealedValue sealed;
  if (request.value) {
    TRY_ASSIGN(sealed, Seal(*request.value, secret.arn, request.client_request_token, key));
    event.version_id = request.client_request_token;
  }
  TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, parts_.store->Begin());
  TRY_ASSIGN(secret.path, mutation->EnsurePath(name));
  TRY_ASSIGN(std::optional<Secret> existing, mutation->Load(secret.path));
  if (existing) {
    return Fail(Code::kAlreadyExists,
                "The operation failed because the secret " + secret.name + " already exists.");
  }
  // The key's owner may have seen no secret under it and ended it.
  TRY(kms_.CheckUsable(*mutation, key));
  if (request.value) {
    TRY(secret.AddVersion(std::move(sealed.version), {}, secret.created_at));
    TRY(mutation->PutVersion(sealed.number, secret.path, sealed.keys, sealed.envelope));
  }
  TRY(mutation->PutSecret(secret));
  TRY(mutation->AppendChange(secret.path, ChangeKind::kCreated, secret.created_at));
  TRY(CommitWithEvent(*mutation, event));
  WrittenVersion written{IdentityOf(secret), "", {}};
  if (request.value) {
    written.version_id = request.client_request_token;
    written.version_stages = secret.LabelsOf(sealed.number);
  }
  return written;
}

Result<WrittenVersion> LocalService::CreateSecret(const Caller& caller, CreateRequest request) {
  AuditEvent event = NewEvent(caller, Action::kCreateSecret, request.name, request.request_id);
  auto create = [&]() -> Result<WrittenVersion> {
    TRY(Decide(caller.principal, event.action, request.name));
    TRY_ASSIGN(SecretName name, SecretName::Parse(request.name));
    TRY(ValidateToken(request.client_request_token));
    TRY(ValidateDescription(request.description));
    TRY(ValidateTags(request.tags));
    if (request.value) TRY(ValidateValue(*request.value));
    TRY_ASSIGN(SecretPtr existing, Resolve({name, std::nullopt}));
    if (existing == nullptr) {
      const bool named = !request.kms_key_id.empty();
      crypto::KeyId key = kms_.default_key();
      if (named || request.value) {
        TRY_ASSIGN(key, FindKey(caller, request.kms_key_id,
                                named ? KeyCheck::kNamedAnew : KeyCheck::kForWriting));
      }
      return InsertSecret(name, request, key, event);
    }
    event.resource_arn = existing->arn;
    if (existing->deletion_at) return std::unexpected(ScheduledForDeletion());
    const Version* version = existing->FindVersionById(request.client_request_token);
    if (version == nullptr || !request.value) {
      return Fail(Code::kAlreadyExists,
                  "The operation failed because the secret " + name.text() + " already exists.");
    }
    return Replay(caller, *existing, *version, *request.value, event);
  };
  auto created = create();
  if (!created) return Refuse(event, std::move(created).error());
  return created;
}

Result<WrittenVersion> LocalService::PutSecretValue(const Caller& caller, PutRequest request) {
  AuditEvent event =
      NewEvent(caller, Action::kPutSecretValue, request.secret_id, request.request_id);
  auto put = [&]() -> Result<WrittenVersion> {
    TRY_ASSIGN(SecretPtr secret, FindLive(caller, request.secret_id, event));
    TRY(ValidateToken(request.client_request_token));
    TRY(ValidateValue(request.value));
    if (request.version_stages.size() > kLabelsPerSecretMax) {
      return Fail(Code::kValidation, "At most 20 VersionStages can be given.");
    }
    if (const Version* version = secret->FindVersionById(request.client_request_token)) {
      return Replay(caller, *secret, *version, request.value, event);
    }
    return WriteUnderOwnKey(caller, secret,
                            {.version_id = request.client_request_token,
                             .value = request.value,
                             .stages = request.version_stages,
                             .if_version = request.if_version,
                             .description = std::nullopt},
                            event);
  };
  auto written = put();
  if (!written) return Refuse(event, std::move(written).error());
  return written;
}

Result<WrittenVersion> LocalService::UpdateSecret(const Caller& caller, UpdateRequest request) {
  AuditEvent event = NewEvent(caller, Action::kUpdateSecret, request.secret_id, request.request_id);
  auto update = [&]() -> Result<WrittenVersion> {
    TRY_ASSIGN(SecretPtr secret, FindLive(caller, request.secret_id, event));
    if (request.description) TRY(ValidateDescription(*request.description));
    if (request.value) {
      TRY(ValidateToken(request.client_request_token));
      TRY(ValidateValue(*request.value));
      if (const Version* version = secret->FindVersionById(request.client_request_token)) {
        return Replay(caller, *secret, *version, *request.value, event);
      }
    }
    // Also to the same name, which may stand for another key by now.
    if (request.kms_key_id) return UpdateWithKey(caller, secret, request, event);
    if (!request.value) {
      auto describe = [&](Secret& changed) -> Result<bool> {
        if (!request.description || *request.description == changed.description) return false;
        changed.description = *request.description;
        return true;
      };
      TRY_ASSIGN(Secret changed, Edit(*secret, ChangeKind::kMetadata, event, describe));
      return WrittenVersion{IdentityOf(changed), "", {}};
    }
    return WriteUnderOwnKey(caller, secret,
                            {.version_id = request.client_request_token,
                             .value = *request.value,
                             .stages = {},
                             .if_version = std::nullopt,
                             .description = request.description},
                            event);
  };
  auto written = update();
  if (!written) return Refuse(event, std::move(written).error());
  return written;
}

// --- read

Result<SecretValue> LocalService::GetSecretValue(const Caller& caller, const std::string& secret_id,
                                                 const VersionSelector& selector,
                                                 const std::string& request_id) {
  AuditEvent event = NewEvent(caller, Action::kGetSecretValue, secret_id, request_id);
  event.version_stage = selector.version_stage.value_or("");
  event.version_id = selector.version_id.value_or("");
  auto get = [&]() -> Result<SecretValue> {
    TRY_ASSIGN(SecretPtr secret, FindLive(caller, secret_id, event));
    if (selector.version_id) TRY(ValidateVersionId(*selector.version_id));
    constexpr std::string_view kCannotFindValue =
        "Secrets Manager can't find the specified secret value for ";
    const Version* version = nullptr;
    if (selector.version_id) {
      version = secret->FindVersionById(*selector.version_id);
      if (version == nullptr) {
        return Fail(Code::kNotFound,
                    std::string(kCannotFindValue) + "VersionId: " + *selector.version_id);
      }
      if (selector.version_stage &&
          secret->FindVersionByLabel(*selector.version_stage) != version) {
        return Fail(
            Code::kFailedPrecondition,
            "You provided a VersionStage that is not associated to the provided VersionId.");
      }
    } else {
      std::string stage = selector.version_stage.value_or(std::string(kCurrent));
      version = secret->FindVersionByLabel(stage);
      if (version == nullptr) {
        return Fail(Code::kNotFound, std::string(kCannotFindValue) + "staging label: " + stage);
      }
    }
    SecretValue value{IdentityOf(*secret), version->id,   secret->LabelsOf(version->number),
                      version->created_at, version->kind, {}};
    event.version_id = version->id;
    TRY(DecideKms(caller.principal, Action::kKmsDecrypt, version->kms_key));
    TRY_ASSIGN(value.bytes, Unseal(*secret, *version));
    TRY(RecordSuccess(event));
    return value;
  };
  auto value = get();
  if (!value) return Refuse(event, std::move(value).error());
  return value;
}

Result<SecretPtr> LocalService::DescribeSecret(const Caller& caller, const std::string& secret_id,
                                               const std::string& request_id) {
  AuditEvent event = NewEvent(caller, Action::kDescribeSecret, secret_id, request_id);
  auto secret = Find(caller, secret_id, event);
  if (!secret) return Refuse(event, std::move(secret).error());
  TRY(RecordSuccess(event));
  return secret;
}

Result<SecretPtr> LocalService::ListSecretVersionIds(const Caller& caller,
                                                     const std::string& secret_id,
                                                     const std::string& request_id) {
  AuditEvent event = NewEvent(caller, Action::kListSecretVersionIds, secret_id, request_id);
  auto secret = Find(caller, secret_id, event);
  if (!secret) return Refuse(event, std::move(secret).error());
  TRY(RecordSuccess(event));
  return secret;
}

// A page token says where to go on, and is bound to the query that it belongs to.
std::string LocalService::PageToken(const ListRequest& request, PathId last) const {
  Bytes message = ByteWriter()
                      .U64(last)
                      .U8(request.include_planned_deletion)
                      .Sized(request.name_prefix)
                      .Sized(header().store_id)
                      .Take();
  crypto::Digest digest = crypto::Sha256(message);
  return ToHex(ByteWriter().U64(last).Raw(ByteSpan(digest).first(8)).Take());
}

Result<PathId> LocalService::ParsePageToken(const ListRequest& request) const {
  if (request.next_token.empty()) return PathId{0};
  if (auto bytes = FromHex(request.next_token); bytes && bytes->size() == 16) {
    PathId last = ByteReader(*bytes).U64();
    if (PageToken(request, last) == request.next_token) return last;
  }
  return Fail(Code::kInvalidArgument,
              "The NextToken does not belong to this query; start again without one.");
}

Result<SecretPage> LocalService::ListSecrets(const Caller& caller, const ListRequest& request) {
  AuditEvent event =
      NewEvent(caller, Action::kListSecrets, request.name_prefix, request.request_id);
  auto list = [&]() -> Result<SecretPage> {
    TRY(Decide(caller.principal, event.action, ""));
    if (request.max_results < 1 || request.max_results > kPageSizeMax) {
      return Fail(Code::kValidation, "MaxResults must be 1 to 100.");
    }
    TRY_ASSIGN(PathId after, ParsePageToken(request));
    SecretPage page;
    size_t scanned = 0;
    auto collect = [&](const Secret& secret) {
      // Full: a further record exists, so there is a next page.
      if (page.secrets.size() == static_cast<size_t>(request.max_results) ||
          scanned == kScannedPerPageMax) {
        page.next_token = PageToken(request, after);
        return false;
      }
      ++scanned;
      after = secret.path;
      bool hidden = secret.deletion_at && !request.include_planned_deletion;
      if (!hidden && secret.name.starts_with(request.name_prefix)) {
        page.secrets.push_back(std::make_shared<const Secret>(secret));
      }
      return true;
    };
    TRY(parts_.store->ListSecrets(after, collect));
    TRY(RecordSuccess(event));
    return page;
  };
  auto page = list();
  if (!page) return Refuse(event, std::move(page).error());
  return page;
}

// --- labels, deletion, tags

template <typename Edited>
Result<Secret> LocalService::Edit(const Secret& seen, ChangeKind kind, const AuditEvent& event,
                                  const Edited& edit) {
  TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, parts_.store->Begin());
  TRY_ASSIGN(Secret secret, Reload(*mutation, seen));
  TRY_ASSIGN(bool changed, edit(secret));
  if (!changed) {
    mutation.reset();
    TRY(RecordSuccess(event));
    return secret;
  }
  TimeMs now = clock_.NowMs();
  secret.changed_at = now;
  TRY(mutation->PutSecret(secret));
  TRY(mutation->AppendChange(secret.path, kind, now));
  TRY(CommitWithEvent(*mutation, event));
  return secret;
}

Result<SecretIdentity> LocalService::UpdateSecretVersionStage(const Caller& caller,
                                                              const MoveLabelRequest& request) {
  AuditEvent event =
      NewEvent(caller, Action::kUpdateSecretVersionStage, request.secret_id, request.request_id);
  event.version_stage = request.version_stage;
  event.version_id = request.move_to_version_id.value_or("");
  auto move = [&]() -> Result<SecretIdentity> {
    TRY_ASSIGN(SecretPtr secret, FindLive(caller, request.secret_id, event));
    auto edit = [&](Secret& changed) {
      return changed.MoveLabel(request.version_stage, request.remove_from_version_id,
                               request.move_to_version_id, clock_.NowMs());
    };
    TRY_ASSIGN(Secret changed, Edit(*secret, ChangeKind::kLabelsMoved, event, edit));
    return IdentityOf(changed);
  };
  auto moved = move();
  if (!moved) return Refuse(event, std::move(moved).error());
  return moved;
}

Result<DeletedSecret> LocalService::DeleteSecret(const Caller& caller,
                                                 const DeleteRequest& request) {
  AuditEvent event = NewEvent(caller, Action::kDeleteSecret, request.secret_id, request.request_id);
  auto remove = [&]() -> Result<DeletedSecret> {
    if (request.force && request.recovery_window_days) {
      return Fail(Code::kInvalidArgument,
                  "You can't use ForceDeleteWithoutRecovery in conjunction with "
                  "RecoveryWindowInDays.");
    }
    int64_t days = request.recovery_window_days.value_or(kRecoveryWindowDaysDefault);
    if (days < kRecoveryWindowDaysMin || days > kRecoveryWindowDaysMax) {
      return Fail(Code::kInvalidArgument,
                  "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).");
    }
    TimeMs now = clock_.NowMs();
    auto found = Find(caller, request.secret_id, event);
    if (!found && found.error().code == Code::kNotFound && request.force) {
      TRY(RecordSuccess(event));
      return DeletedSecret{
          {SecretArn(realm(), request.secret_id, NewArnSuffix()), request.secret_id}, now};
    }
    TRY_ASSIGN(SecretPtr secret, std::move(found));
    if (!request.force && secret->deletion_at) {
      return Fail(
          Code::kFailedPrecondition,
          "You tried to perform the operation on a secret that's currently marked deleted.");
    }
    if (!request.force) {
      auto schedule = [&](Secret& changed) -> Result<bool> {
        changed.deletion_at = now + days * kMsPerDay;
        return true;
      };
      TRY_ASSIGN(Secret changed, Edit(*secret, ChangeKind::kRemoved, event, schedule));
      return DeletedSecret{IdentityOf(changed), *changed.deletion_at};
    }
    TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, parts_.store->Begin());
    TRY_ASSIGN(Secret doomed, Reload(*mutation, *secret));
    TRY(mutation->RemoveSecret(doomed));
    TRY(mutation->AppendChange(doomed.path, ChangeKind::kRemoved, now));
    TRY(CommitWithEvent(*mutation, event));
    return DeletedSecret{IdentityOf(doomed), now};
  };
  auto deleted = remove();
  if (!deleted) return Refuse(event, std::move(deleted).error());
  return deleted;
}

Result<SecretIdentity> LocalService::RestoreSecret(const Caller& caller,
                                                   const std::string& secret_id,
                                                   const std::string& request_id) {
  AuditEvent event = NewEvent(caller, Action::kRestoreSecret, secret_id, request_id);
  auto restore = [&]() -> Result<SecretIdentity> {
    TRY_ASSIGN(SecretPtr secret, Find(caller, secret_id, event));
    auto edit = [](Secret& changed) -> Result<bool> {
      if (!changed.deletion_at) return false;
      changed.deletion_at.reset();
      return true;
    };
    TRY_ASSIGN(Secret restored, Edit(*secret, ChangeKind::kCreated, event, edit));
    return IdentityOf(restored);
  };
  auto restored = restore();
  if (!restored) return Refuse(event, std::move(restored).error());
  return restored;
}

Status LocalService::ChangeTags(const Caller& caller, const TagRequest& request, Action action) {
  AuditEvent event = NewEvent(caller, action, request.secret_id, request.request_id);
  auto change = [&]() -> Status {
    TRY_ASSIGN(SecretPtr secret, FindLive(caller, request.secret_id, event));
    auto edit = [&](Secret& changed) -> Result<bool> {
      std::map<std::string, std::string> tags = changed.tags;
      for (const auto& [key, value] : request.set) tags[key] = value;
      for (const std::string& key : request.remove) tags.erase(key);
      TRY(ValidateTags(tags));
      if (tags == changed.tags) return false;
      changed.tags = std::move(tags);
      changed.ever_tagged = true;
      return true;
    };
    TRY(Edit(*secret, ChangeKind::kMetadata, event, edit));
    return {};
  };
  Status changed = change();
  if (!changed) return Refuse(event, std::move(changed).error());
  return {};
}

Status LocalService::TagResource(const Caller& caller, const TagRequest& request) {
  return ChangeTags(caller, request, Action::kTagResource);
}
Status LocalService::UntagResource(const Caller& caller, const TagRequest& request) {
  return ChangeTags(caller, request, Action::kUntagResource);
}

}  // namespace secretfs::store
