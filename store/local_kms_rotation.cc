#include <algorithm>

#include "store/kms_page.h"
#include "store/local_kms.h"

namespace secretfs::store {
namespace {

constexpr PageLimits kRotationPage{.most = 1000, .usual = 100};

Status CheckRotates(const KmsKey& key) {
  if (key.symmetric()) return {};
  return Fail(Code::kUnsupported, key.arn + " is a " + std::string(crypto::NameOf(key.spec)) +
                                      " key; only symmetric encryption keys rotate.");
}

}  // namespace

Status LocalKms::EnableKeyRotation(const Caller& caller, const EnableKeyRotationRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsEnableKeyRotation, request.key_id, request.request_id);
  return Audited(event, [&]() -> Status {
    TRY_ASSIGN(KmsKeyPtr seen, Find(caller, request.key_id, Names::kIdOrArn, event));
    if (request.rotation_period_in_days &&
        (*request.rotation_period_in_days < kRotationPeriodDaysMin ||
         *request.rotation_period_in_days > kRotationPeriodDaysMax)) {
      return Fail(Code::kValidation,
                  "1 validation error detected: Value '" +
                      std::to_string(*request.rotation_period_in_days) +
                      "' at 'rotationPeriodInDays' failed to satisfy constraint: Member must have "
                      "value between 90 and 2560");
    }
    const auto edit = [&](KmsKey& key) -> Result<bool> {
      TRY(CheckRotates(key));
      TRY(CheckState(key, event.action));
      // Enabled again without a period it keeps the one that it has.
      const int unchanged =
          key.rotation_enabled ? key.rotation_period_days : kRotationPeriodDaysDefault;
      const int period = static_cast<int>(request.rotation_period_in_days.value_or(unchanged));
      if (key.rotation_enabled && period == key.rotation_period_days) return false;
      key.rotation_enabled = true;
      key.rotation_period_days = period;
      key.next_rotation_at = Now() + period * kMsPerDay;
      return true;
    };
    TRY(EditKey(*seen, event, edit));
    return {};
  });
}

Status LocalKms::DisableKeyRotation(const Caller& caller, const KeyRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsDisableKeyRotation, request.key_id, request.request_id);
  return Audited(event, [&]() -> Status {
    TRY_ASSIGN(KmsKeyPtr seen, Find(caller, request.key_id, Names::kIdOrArn, event));
    const auto edit = [&](KmsKey& key) -> Result<bool> {
      TRY(CheckRotates(key));
      TRY(CheckState(key, event.action));
      return std::exchange(key.rotation_enabled, false);
    };
    TRY(EditKey(*seen, event, edit));
    return {};
  });
}

Result<KeyRotationStatus> LocalKms::GetKeyRotationStatus(const Caller& caller,
                                                         const KeyRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsGetKeyRotationStatus, request.key_id, request.request_id);
  return AuditedRead(event, [&]() -> Result<KeyRotationStatus> {
    TRY_ASSIGN(KmsKeyPtr key, Find(caller, request.key_id, Names::kIdOrArn, event));
    TRY(CheckRotates(*key));
    TRY(CheckState(*key, event.action));
    KeyRotationStatus status;
    status.key_id = key->arn;
    status.enabled = key->rotation_enabled && key->state != KeyState::kPendingDeletion;
    if (!status.enabled) return status;
    status.period_in_days = key->rotation_period_days;
    status.next_rotation = key->next_rotation_at;
    return status;
  });
}

Result<std::string> LocalKms::RotateKeyOnDemand(const Caller& caller, const KeyRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsRotateKeyOnDemand, request.key_id, request.request_id);
  return Audited(event, [&]() -> Result<std::string> {
    TRY_ASSIGN(KmsKeyPtr seen, Find(caller, request.key_id, Names::kIdOrArn, event));
    TRY(CheckRotates(*seen));
    TRY(CheckState(*seen, event.action));
    NewGeneration next;
    next.root_generation = root_generation_;
    if (seen->origin == KeyOrigin::kAwsKms) {
      TRY_ASSIGN(next, Generate(seen->id, seen->spec));
    }
    const auto edit = [&](KmsKey& key) -> Result<bool> {
      TRY(CheckState(key, event.action));
      if (key.on_demand_rotations >= kOnDemandRotationsMax) {
        return Fail(Code::kLimitExceeded,
                    "The on-demand rotations limit has been reached for the given keyId. No more "
                    "on-demand rotations can be performed for this key: " +
                        key.arn);
      }
      if (key.origin == KeyOrigin::kExternal) {
        const KeyMaterial* pending = key.PendingRotation();
        if (pending == nullptr || pending->wrapped.empty() ||
            pending->valid_to.value_or(Now() + 1) <= Now()) {
          return Fail(Code::kFailedPrecondition,
                      "No available key material pending rotation for the key: " + key.arn + ".");
        }
        next.material = *pending;
      }
      TRY(CheckRoot(next));
      key.Rotate(next.material, RotationType::kOnDemand, Now());
      ++key.on_demand_rotations;
      return true;
    };
    TRY(EditKey(*seen, event, edit));
    return seen->arn;
  });
}

Result<KmsPage<KeyRotation>> LocalKms::ListKeyRotations(const Caller& caller,
                                                        const ListKeyRotationsRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsListKeyRotations, request.key_id, request.request_id);
  return AuditedRead(event, [&]() -> Result<KmsPage<KeyRotation>> {
    TRY_ASSIGN(KmsKeyPtr key, Find(caller, request.key_id, Names::kIdOrArn, event));
    TRY(CheckRotates(*key));
    const std::string question =
        "ListKeyRotations " + key->arn + (request.all_key_material ? " all" : "");
    TRY_ASSIGN(PageInProgress page,
               PageInProgress::Open(records_, request.page, question, kRotationPage));
    KmsPage<KeyRotation> answer;
    const std::string after = ToHex(page.cursor());
    bool started = after.empty();
    for (const KeyMaterial& material : key->materials) {
      const bool is_last_seen = ToHex(material.id) == after;
      const bool is_wanted = request.all_key_material || material.rotation != RotationType::kNone;
      if (started && is_wanted) {
        KeyRotation shown = material;
        shown.wrapped.clear();
        if (!page.Add(answer, material.id, std::move(shown))) break;
      }
      started = started || is_last_seen;
    }
    return answer;
  });
}

}  // namespace secretfs::store
