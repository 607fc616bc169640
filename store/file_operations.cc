#include "store/error_name.h"
#include "store/json_object.h"
#include "store/local_service.h"

namespace secretfs::store {

Result<std::optional<PathId>> LocalService::PeekChild(PathId parent, std::string_view component) {
  return parts_.store->FindChild(parent, component);
}

Result<bool> LocalService::PeekPathExists(PathId path) {
  return parts_.store->PathExists(path);
}

Result<SecretPtr> LocalService::PeekSecret(PathId path) {
  TRY_ASSIGN(SecretPtr secret, parts_.store->Load(path));
  return secret != nullptr && secret->deletion_at ? SecretPtr() : secret;
}

Result<std::optional<PathId>> LocalService::PeekVersionPath(SelectorId number) {
  TRY_ASSIGN(VersionRecordPtr record, parts_.store->LoadVersion(number));
  return record == nullptr ? std::nullopt : std::optional<PathId>(record->path);
}

Result<std::optional<InternedName>> LocalService::PeekLabel(SelectorId selector) {
  return parts_.store->FindLabelSelector(selector);
}

Result<std::optional<KeySlot>> LocalService::PeekKeySlot(std::string_view key) {
  return parts_.store->FindKeySlot(key);
}

Result<std::optional<uint32_t>> LocalService::PeekKeySize(SelectorId number, KeySlot slot) {
  TRY_ASSIGN(VersionRecordPtr record, parts_.store->LoadVersion(number));
  const KeyEntry* entry = record == nullptr ? nullptr : record->FindKey(slot);
  return entry == nullptr ? std::nullopt : std::optional<uint32_t>(entry->size_bytes);
}

bool LocalService::May(const Principal& principal, Action action, const Secret& secret) {
  return DecideOn(principal, action, secret, secret.kms_key).has_value();
}

bool LocalService::MayListSecrets(const Principal& principal) {
  return Decide(principal, Action::kListSecrets, "").has_value();
}

// Opens come often, so their events are built without copying a text.
AuditEventView LocalService::FileEvent(const Caller& caller, const Secret& secret,
                                       Action action) const {
  return {.at = clock_.NowMs(),
          .action = action,
          .door = caller.door,
          .principal_arn = caller.principal.arn,
          .uid = caller.principal.uid,
          .gid = caller.principal.gid,
          .pid = caller.pid,
          .request_id = {},
          .secret_id = secret.name,
          .resource_arn = secret.arn,
          .version_id = {},
          .version_stage = {},
          .error_code = {},
          .error_message = {}};
}

Status LocalService::RecordDecision(Status decided, AuditEventView event) {
  if (!decided) {
    event.error_code = AwsErrorName(decided.error().code);
    event.error_message = decided.error().message;
  }
  TRY(Record(event));
  return decided;
}

Status LocalService::OpenValue(const Caller& caller, const Secret& secret, const Version& version,
                               std::string_view stage) {
  AuditEventView event = FileEvent(caller, secret, Action::kGetSecretValue);
  event.version_id = version.id;
  event.version_stage = stage;
  Status decided = DecideOn(caller.principal, event.action, secret, version.kms_key);
  if (decided) decided = kms_.CheckUsable(version.kms_key);
  return RecordDecision(std::move(decided), event);
}

Result<crypto::SecretBuffer> LocalService::ReadValue(const Caller& caller, SelectorId number,
                                                     const ValueFile& file) {
  TRY_ASSIGN(VersionRecordPtr record, parts_.store->LoadVersion(number));
  SecretPtr secret;
  if (record != nullptr) {
    TRY_ASSIGN(secret, parts_.store->Load(record->path));
  }
  const Version* version = secret == nullptr ? nullptr : secret->FindVersionByNumber(number);
  if (version == nullptr) return Fail(Code::kStale, "the version behind an open file is gone");
  Status decided = DecideOn(caller.principal, Action::kGetSecretValue, *secret, version->kms_key);
  if (decided && secret->deletion_at) {
    decided = Fail(Code::kFailedPrecondition,
                   "You can't perform this operation on the secret because it was marked for "
                   "deletion.");
  }
  const auto refuse = [&](Error error) {
    AuditEvent event = NewEvent(caller, Action::kGetSecretValue, secret->name, "");
    event.resource_arn = secret->arn;
    event.version_id = version->id;
    return Refuse(event, std::move(error));
  };
  if (!decided) return refuse(std::move(decided).error());
  TRY(MovePendingEventsIfAny());
  auto unsealed = Unseal(*secret, *version);
  if (!unsealed && unsealed.error().code == Code::kKeyUnavailable) {
    return refuse(std::move(unsealed).error());
  }
  TRY_ASSIGN(crypto::SecretBuffer value, std::move(unsealed));
  if (!file.key) return value;
  TRY_ASSIGN(std::string key, parts_.store->KeyText(*file.key));
  if (auto members = ScanJsonObject(value.Reveal())) {
    for (const JsonMember& member : *members) {
      if (member.key == key) return JsonMemberContent(value.Reveal(), member);
    }
  }
  return Fail(Code::kCorrupt, "version " + version->id + " of " + secret->name +
                                  " lacks a key that its record lists");
}

Status LocalService::OpenMetadata(const Caller& caller, const Secret& secret, Action action) {
  return RecordDecision(DecideOn(caller.principal, action, secret, secret.kms_key),
                        FileEvent(caller, secret, action));
}

Status LocalService::OpenPrefix(const Caller& caller, PathId path) {
  AuditEvent event = NewEvent(caller, Action::kListSecrets, "", "");
  auto prefix = parts_.store->PathText(path);
  if (!prefix) return Refuse(event, std::move(prefix).error());
  event.secret_id = std::move(*prefix);
  Status decided = Decide(caller.principal, event.action, "");
  if (!decided) return Refuse(event, std::move(decided).error());
  return RecordSuccess(event);
}

Status LocalService::ListChildren(PathId parent, uint64_t cursor, const ChildVisitor& visit) {
  return parts_.store->ListChildren(parent, cursor, visit);
}

Result<std::vector<SecretService::KeyFile>> LocalService::ListKeys(SelectorId number) {
  TRY_ASSIGN(VersionRecordPtr record, parts_.store->LoadVersion(number));
  std::vector<KeyFile> files;
  if (record == nullptr) return files;
  for (const KeyEntry& entry : record->keys) {
    TRY_ASSIGN(std::string key, parts_.store->KeyText(entry.slot));
    files.push_back({entry.slot, std::move(key), entry.size_bytes});
  }
  return files;
}

}  // namespace secretfs::store
