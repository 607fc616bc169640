#include <algorithm>

#include "crypto/base64.h"
#include "store/kms_page.h"
#include "store/local_kms.h"

namespace secretfs::store {
namespace {

constexpr PageLimits kGrantPage{.most = 100, .usual = 50};
constexpr std::string_view kTokenPurpose = "grant";
constexpr size_t kGrantTokenBytesMax = 8192;

std::unexpected<Error> WouldSucceed() {
  return Fail(Code::kDryRun, "The request would have succeeded, but the DryRun option is set.");
}

Result<GrantId> ParseGrantId(const std::string& text) {
  // A grant id looks as a material id does.
  const auto id = ParseMaterialId(text);
  if (id) return *id;
  return Fail(Code::kInvalidGrantId, "Invalid grant ID: a grant ID has 64 hexadecimal digits.");
}

std::unexpected<Error> NoSuchGrant(const std::string& id) {
  return Fail(Code::kNotFound, "Grant ID " + id + " not found");
}

}  // namespace

std::string LocalKms::NewGrantToken(const Grant& grant) const {
  const Bytes content = ByteWriter().Raw(grant.key).Raw(grant.id).Take();
  return std::string(
      AsText(crypto::Base64Encode(records_.SealToken(kTokenPurpose, content)).Reveal()));
}

Result<Grant> LocalKms::OpenGrantToken(const std::string& token) const {
  const auto invalid = [] {
    return Fail(Code::kInvalidGrantToken, "The grant token is not valid, or its grant has ended.");
  };
  if (token.size() > kGrantTokenBytesMax) return invalid();
  const auto sealed = crypto::Base64Decode(AsBytes(token));
  if (!sealed) return invalid();
  const auto content = records_.OpenToken(kTokenPurpose, sealed->Reveal());
  if (!content) return invalid();
  ByteReader in(content->Reveal());
  crypto::KeyId key{};
  GrantId id{};
  std::ranges::copy(in.Raw(key.size()), key.begin());
  std::ranges::copy(in.Raw(id.size()), id.begin());
  if (!in.Complete()) return invalid();
  TRY_ASSIGN(std::optional<Grant> grant, records_.LoadGrant(key, id));
  if (!grant) return invalid();
  return std::move(*grant);
}

Result<CreatedGrant> LocalKms::CreateGrant(const Caller& caller,
                                           const CreateGrantRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsCreateGrant, request.key_id, request.request_id);
  return Audited(event, [&]() -> Result<CreatedGrant> {
    TRY_ASSIGN(KmsKeyPtr seen, Find(caller, request.key_id, Names::kIdOrArn, event));
    TRY(CheckGrantTokens(request.grant_tokens));
    TRY(CheckState(*seen, event.action));
    Grant grant;
    grant.key = seen->id;
    grant.name = request.name;
    grant.grantee_principal = request.grantee_principal;
    grant.retiring_principal = request.retiring_principal;
    grant.issued_by = caller.principal.arn;
    grant.created_at = Now();
    grant.operations = request.operations;
    std::ranges::sort(grant.operations);
    const auto repeated = std::ranges::unique(grant.operations);
    grant.operations.erase(repeated.begin(), repeated.end());
    grant.constraints = request.constraints;
    TRY(ValidateGrant(grant, *seen));
    if (request.dry_run) return WouldSucceed();
    door_.random_source().Fill(grant.id);

    TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, door_.Begin());
    TRY_ASSIGN(const KmsKey key, Reload(*mutation, *seen));
    TRY(CheckState(key, event.action));
    if (!grant.name.empty()) {
      TRY_ASSIGN(std::optional<Grant> same, records_.FindNamedGrant(*mutation, grant));
      if (same) {
        // A retry gets the same grant, with a token of its own.
        mutation.reset();
        TRY(door_.RecordSuccess(event));
        return CreatedGrant{NewGrantToken(*same), ToHex(same->id)};
      }
    }
    TRY(records_.PutGrant(*mutation, grant));
    TRY(door_.CommitWithEvent(*mutation, event));
    return CreatedGrant{NewGrantToken(grant), ToHex(grant.id)};
  });
}

