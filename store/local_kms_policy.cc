// Tags and policies.

#include <utility>

#include "store/key_policy.h"
#include "store/kms_page.h"
#include "store/local_kms.h"

namespace secretfs::store {
namespace {

constexpr PageLimits kTagPage{.most = 50, .usual = 50};
constexpr PageLimits kPolicyPage{.most = 1000, .usual = 100};
constexpr std::string_view kPolicyName = "default";

Status CheckPolicyName(const std::string& name) {
  if (name == kPolicyName) return {};
  return Fail(Code::kNotFound, "No such policy exists: a key's policy is named default.");
}

}  // namespace

Status LocalKms::ChangeTags(const Caller& caller, const KeyTagsRequest& request, Action action) {
  AuditEvent event = door_.NewEvent(caller, action, request.key_id, request.request_id);
  return Audited(event, [&]() -> Status {
    TRY_ASSIGN(KmsKeyPtr seen, Find(caller, request.key_id, Names::kIdOrArn, event));
    const auto edit = [&](KmsKey& key) -> Result<bool> {
      TRY(CheckState(key, action));
      TRY(ValidateKeyTags(request.set));
      std::map<std::string, std::string> tags = key.tags;
      for (const auto& [name, value] : request.set) tags[name] = value;
      for (const std::string& name : request.remove) tags.erase(name);
      if (tags.size() > kTagsPerKeyMax) return Fail(Code::kLimitExceeded, "Too many tags");
      return std::exchange(key.tags, tags) != tags;
    };
    TRY(EditKey(*seen, event, edit));
    return {};
  });
}

Status LocalKms::TagResource(const Caller& caller, const KeyTagsRequest& request) {
  return ChangeTags(caller, request, Action::kKmsTagResource);
}

Status LocalKms::UntagResource(const Caller& caller, const KeyTagsRequest& request) {
  return ChangeTags(caller, request, Action::kKmsUntagResource);
}

Result<KmsPage<KeyTag>> LocalKms::ListResourceTags(const Caller& caller,
                                                   const ListForKeyRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsListResourceTags, request.key_id, request.request_id);
  return AuditedRead(event, [&]() -> Result<KmsPage<KeyTag>> {
    TRY_ASSIGN(KmsKeyPtr key, Find(caller, request.key_id, Names::kIdOrArn, event));
    TRY_ASSIGN(PageInProgress page, PageInProgress::Open(records_, request.page,
                                                         "ListResourceTags " + key->arn, kTagPage));
    KmsPage<KeyTag> answer;
    const std::string after(AsText(page.cursor()));
    auto tag = page.cursor().empty() ? key->tags.begin() : key->tags.upper_bound(after);
    while (tag != key->tags.end() &&
           page.Add(answer, AsBytes(tag->first), KeyTag{tag->first, tag->second})) {
      ++tag;
    }
    return answer;
  });
}

Result<std::string> LocalKms::GetKeyPolicy(const Caller& caller,
                                           const GetKeyPolicyRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsGetKeyPolicy, request.key_id, request.request_id);
  return AuditedRead(event, [&]() -> Result<std::string> {
    TRY_ASSIGN(KmsKeyPtr key, Find(caller, request.key_id, Names::kIdOrArn, event));
    TRY(CheckPolicyName(request.policy_name));
    if (key->manager == KeyManager::kAws) {
      return SecretsManagerKeyPolicy(realm_.account, realm_.region);
    }
    return key->policy.empty() ? DefaultKeyPolicy(realm_.account) : key->policy;
  });
}

Status LocalKms::PutKeyPolicy(const Caller& caller, const PutKeyPolicyRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsPutKeyPolicy, request.key_id, request.request_id);
  return Audited(event, [&]() -> Status {
    TRY_ASSIGN(KmsKeyPtr seen, Find(caller, request.key_id, Names::kIdOrArn, event));
    TRY(CheckPolicyName(request.policy_name));
    TRY(CheckKeyPolicy(request.policy,
                       {.account = realm_.account,
                        .caller = caller.principal.arn,
                        .bypass_lockout = request.bypass_policy_lockout_safety_check}));
    const auto edit = [&](KmsKey& key) -> Result<bool> {
      TRY(CheckState(key, event.action));
      return std::exchange(key.policy, request.policy) != request.policy;
    };
    TRY(EditKey(*seen, event, edit));
    return {};
  });
}

Result<KmsPage<std::string>> LocalKms::ListKeyPolicies(const Caller& caller,
                                                       const ListForKeyRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsListKeyPolicies, request.key_id, request.request_id);
  return AuditedRead(event, [&]() -> Result<KmsPage<std::string>> {
    TRY_ASSIGN(KmsKeyPtr key, Find(caller, request.key_id, Names::kIdOrArn, event));
    TRY(PageInProgress::Open(records_, request.page, "ListKeyPolicies " + key->arn, kPolicyPage));
    KmsPage<std::string> answer;
    answer.entries.emplace_back(kPolicyName);
    return answer;
  });
}

}  // namespace secretfs::store
