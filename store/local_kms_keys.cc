#include <algorithm>

#include "store/json_object.h"
#include "store/key_policy.h"
#include "store/kms_page.h"
#include "store/local_kms.h"

namespace secretfs::store {
namespace {

constexpr PageLimits kKeyPage{.most = 1000, .usual = 100};

Status ValidateDescription(const std::string& description) {
  if (description.size() <= kKeyDescriptionBytesMax) return {};
  return Fail(Code::kValidation,
              "1 validation error detected: Value at 'description' failed to satisfy constraint: "
              "Member must have length less than or equal to 8192");
}

Status ValidateCreate(const CreateKeyRequest& request) {
  TRY(ValidateDescription(request.description));
  if (request.origin == KeyOrigin::kAwsCloudHsm || request.origin == KeyOrigin::kExternalKeyStore ||
      !request.custom_key_store_id.empty()) {
    return Fail(Code::kUnsupported, "Custom key stores are not supported.");
  }
  if (request.multi_region) {
    return Fail(Code::kUnsupported, "Multi-Region keys are not supported.");
  }
  if (!crypto::IsSupported(request.key_spec)) {
    return Fail(Code::kUnsupported, "KeySpec " + std::string(crypto::NameOf(request.key_spec)) +
                                        " is not supported by this build.");
  }
  if (!request.key_usage && request.key_spec != crypto::KeySpec::kSymmetricDefault) {
    return Fail(Code::kValidation,
                "You must specify a KeyUsage value for all KMS keys except for symmetric "
                "encryption keys.");
  }
  const auto usages = crypto::UsagesOf(request.key_spec);
  if (request.key_usage && std::ranges::find(usages, *request.key_usage) == usages.end()) {
    return Fail(Code::kValidation, "KeyUsage " + std::string(crypto::NameOf(*request.key_usage)) +
                                       " is not compatible with KeySpec " +
                                       std::string(crypto::NameOf(request.key_spec)));
  }
  return ValidateKeyTags(request.tags);
}

}  // namespace

Result<KmsKeyPtr> LocalKms::CreateKey(const Caller& caller, const CreateKeyRequest& request) {
  AuditEvent event = door_.NewEvent(caller, Action::kKmsCreateKey, "", request.request_id);
  return Audited(event, [&]() -> Result<KmsKeyPtr> {
    TRY(Authorize(caller, event.action, "", ""));
    TRY(ValidateCreate(request));
    KmsKey key;
    key.id = crypto::NewUuid(door_.random_source());
    key.arn = ArnOf(key.id);
    event.resource_arn = key.arn;
    if (request.policy) {
      TRY(CheckKeyPolicy(*request.policy,
                         {.account = realm_.account,
                          .caller = caller.principal.arn,
                          .bypass_lockout = request.bypass_policy_lockout_safety_check}));
      key.policy = *request.policy;
    }
    key.description = request.description;
    key.spec = request.key_spec;
    key.usage = request.key_usage.value_or(crypto::KeyUsage::kEncryptDecrypt);
    key.origin = request.origin;
    key.created_at = Now();
    key.tags = request.tags;
    key.state = KeyState::kPendingImport;
    NewGeneration first;
    first.root_generation = root_generation_;
    if (key.origin == KeyOrigin::kAwsKms) {
      TRY_ASSIGN(first, Generate(key.id, key.spec));
      key.state = KeyState::kEnabled;
      key.public_key = first.public_key;
      key.materials.push_back(first.material);
    }
    TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, door_.Begin());
    TRY(CheckRoot(first));
    TRY(records_.PutKey(*mutation, key));
    TRY(Commit(*mutation, key.id, event));
    return std::make_shared<const KmsKey>(std::move(key));
  });
}

Result<KmsKeyPtr> LocalKms::DescribeKey(const Caller& caller, const DescribeKeyRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsDescribeKey, request.key_id, request.request_id);
  return AuditedRead(event, [&]() -> Result<KmsKeyPtr> {
    TRY_ASSIGN(KmsKeyPtr key, Find(caller, request.key_id, Names::kAll, event));
    TRY(CheckGrantTokens(request.grant_tokens));
    if (key->StateAt(Now()) == key->state) return key;
    KmsKey ended = *key;
    ended.state = key->StateAt(Now());
    return std::make_shared<const KmsKey>(std::move(ended));
  });
}

