#include "store/kms_page.h"
#include "store/local_kms.h"

namespace secretfs::store {
namespace {

constexpr PageLimits kAliasPage{.most = 100, .usual = 50};

Status CheckAliasName(const std::string& name) {
  TRY(ValidateAliasName(name));
  if (name.starts_with(kAwsAliasPrefix)) {
    return Fail(Code::kInvalidAliasName,
                "Aliases that begin with alias/aws/ are AWS's own; choose another name.");
  }
  return {};
}

std::unexpected<Error> NoSuchAlias(const std::string& arn) {
  return Fail(Code::kNotFound, "Alias " + arn + " is not found.");
}

// What an alias stands for may change, not what can be done with it.
bool IsSameKind(const KmsKey& one, const KmsKey& other) {
  return one.usage == other.usage && one.symmetric() == other.symmetric() &&
         crypto::IsAsymmetric(one.spec) == crypto::IsAsymmetric(other.spec);
}

}  // namespace

Status LocalKms::CreateAlias(const Caller& caller, const AliasRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsCreateAlias, request.alias_name, request.request_id);
  return Audited(event, [&]() -> Status {
    const std::string arn = AliasArn(realm_, request.alias_name);
    event.resource_arn = arn;
    TRY(Authorize(caller, event.action, arn, request.alias_name));
    TRY(CheckAliasName(request.alias_name));
    TRY_ASSIGN(KmsKeyPtr seen, Find(caller, request.target_key_id, Names::kIdOrArn, event));
    TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, door_.Begin());
    TRY_ASSIGN(KmsKey key, Reload(*mutation, *seen));
    TRY(CheckState(key, event.action));
    TRY_ASSIGN(std::optional<Alias> existing, records_.FindAlias(*mutation, request.alias_name));
    if (existing) {
      return Fail(Code::kAlreadyExists, "An alias with the name " + arn + " already exists");
    }
    const TimeMs now = Now();
    TRY(records_.PutAlias(*mutation, {request.alias_name, key.id, now, now}));
    return Commit(*mutation, key.id, event);
  });
}

Status LocalKms::UpdateAlias(const Caller& caller, const AliasRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsUpdateAlias, request.alias_name, request.request_id);
  return Audited(event, [&]() -> Status {
    const std::string arn = AliasArn(realm_, request.alias_name);
    event.resource_arn = arn;
    TRY(Authorize(caller, event.action, arn, request.alias_name));
    TRY(CheckAliasName(request.alias_name));
    TRY_ASSIGN(KmsKeyPtr seen, Find(caller, request.target_key_id, Names::kIdOrArn, event));
    TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, door_.Begin());
    TRY_ASSIGN(std::optional<Alias> alias, records_.FindAlias(*mutation, request.alias_name));
    if (!alias) return NoSuchAlias(arn);
    TRY_ASSIGN(KmsKey key, Reload(*mutation, *seen));
    TRY_ASSIGN(std::optional<KmsKey> before, records_.Load(*mutation, alias->target));
    // To lose an alias changes the old key, too.
    TRY(door_.Decide(caller.principal, event.action, ArnOf(alias->target), request.alias_name));
    TRY(CheckState(key, event.action));
    if (!before || !IsSameKind(*before, key)) {
      return Fail(Code::kValidation, "Alias " + arn + " cannot be moved to " + key.arn +
                                         ": the old and the new key must have the same type and "
                                         "key usage.");
    }
    TRY(records_.PutAlias(*mutation, {alias->name, key.id, alias->created_at, Now()}));
    return Commit(*mutation, key.id, event);
  });
}

Status LocalKms::DeleteAlias(const Caller& caller, const AliasRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsDeleteAlias, request.alias_name, request.request_id);
  return Audited(event, [&]() -> Status {
    const std::string arn = AliasArn(realm_, request.alias_name);
    event.resource_arn = arn;
    TRY(Authorize(caller, event.action, arn, request.alias_name));
    TRY(CheckAliasName(request.alias_name));
    TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, door_.Begin());
    TRY_ASSIGN(std::optional<Alias> alias, records_.FindAlias(*mutation, request.alias_name));
    if (!alias) return NoSuchAlias(arn);
    event.resource_arn = ArnOf(alias->target);
    TRY(door_.Decide(caller.principal, event.action, event.resource_arn, request.alias_name));
    TRY(records_.RemoveAlias(*mutation, *alias));
    return Commit(*mutation, alias->target, event);
  });
}

Result<KmsPage<Alias>> LocalKms::ListAliases(const Caller& caller,
                                             const ListForKeyRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsListAliases, request.key_id, request.request_id);
  return AuditedRead(event, [&]() -> Result<KmsPage<Alias>> {
    KmsKeyPtr key;
    if (request.key_id.empty()) {
      TRY(Authorize(caller, event.action, "", ""));
    } else {
      TRY_ASSIGN(key, Find(caller, request.key_id, Names::kIdOrArn, event));
    }
    TRY_ASSIGN(PageInProgress page,
               PageInProgress::Open(records_, request.page, "ListAliases " + event.resource_arn,
                                    kAliasPage));
    KmsPage<Alias> answer;
    TRY(records_.ListAliases(
        key == nullptr ? nullptr : &key->id, page.cursor(),
        [&](ByteSpan cursor, const Alias& alias) { return page.Add(answer, cursor, alias); }));
    return answer;
  });
}

}  // namespace secretfs::store
