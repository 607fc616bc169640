#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "crypto/base/clock.h"
#include "crypto/base/mutex.h"
#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"
#include "crypto/random.h"
#include "store/audit_trail.h"
#include "store/authorizer.h"
#include "store/error_name.h"
#include "store/lmdb_env.h"
#include "store/secret_store.h"

namespace secretfs::store {

// A store with its trail: the steps that are common to all calls through its doors, the service of
// secrets and that of keys. A mutation's event commits with it; a read's or a denial's is in the
// trail, after those of all mutations that it may have seen, before anything is revealed.
// Thread-safe.
class AuditedStore {
 public:
  // All must outlive this.
  struct Parts {
    Env& env;
    SecretStore& store;
    AuditTrail& trail;
    const Authorizer& authorizer;
  };
  AuditedStore(Parts parts, Clock& clock, crypto::RandomSource& random);

  // Brings the trail up to the store; once, before any call. Errors: kCorrupt if the store is older
  // than its trail.
  Status Start();
  // What the trail does not have yet, and how far it is on the disk; if Start() succeeded.
  void End();

  AuditEvent NewEvent(const Caller& caller, Action action, std::string_view resource_id,
                      const std::string& request_id) const;
  // Records that the call failed, and returns the error to answer with: `error`, or that of the
  // trail.
  std::unexpected<Error> Refuse(AuditEvent& event, Error error);
  Status RecordSuccess(const AuditEvent& event) { return Record(ViewOf(event)); }
  // Appends the event of a read or a denial, after those of all mutations that it may have seen.
  Status Record(const AuditEventView& event);
  // The trail has the events of all committed mutations when these succeed. The second costs two
  // loads if nothing was committed since the last time.
  Status MovePendingEvents() EXCLUDES(move_mutex_);
  Status MovePendingEventsIfAny();

  // Allows `action` on `resource`, or says why not.
  Status Decide(const Principal& principal, Action action, std::string_view resource) const {
    return Decide(principal, action, resource, resource);
  }
  // The same, where the denial names `shown`, what the caller asked for, and so tells nothing of
  // what that led to.
  Status Decide(const Principal& principal, Action action, std::string_view resource,
                std::string_view shown) const;

  Result<std::unique_ptr<SecretStore::Mutation>> Begin() { return parts_.store.Begin(); }
  // Commits `mutation` together with `event`, then hands the event to the trail.
  Status CommitWithEvent(SecretStore::Mutation& mutation, const AuditEvent& event);
  // Commits what is nobody's doing.
  Status CommitSilently(SecretStore::Mutation& mutation);

  // Puts the trail on the disk; once a minute tells the store how far it is there.
  void Upkeep();
  // An event descriptor that is readable after a commit.
  int change_fd() const { return change_.get(); }

  Clock& clock() const { return clock_; }
  crypto::RandomSource& random_source() const { return random_; }

 private:
  // Tells the store what of the trail is on the disk, if that is more than it knows: events that
  // are missing later are then missed.
  Status StoreAuditPosition();

  const Parts parts_;
  Clock& clock_;
  crypto::RandomSource& random_;
  const UniqueFd change_;  // An event descriptor.
  bool started_ = false;

  // An event that stayed behind must not be overtaken: the outbox forgets what lies below the
  // trail's number. Before the trail's own mutexes.
  Mutex move_mutex_;
  // The trail has the events of all mutations up to this transaction.
  std::atomic<uint64_t> moved_txn_ = 0;
  std::atomic<uint64_t> stored_sequence_ = 0;  // Of the position that the store knows.
  std::atomic<TimeMs> position_stored_at_;
};

// Which names errors of a call have: AwsService::kKms for the actions of kms.amazonaws.com.
AwsService ServiceOf(Action action);

}  // namespace secretfs::store