Result<KmsPage<crypto::KeyId>> LocalKms::ListKeys(const Caller& caller,
                                                  const ListKeysRequest& request) {
  AuditEvent event = door_.NewEvent(caller, Action::kKmsListKeys, "", request.request_id);
  return AuditedRead(event, [&]() -> Result<KmsPage<crypto::KeyId>> {
    TRY(Authorize(caller, event.action, "", ""));
    TRY_ASSIGN(PageInProgress page,
               PageInProgress::Open(records_, request.page, "ListKeys", kKeyPage));
    KmsPage<crypto::KeyId> answer;
    crypto::KeyId after{};
    const bool continues = page.cursor().size() == after.size();
    if (continues) std::ranges::copy(page.cursor(), after.begin());
    TRY(records_.ListKeys(continues ? &after : nullptr,
                          [&](const crypto::KeyId& key) { return page.Add(answer, key, key); }));
    return answer;
  });
}

Status LocalKms::EnableKey(const Caller& caller, const KeyRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsEnableKey, request.key_id, request.request_id);
  return Audited(event, [&]() -> Status {
    TRY_ASSIGN(KmsKeyPtr seen, Find(caller, request.key_id, Names::kIdOrArn, event));
    const auto edit = [&](KmsKey& key) -> Result<bool> {
      TRY(CheckState(key, event.action));
      return std::exchange(key.state, KeyState::kEnabled) != KeyState::kEnabled;
    };
    TRY(EditKey(*seen, event, edit));
    return {};
  });
}

Status LocalKms::DisableKey(const Caller& caller, const KeyRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsDisableKey, request.key_id, request.request_id);
  return Audited(event, [&]() -> Status {
    TRY_ASSIGN(KmsKeyPtr seen, Find(caller, request.key_id, Names::kIdOrArn, event));
    const auto edit = [&](KmsKey& key) -> Result<bool> {
      TRY(CheckState(key, event.action));
      return std::exchange(key.state, KeyState::kDisabled) != KeyState::kDisabled;
    };
    TRY(EditKey(*seen, event, edit));
    return {};
  });
}

Status LocalKms::UpdateKeyDescription(const Caller& caller,
                                      const UpdateKeyDescriptionRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsUpdateKeyDescription, request.key_id, request.request_id);
  return Audited(event, [&]() -> Status {
    TRY_ASSIGN(KmsKeyPtr seen, Find(caller, request.key_id, Names::kIdOrArn, event));
    TRY(ValidateDescription(request.description));
    const auto edit = [&](KmsKey& key) -> Result<bool> {
      TRY(CheckState(key, event.action));
      return std::exchange(key.description, request.description) != request.description;
    };
    TRY(EditKey(*seen, event, edit));
    return {};
  });
}

Result<ScheduledKeyDeletion> LocalKms::ScheduleKeyDeletion(
    const Caller& caller, const ScheduleKeyDeletionRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsScheduleKeyDeletion, request.key_id, request.request_id);
  return Audited(event, [&]() -> Result<ScheduledKeyDeletion> {
    TRY_ASSIGN(KmsKeyPtr seen, Find(caller, request.key_id, Names::kIdOrArn, event));
    const int64_t days = request.pending_window_in_days.value_or(kKeyDeletionDaysMax);
    if (days < kKeyDeletionDaysMin || days > kKeyDeletionDaysMax) {
      return Fail(Code::kValidation,
                  "PendingWindowInDays must be between 7 and 30 days (inclusive).");
    }
    ScheduledKeyDeletion answer;
    const auto schedule = [&](KmsKey& key) -> Result<bool> {
      TRY(CheckState(key, event.action));
      TRY_ASSIGN(answer.secrets, SecretNames(key.id));
      if (!answer.secrets.empty() && !request.confirm) {
        std::string text = "Secrets are encrypted under " + key.arn +
                           " and cannot be read once its deletion is scheduled: ";
        for (const std::string& name : answer.secrets) {
          if (name != answer.secrets.front()) text += ", ";
          text += name;
        }
        return Fail(Code::kConflict,
                    text + "; move them to another key, or confirm that they may go.");
      }
      key.state = KeyState::kPendingDeletion;
      key.deletion_at = Now() + days * kMsPerDay;
      return true;
    };
    TRY_ASSIGN(const KmsKey key, EditKey(*seen, event, schedule));
    answer.key_id = key.arn;
    answer.deletion_date = *key.deletion_at;
    answer.pending_window_in_days = static_cast<int>(days);
    return answer;
  });
}

