#include "mount/aws_endpoint.h"

#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include "mount/aws_error.h"
#include "mount/aws_json.h"
#include "store/secret_json.h"

namespace secretfs::mount {
namespace {

using store::AwsService;

constexpr int64_t kAuditEventsDefault = 100;
constexpr int64_t kAuditEventsMax = 1000;

constexpr std::string_view kKmsPrefix = "TrentService.";

// The two differ in how they write a message; some errors of KMS have none.
HttpAnswer AnswerOf(AwsOutcome outcome, AwsService service) {
  if (outcome) return {.status = 200, .error_type = "", .body = *std::move(outcome)};
  const auto& [error, own_name] = outcome.error();
  const std::string name(own_name.empty() ? store::AwsErrorName(error.code, service) : own_name);
  Json body;
  body["__type"] = name;
  if (!error.message.empty()) {
    body[service == AwsService::kKms ? "message" : "Message"] = error.message;
  }
  return {AwsHttpStatus(error.code, service), name, ToText(body)};
}

}  // namespace

struct AwsEndpoint::Operation {
  std::string_view target;
  AwsOutcome (AwsEndpoint::*run)(AwsCall& call);
};

const AwsEndpoint::Operation* AwsEndpoint::FindOperation(std::string_view target) {
  using E = AwsEndpoint;
  static constexpr std::array kOperations = {
      Operation{"secretsmanager.CreateSecret", &E::CreateSecret},
      Operation{"secretsmanager.PutSecretValue", &E::PutSecretValue},
      Operation{"secretsmanager.UpdateSecret", &E::UpdateSecret},
      Operation{"secretsmanager.GetSecretValue", &E::GetSecretValue},
      Operation{"secretsmanager.DescribeSecret", &E::DescribeSecret},
      Operation{"secretsmanager.ListSecrets", &E::ListSecrets},
      Operation{"secretsmanager.ListSecretVersionIds", &E::ListSecretVersionIds},
      Operation{"secretsmanager.UpdateSecretVersionStage", &E::UpdateSecretVersionStage},
      Operation{"secretsmanager.DeleteSecret", &E::DeleteSecret},
      Operation{"secretsmanager.RestoreSecret", &E::RestoreSecret},
      Operation{"secretsmanager.TagResource", &E::TagResource},
      Operation{"secretsmanager.UntagResource", &E::UntagResource},
      Operation{"secretfs.Status", &E::Status},
      Operation{"secretfs.ListAuditEvents", &E::ListAuditEvents},
      Operation{"secretfs.VerifyAudit", &E::VerifyAudit},
      Operation{"secretfs.Rekey", &E::Rekey},
  };
  const auto* found = std::ranges::find(kOperations, target, &Operation::target);
  return found == kOperations.end() ? nullptr : found;
}

HttpAnswer AwsEndpoint::Answer(HttpRequest request) {
  const bool is_kms = request.target.starts_with(kKmsPrefix);
  const AwsService service = is_kms ? AwsService::kKms : AwsService::kSecretsManager;
  return AnswerOf(Run(request, service), service);
}

AwsOutcome AwsEndpoint::Run(const HttpRequest& request, AwsService service) {
  if (request.content_type != kAwsJsonType) {
    return std::unexpected(
        AwsFailure(kSerialization, "The Content-Type must be " + std::string(kAwsJsonType) + "."));
  }
  const bool is_kms = service == AwsService::kKms;
  const Operation* operation = is_kms ? nullptr : FindOperation(request.target);
  if (operation == nullptr && !is_kms) {
    return std::unexpected(
        AwsFailure(kUnknownOperation, "The operation " + request.target + " is not known here."));
  }
  auto message = ParseAwsMessage(request.body.Reveal(), service);
  if (!message) return std::unexpected(AwsFailure(kSerialization, message.error().message));

  const auto principal = callers_.PrincipalOf(request.peer.uid, request.peer.gid);
  const store::Caller caller{*principal, store::Door::kSocket, request.peer.pid};
  AwsCall call{caller, request.id, *message};
  if (is_kms) return kms_.Run(request.target.substr(kKmsPrefix.size()), call);
  return (this->*operation->run)(call);
}

AwsOutcome AwsEndpoint::Status(AwsCall&) {
  return status_.Text();
}

// The newest MaxResults events; or, with AfterSequence, the oldest that follow it, to read the
// trail page by page. Oldest first either way.
AwsOutcome AwsEndpoint::ListAuditEvents(AwsCall& call) {
  MemberReader in(call.message.members);
  const std::optional<int64_t> after = in.Integer("AfterSequence");
  const int64_t limit = in.Integer("MaxResults").value_or(kAuditEventsDefault);
  if (in.failed()) return std::unexpected(AwsFailure(kSerialization, in.problem()));
  if (limit < 1 || limit > kAuditEventsMax || after.value_or(0) < 0) {
    return std::unexpected(AwsFailure(
        Error{Code::kValidation, "MaxResults must be 1 to " + std::to_string(kAuditEventsMax) +
                                     " and AfterSequence not negative."}));
  }
  const auto first = static_cast<uint64_t>(after.value_or(0));
  std::deque<std::string> events;
  TRY_ASSIGN(const store::AuditReport report,
             service_.ReadAudit(
                 call.caller,
                 [&](uint64_t sequence, const store::AuditEvent& event) {
                   const bool full = std::cmp_equal(events.size(), limit);
                   if (after && (sequence <= first || full)) return !full;
                   if (full) events.pop_front();
                   events.push_back(store::AuditEventJson(event, sequence, service_.realm()));
                   return true;
                 },
                 call.request_id));
  std::string text = R"({"Events":[)";
  for (const std::string& event : events) text += (text.back() == '[' ? "" : ",") + event;
  Json problem = report.problem;
  return text + R"(],"Problem":)" + ToText(problem) + "}";
}

AwsOutcome AwsEndpoint::VerifyAudit(AwsCall& call) {
  TRY_ASSIGN(
      const store::AuditReport report,
      service_.ReadAudit(
          call.caller, [](uint64_t, const store::AuditEvent&) { return true; }, call.request_id));
  Json out;
  out["Intact"] = report.problem.empty();
  out["Events"] = report.events;
  out["Segments"] = report.segments;
  out["Sequence"] = report.head.sequence;
  out["HeadHash"] = ToHex(report.head.hash);
  if (!report.problem.empty()) out["Problem"] = report.problem;
  return ToText(out);
}

// RootKeySource is what the store's header says of the new root key (crypto/FORMAT.md),
// RootKeySecret what is behind it.
AwsOutcome AwsEndpoint::Rekey(AwsCall& call) {
  MemberReader in(call.message.members);
  const Bytes encoded = in.Blob("RootKeySource");
  std::optional<crypto::SecretBuffer> secret = call.message.Take("RootKeySecret");
  if (!secret) in.FailOnMissing("RootKeySecret");
  if (in.failed()) return RefuseMember(in);
  auto source = crypto::DecodeRootKeySource(encoded);
  if (!source) return Refuse(Code::kValidation, "The member RootKeySource is no source.");
  Json out;
  out["RootKey"] = crypto::DescribeRootKeySource(*source);
  TRY_ASSIGN(
      const crypto::RootKeySource previous,
      root_keys_.Change(call.caller, {*std::move(source), *std::move(secret)}, call.request_id));
  out["PreviousRootKey"] = crypto::DescribeRootKeySource(previous);
  return ToText(out);
}

}  // namespace secretfs::mount