Result<KmsPage<Grant>> LocalKms::ListGrants(const Caller& caller,
                                            const ListGrantsRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsListGrants, request.key_id, request.request_id);
  return AuditedRead(event, [&]() -> Result<KmsPage<Grant>> {
    TRY_ASSIGN(KmsKeyPtr key, Find(caller, request.key_id, Names::kIdOrArn, event));
    std::optional<GrantId> wanted;
    if (!request.grant_id.empty()) {
      TRY_ASSIGN(wanted, ParseGrantId(request.grant_id));
    }
    const std::string question =
        "ListGrants " + key->arn + " " + request.grant_id + " " + request.grantee_principal;
    TRY_ASSIGN(PageInProgress page,
               PageInProgress::Open(records_, request.page, question, kGrantPage));
    KmsPage<Grant> answer;
    const auto fits = [&request](const Grant& grant) {
      return request.grantee_principal.empty() ||
             grant.grantee_principal == request.grantee_principal;
    };
    if (wanted) {
      TRY_ASSIGN(std::optional<Grant> grant, records_.LoadGrant(key->id, *wanted));
      if (grant && fits(*grant)) answer.entries.push_back(std::move(*grant));
      return answer;
    }
    TRY(records_.ListGrants(key->id, page.cursor(), [&](ByteSpan cursor, const Grant& grant) {
      return fits(grant) ? page.Add(answer, cursor, grant) : page.PassOver(answer, cursor);
    }));
    return answer;
  });
}

Result<KmsPage<Grant>> LocalKms::ListRetirableGrants(const Caller& caller,
                                                     const ListRetirableGrantsRequest& request) {
  AuditEvent event = door_.NewEvent(caller, Action::kKmsListRetirableGrants,
                                    request.retiring_principal, request.request_id);
  return AuditedRead(event, [&]() -> Result<KmsPage<Grant>> {
    TRY(Authorize(caller, event.action, "", ""));
    TRY(ValidatePrincipal(request.retiring_principal, "retiringPrincipal"));
    TRY_ASSIGN(
        PageInProgress page,
        PageInProgress::Open(records_, request.page,
                             "ListRetirableGrants " + request.retiring_principal, kGrantPage));
    KmsPage<Grant> answer;
    TRY(records_.ListRetirableGrants(
        request.retiring_principal, page.cursor(),
        [&](ByteSpan cursor, const Grant& grant) { return page.Add(answer, cursor, grant); }));
    return answer;
  });
}

Status LocalKms::EndGrant(const Grant& grant, const AuditEvent& event) {
  TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, door_.Begin());
  TRY_ASSIGN(std::optional<Grant> still, records_.LoadGrant(*mutation, grant.key, grant.id));
  if (!still) return NoSuchGrant(ToHex(grant.id));
  TRY(records_.RemoveGrant(*mutation, *still));
  return door_.CommitWithEvent(*mutation, event);
}

Status LocalKms::RetireGrant(const Caller& caller, const EndGrantRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsRetireGrant, request.key_id, request.request_id);
  return Audited(event, [&]() -> Status {
    const bool by_token = !request.grant_token.empty();
    if (by_token == !request.grant_id.empty() || by_token == !request.key_id.empty()) {
      return Fail(Code::kValidation, "Give either a GrantToken, or a KeyId and a GrantId.");
    }
    std::optional<Grant> grant;
    std::string resource = request.key_id;
    if (by_token) {
      TRY_ASSIGN(grant, OpenGrantToken(request.grant_token));
    } else if (const auto reference = ParseKeyReference(request.key_id, realm_);
               reference && reference->key) {
      resource = ArnOf(*reference->key);
      if (const auto id = ParseGrantId(request.grant_id)) {
        TRY_ASSIGN(grant, records_.LoadGrant(*reference->key, *id));
      }
    }
    if (grant) {
      resource = ArnOf(grant->key);
      event.resource_arn = resource;
    }
    const std::string& who = caller.principal.arn;
    // Who may retire a grant by its own terms needs no other permission.
    const bool by_terms =
        grant && (grant->retiring_principal == who ||
                  (grant->grantee_principal == who && grant->Lists(GrantOperation::kRetireGrant)));
    if (!by_terms) {
      // By a token it was not said of which key.
      TRY(Authorize(caller, event.action, resource, request.key_id));
    }
    if (!grant) {
      TRY(ParseGrantId(request.grant_id));
      return NoSuchGrant(request.grant_id);
    }
    if (request.dry_run) return WouldSucceed();
    return EndGrant(*grant, event);
  });
}

Status LocalKms::RevokeGrant(const Caller& caller, const EndGrantRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsRevokeGrant, request.key_id, request.request_id);
  return Audited(event, [&]() -> Status {
    TRY_ASSIGN(KmsKeyPtr key, Find(caller, request.key_id, Names::kIdOrArn, event));
    TRY_ASSIGN(const GrantId id, ParseGrantId(request.grant_id));
    TRY_ASSIGN(std::optional<Grant> grant, records_.LoadGrant(key->id, id));
    if (!grant) return NoSuchGrant(request.grant_id);
    if (request.dry_run) return WouldSucceed();
    return EndGrant(*grant, event);
  });
}

}  // namespace secretfs::store