Result<std::string> LocalKms::CancelKeyDeletion(const Caller& caller, const KeyRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsCancelKeyDeletion, request.key_id, request.request_id);
  return Audited(event, [&]() -> Result<std::string> {
    TRY_ASSIGN(KmsKeyPtr seen, Find(caller, request.key_id, Names::kIdOrArn, event));
    const auto edit = [&](KmsKey& key) -> Result<bool> {
      TRY(CheckState(key, event.action));
      key.state = key.HasAllMaterial() ? KeyState::kDisabled : KeyState::kPendingImport;
      key.deletion_at.reset();
      return true;
    };
    TRY(EditKey(*seen, event, edit));
    return seen->arn;
  });
}

// --- use

void LocalKms::NoteUse(const crypto::KeyId& key, Action operation) {
  const TimeMs now = Now();
  MutexLock lock(use_mutex_);
  NotedUse& noted = uses_[key];
  // What a record says of a day, it says once.
  if (noted.use.at / kMsPerDay != now / kMsPerDay) noted.saved = false;
  noted.use = {operation, now};
}

Status LocalKms::SaveUses() {
  if (!upgraded_) return {};
  std::vector<std::pair<crypto::KeyId, KeyUse>> unsaved;
  {
    MutexLock lock(use_mutex_);
    for (const auto& [key, noted] : uses_) {
      if (!noted.saved) unsaved.emplace_back(key, noted.use);
    }
  }
  if (unsaved.empty()) return {};
  TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, door_.Begin());
  bool wrote = false;
  for (const auto& [key, use] : unsaved) {
    // A key that was destroyed leaves nothing.
    TRY_ASSIGN(std::optional<KmsKey> record, records_.Load(*mutation, key));
    TRY_ASSIGN(const std::optional<KeyUse> before, records_.LoadUse(key));
    const bool known = before && before->at / kMsPerDay == use.at / kMsPerDay;
    if (!record || known) continue;
    TRY(records_.PutUse(*mutation, key, use));
    wrote = true;
  }
  if (wrote) TRY(door_.CommitSilently(*mutation));
  MutexLock lock(use_mutex_);
  for (const auto& [key, use] : unsaved) {
    auto noted = uses_.find(key);
    if (noted != uses_.end() && noted->second.use.at / kMsPerDay == use.at / kMsPerDay) {
      noted->second.saved = true;
    }
  }
  // Memory stays flat with many keys: what was not used today is in the records.
  const TimeMs today = Now() / kMsPerDay;
  std::erase_if(uses_, [&](const auto& entry) {
    return entry.second.saved && entry.second.use.at / kMsPerDay != today;
  });
  return {};
}

Result<KeyLastUsage> LocalKms::GetKeyLastUsage(const Caller& caller, const KeyRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsGetKeyLastUsage, request.key_id, request.request_id);
  return AuditedRead(event, [&]() -> Result<KeyLastUsage> {
    TRY_ASSIGN(KmsKeyPtr key, Find(caller, request.key_id, Names::kIdOrArn, event));
    KeyLastUsage answer{key->arn, std::nullopt, key->created_at, key->created_at};
    TRY_ASSIGN(answer.last, records_.LoadUse(key->id));
    MutexLock lock(use_mutex_);
    if (auto noted = uses_.find(key->id); noted != uses_.end()) answer.last = noted->second.use;
    return answer;
  });
}

}  // namespace secretfs::store
