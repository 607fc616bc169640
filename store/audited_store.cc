#include "store/audited_store.h"

#include <sys/eventfd.h>

#include "crypto/base/log.h"

namespace secretfs::store {
namespace {

constexpr std::string_view kAwsDomain = ".amazonaws.com";

void LogFailure(const Status& status) {
  if (!status) Log(LogLevel::kError, status.error().message);
}

}  // namespace

AwsService ServiceOf(Action action) {
  return ActionSource(action).starts_with("kms.") ? AwsService::kKms : AwsService::kSecretsManager;
}

AuditedStore::AuditedStore(Parts parts, Clock& clock, crypto::RandomSource& random)
    : parts_(parts),
      clock_(clock),
      random_(random),
      change_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      position_stored_at_(clock.NowMs()) {}

Status AuditedStore::Start() {
  uint64_t in_trail = parts_.trail.appended().outbox;
  TRY_ASSIGN(uint64_t next_outbox, parts_.store.NextOutbox());
  // Every event in the trail was committed first. A store that does not know it is an older state:
  // a restored backup, or a damaged LMDB meta page that made an old snapshot look new.
  if (next_outbox <= in_trail) {
    return Fail(Code::kCorrupt,
                "store " + parts_.env.directory() +
                    ": it is older than its audit trail, so changes are missing; if you restored "
                    "a backup on purpose, move the audit directory away and start again");
  }
  // Events that cannot be moved now (a full disk) stay in the outbox; before they were moved
  // nothing is revealed.
  if (Status moved = MovePendingEvents(); !moved && moved.error().code != Code::kUnavailable) {
    return moved;
  }
  if (const std::string problem = parts_.trail.problem(); !problem.empty()) {
    Log(LogLevel::kError, problem);
  }
  TRY_ASSIGN(AuditTrail::Position stored, parts_.store.LoadAuditPosition());
  stored_sequence_ = stored.head.sequence;
  started_ = true;
  return {};
}

void AuditedStore::End() {
  // A store that was refused is not written to.
  if (!started_) return;
  LogFailure(MovePendingEvents());
  LogFailure(parts_.trail.Sync());
  LogFailure(StoreAuditPosition());
}

AuditEvent AuditedStore::NewEvent(const Caller& caller, Action action, std::string_view resource_id,
                                  const std::string& request_id) const {
  AuditEvent event;
  event.at = clock_.NowMs();
  event.action = action;
  event.door = caller.door;
  event.principal_arn = caller.principal.arn;
  event.uid = caller.principal.uid;
  event.gid = caller.principal.gid;
  event.pid = caller.pid;
  event.request_id = request_id;
  event.secret_id = resource_id;
  return event;
}

std::unexpected<Error> AuditedStore::Refuse(AuditEvent& event, Error error) {
  event.error_code = AwsErrorName(error.code, ServiceOf(event.action));
  event.error_message = error.message;
  Status recorded = Record(ViewOf(event));
  if (!recorded) return std::unexpected(std::move(recorded).error());
  return std::unexpected(std::move(error));
}

Status AuditedStore::MovePendingEvents() {
  MutexLock lock(move_mutex_);
  uint64_t txn = parts_.env.LastTxnId();
  TRY_ASSIGN(std::vector<SecretStore::PendingEvent> events,
             parts_.store.PendingEvents(parts_.trail.appended().outbox));
  for (const SecretStore::PendingEvent& pending : events) {
    TRY(parts_.trail.Append(pending.event, pending.outbox));
  }
  moved_txn_ = txn;
  return {};
}

Status AuditedStore::MovePendingEventsIfAny() {
  if (parts_.env.LastTxnId() == moved_txn_.load()) return {};
  return MovePendingEvents();
}

Status AuditedStore::Record(const AuditEventView& event) {
  TRY(MovePendingEventsIfAny());
  Status recorded = parts_.trail.Append(event, 0);
  if (recorded || recorded.error().code != Code::kUnavailable) return recorded;
  // After a failed Sync() the trail wants the last mutations' events again first.
  TRY(MovePendingEvents());
  return parts_.trail.Append(event, 0);
}

Status AuditedStore::Decide(const Principal& principal, Action action, std::string_view resource,
                            std::string_view shown) const {
  Decision decision = parts_.authorizer.Decide({principal, action, resource});
  if (decision.allowed) return {};
  // "secretsmanager.amazonaws.com"
  std::string_view service = ActionSource(action);
  service.remove_suffix(kAwsDomain.size());
  std::string text = "User: " + principal.arn + " is not authorized to perform: ";
  text.append(service).append(":").append(ActionName(action));
  if (!shown.empty()) text.append(" on resource: ").append(shown);
  text.append(" because ").append(decision.reason);
  return Fail(Code::kPermissionDenied, std::move(text));
}

Status AuditedStore::CommitWithEvent(SecretStore::Mutation& mutation, const AuditEvent& event) {
  TRY(mutation.AppendEvent(event));
  TRY(CommitSilently(mutation));
  // The change and its event are on the disk. If the trail cannot take the event now, it stays in
  // the outbox, and nothing is revealed before it was moved.
  LogFailure(MovePendingEvents());
  return {};
}

Status AuditedStore::CommitSilently(SecretStore::Mutation& mutation) {
  AuditTrail::Position position = parts_.trail.durable();
  TRY(mutation.SetAuditPosition(position));
  TRY(mutation.Commit());
  eventfd_write(change_.get(), 1);
  stored_sequence_ = position.head.sequence;
  return {};
}

Status AuditedStore::StoreAuditPosition() {
  if (parts_.trail.durable().head.sequence == stored_sequence_) return {};
  TRY_ASSIGN(std::unique_ptr<SecretStore::Mutation> mutation, Begin());
  AuditTrail::Position position = parts_.trail.durable();
  TRY(mutation->SetAuditPosition(position));
  TRY(mutation->Commit());
  stored_sequence_ = position.head.sequence;
  return MovePendingEvents();
}

void AuditedStore::Upkeep() {
  constexpr TimeMs kPositionIntervalMs = 60'000;
  LogFailure(MovePendingEvents());
  LogFailure(parts_.trail.Sync());
  // A commit costs a sync and the decoded metadata that is remembered, so not each time.
  TimeMs now = clock_.NowMs();
  TimeMs stored_at = position_stored_at_;
  if (now < stored_at || now - stored_at >= kPositionIntervalMs) {
    position_stored_at_ = now;
    LogFailure(StoreAuditPosition());
  }
}

}  // namespace secretfs::store
