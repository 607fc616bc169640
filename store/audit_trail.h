#pragma once

#include <functional>
#include <memory>
#include <string>

#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/random.h"
#include "crypto/secret_buffer.h"
#include "store/audit_event.h"
#include "store/audit_position.h"

namespace secretfs::store {

struct AuditReport {
  uint64_t events = 0;
  uint64_t segments = 0;
  AuditHead head;
  std::string problem;  // Empty: every event is there, unaltered and in order. Else where and what.
};

// The trail of everything that was asked: one hash chain of sealed events in append-only segment
// files (store/FORMAT.md, "Audit segments"). Event n is sealed with the hash of events 1..n-1 as
// associated data, so a changed, dropped, added or reordered event breaks every later one.
//
// An appended event is in the page cache when Append() returns: it survives the process. Sync()
// puts it on the disk. Segments are preallocated and written through a shared mapping, so appending
// needs no system call and cannot meet a full disk halfway. Each Open() starts a new segment and
// leaves the older ones as they are. Thread-safe. Nothing but a segment's start touches the disk in
// Append().
class AuditTrail {
 public:
  struct Options {
    std::string directory;           // Created with mode 0700 if missing.
    size_t segment_bytes = 8 << 20;  // With room for kAuditEventBytesMax.
  };

  // `key` (32 bytes) seals the segments. `checkpoint` is a head that was on the disk for certain:
  // if the files do not reach it, the trail was cut. If something else than unused space follows
  // the last event that can be read, it was damaged: by whom or what cannot be told. A power loss
  // that wrote what was not yet synced in part is reported so too; one that wrote nothing of it
  // leaves no trace beyond the checkpoint.
  //
  // What is missing is said by problem() and, for good, by an event in the new chain: an event of
  // Action::kRecordAuditGap at `now`, whose `secret_id` says which events and `error_message` why.
  // It is on the disk when this returns, or, where no segment can be started (a full disk), stands
  // before whatever is appended first: until then problem() says why, and Append() fails. An
  // Append() that SIGKILL interrupted is noted in the same
  // way without an error: it had not succeeded, so nothing that it would have allowed was revealed.
  // Errors: kPermissionDenied if the directory is not ours to write to; kUnavailable.
  static Result<std::unique_ptr<AuditTrail>> Open(const Options& options, crypto::SecretBuffer key,
                                                  const AuditHead& checkpoint, TimeMs now,
                                                  crypto::RandomSource& random);
  virtual ~AuditTrail() = default;

  // `outbox` is the store's outbox number of a mutation's event, 0 for others.
  // Errors: kInvalidArgument if the event does not fit a segment; kUnavailable; the trail then
  // stays failed until a new segment can be started, which each Append() tries.
  virtual Status Append(const AuditEventView& event, uint64_t outbox) = 0;
  Status Append(const AuditEvent& event, uint64_t outbox) { return Append(ViewOf(event), outbox); }

  // Everything appended before the call is on the disk when it returns. After a failure
  // (kUnavailable) every Append() fails until a Sync() succeeded, durable() stays, and appended()
  // goes back to its outbox number: Append() then takes the mutations' events from there on again,
  // in their order, before any other event. So an event that leaves the outbox because durable()
  // covers it is on the disk, if need be twice in the chain. The reads and denials of the failed
  // interval are written a second time; a file system that has dropped their pages loses them,
  // which Read() reports.
  virtual Status Sync() = 0;

  // As of the last Sync() and as of now.
  using Position = AuditPosition;
  virtual Position durable() const = 0;
  virtual Position appended() const = 0;

  // What is wrong with the trail now: a failed write, a cut found at Open(). Empty: nothing.
  virtual std::string problem() const = 0;

  // Reads all events, oldest first, checking the chain as it goes; `visit` returns false to stop.
  // Goes on behind a place where events are missing; the first such place is the report's problem.
  using Visitor = std::function<bool(uint64_t sequence, const AuditEvent& event)>;
  virtual Result<AuditReport> Read(const Visitor& visit) const = 0;
};

}  // namespace secretfs::store
