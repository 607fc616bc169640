#include "store/audit_trail.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <optional>
#include <vector>

#include "crypto/base/mutex.h"
#include "crypto/base/unique_fd.h"
#include "store/audit_segment.h"
#include "store/fault_guard.h"

namespace secretfs::store {
namespace {

bool IsAllZero(ByteSpan bytes) {
  return std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; });
}

// The first problem is the one to look at: the others may follow from it.
void Note(AuditReport& report, std::string problem) {
  if (report.problem.empty()) report.problem = std::move(problem);
}

// What the search for the end of the chain met.
struct FoundEnd {
  std::string damage;  // Which file, and what of it.
  bool interrupted = false;
  bool altered = false;
};

class SegmentedTrail final : public AuditTrail {
 public:
  SegmentedTrail(Options options, crypto::SecretBuffer key, crypto::RandomSource& random)
      : options_(std::move(options)), key_(std::move(key)), random_(random) {}

  ~SegmentedTrail() override {
    // A failure is in problem(); there is nobody left to tell, and what is missing is in the
    // store's outbox.
    (void)Sync();
    MutexLock lock(mutex_);
    if (spare_ != nullptr) unlink(PathOf(spare_index_).c_str());
  }

  Status Start(const AuditHead& checkpoint, TimeMs now) {
    TRY(ListSegments());
    TRY(SyncFound(checkpoint));
    TRY_ASSIGN(std::optional<AuditEvent> gap, FindHead(checkpoint));
    {
      MutexLock lock(mutex_);
      durable_ = appended_;
      gap_ = std::move(gap);
      if (gap_) gap_->at = now;
      // On a full disk, say. A mount must not end over that: problem() tells, nothing is revealed,
      // and Append() goes on trying.
      if (!StartSegment() || !gap_) return {};
      TRY(AppendGap());
    }
    return Sync();
  }

  using AuditTrail::Append;
  Status Append(const AuditEventView& event, uint64_t outbox) override {
    Bytes encoded = EncodeAuditEvent(event);
    Bytes plaintext = ByteWriter(sizeof(outbox) + encoded.size()).U64(outbox).Raw(encoded).Take();
    if (kSegmentHeaderBytes + RecordBytes(plaintext.size() + crypto::kGcmTagBytes) >
        options_.segment_bytes) {
      return Fail(Code::kInvalidArgument, "an event is larger than an audit segment");
    }
    MutexLock lock(mutex_);
    TRY(CheckOrder(outbox));
    if (gap_) TRY(AppendGap());
    TRY(AppendSealed(plaintext));
    appended_.outbox = std::max(appended_.outbox, outbox);
    if (outbox != 0) unsynced_.push_back(outbox);
    if (!to_repeat_.empty()) to_repeat_.pop_front();
    if (to_repeat_.empty()) write_problem_.clear();
    return {};
  }

  Status Sync() override {
    MutexLock one_at_a_time(sync_mutex_);
    std::vector<std::shared_ptr<SegmentWriter>> segments;
    size_t retired = 0;
    Position position;
    {
      MutexLock lock(mutex_);
      if (durable_.head.sequence == appended_.head.sequence && retired_.empty()) return {};
      segments = retired_;
      retired = retired_.size();
      if (segment_ != nullptr) segments.push_back(segment_);
      position = appended_;
    }
    for (const auto& segment : segments) {
      if (fdatasync(segment->fd()) != 0) return FailSync(segments, errno);
    }
    {
      MutexLock lock(mutex_);
      // Segments that were retired meanwhile stand behind them.
      retired_.erase(retired_.begin(), retired_.begin() + static_cast<ptrdiff_t>(retired));
      sync_failed_ = false;
      durable_ = position;
      std::erase_if(unsynced_, [&](uint64_t outbox) { return outbox <= position.outbox; });
    }
    PrepareSpare();
    return {};
  }

  Position durable() const override {
    MutexLock lock(mutex_);
    return durable_;
  }
  Position appended() const override {
    MutexLock lock(mutex_);
    return appended_;
  }
  std::string problem() const override {
    MutexLock lock(mutex_);
    return write_problem_.empty() ? cut_problem_ : write_problem_;
  }

  Result<AuditReport> Read(const Visitor& visit) const override;

 private:
  std::string PathOf(uint64_t index) const {
    std::array<char, 32> name{};
    std::snprintf(name.data(), name.size(), "/%08llu.segment",
                  static_cast<unsigned long long>(index));
    return options_.directory + name.data();
  }

  // Appends an encoded event and its outbox number to a segment with room for them.
  Status AppendSealed(const Bytes& plaintext) REQUIRES(mutex_);
  // Appends what Start() found missing. REQUIRES: gap_ holds it.
  Status AppendGap() REQUIRES(mutex_);
  // Whether an event with this outbox number may come next.
  Status CheckOrder(uint64_t outbox) const REQUIRES(mutex_);
  Status FailSync(const std::vector<std::shared_ptr<SegmentWriter>>& segments, int error)
      REQUIRES(sync_mutex_);
  Status ListSegments();
  Status SyncFound(const AuditHead& checkpoint);
  // Returns the event that tells of what is missing.
  Result<std::optional<AuditEvent>> FindHead(const AuditHead& checkpoint);
  std::optional<AuditEvent> DescribeGap(const AuditHead& checkpoint, const FoundEnd& found)
      REQUIRES(mutex_);
  // Returns false to stop.
  bool ReadSegment(uint64_t index, const AuditHead& end, const Visitor& visit, ByteSpan bytes,
                   AuditReport& report) const;
  Status StartSegment() REQUIRES(mutex_);
  // Creates the next segment before it is needed, so that Append() seldom has to; nobody waits for
  // it.
  void PrepareSpare() REQUIRES(sync_mutex_);

  const Options options_;
  const crypto::SecretBuffer key_;
  crypto::RandomSource& random_;
  std::vector<uint64_t> found_;  // Indexes of the segments that were there at Open(), ascending.

  Mutex sync_mutex_;  // Before mutex_.
  mutable Mutex mutex_;
  std::shared_ptr<SegmentWriter> segment_ GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<SegmentWriter>> retired_
      GUARDED_BY(mutex_);                                    // Full, not yet on the disk.
  std::unique_ptr<SegmentWriter> spare_ GUARDED_BY(mutex_);  // Without a header yet.
  uint64_t spare_index_ GUARDED_BY(mutex_) = 0;
  std::unique_ptr<crypto::GcmCipher> segment_cipher_ GUARDED_BY(mutex_) = crypto::NewGcmCipher();
  uint64_t next_index_ GUARDED_BY(mutex_) = 1;
  uint64_t first_index_ = 1;  // Of the segments that this process writes.
  bool sync_failed_ GUARDED_BY(mutex_) = false;
  std::vector<uint64_t> unsynced_ GUARDED_BY(mutex_);  // Outbox numbers appended since durable_.
  std::optional<AuditEvent> gap_ GUARDED_BY(mutex_);   // What is missing, before it was appended.
  std::deque<uint64_t> to_repeat_ GUARDED_BY(mutex_);  // Those that may be lost, ascending.
  Position appended_ GUARDED_BY(mutex_);
  Position durable_ GUARDED_BY(mutex_);
  std::string write_problem_ GUARDED_BY(mutex_);
  std::string cut_problem_ GUARDED_BY(mutex_);
};

Status SegmentedTrail::AppendSealed(const Bytes& plaintext) {
  Bytes sealed(plaintext.size() + crypto::kGcmTagBytes);
  if (segment_ == nullptr || !segment_->HasRoom(sealed.size())) TRY(StartSegment());
  segment_cipher_->Seal(EventNonce(appended_.head.sequence + 1), appended_.head.hash, plaintext,
                        sealed);
  if (!segment_->Append(sealed)) {
    retired_.push_back(std::move(segment_));
    write_problem_ = "the disk refused a write to the audit trail";
    return Fail(Code::kUnavailable, write_problem_);
  }
  ++appended_.head.sequence;
  appended_.head.hash = NextHash(appended_.head.hash, sealed);
  return {};
}

Status SegmentedTrail::AppendGap() {
  const Bytes encoded = EncodeAuditEvent(ViewOf(*gap_));
  TRY(AppendSealed(ByteWriter(sizeof(uint64_t) + encoded.size()).U64(0).Raw(encoded).Take()));
  gap_.reset();
  return {};
}

Status SegmentedTrail::CheckOrder(uint64_t outbox) const {
  if (sync_failed_ || (!to_repeat_.empty() && outbox != to_repeat_.front())) {
    return Fail(Code::kUnavailable, write_problem_);
  }
  return {};
}

// Linux reports a failed write-back once and takes the pages for clean from then on. They are made
// dirty again, so that the next Sync() tries in earnest; and since a file system may have dropped
// them all the same, nothing relies on them: mutations' events are appended again to a new segment.
Status SegmentedTrail::FailSync(const std::vector<std::shared_ptr<SegmentWriter>>& segments,
                                int error) {
  MutexLock lock(mutex_);
  // Also if the current segment was started after the failed call began: it costs little.
  if (segment_ != nullptr) retired_.push_back(std::move(segment_));
  for (const auto& segment : segments) segment->MarkDirty();
  sync_failed_ = true;
  to_repeat_.insert(to_repeat_.begin(), unsynced_.begin(), unsynced_.end());
  unsynced_.clear();
  appended_.outbox = durable_.outbox;
  write_problem_ = "the audit trail cannot be put on the disk; nothing is revealed until it can";
  return FailErrno(Code::kUnavailable, write_problem_, error);
}

Status SegmentedTrail::ListSegments() {
  std::error_code error;
  if (mkdir(options_.directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return FailErrno(Code::kUnavailable, "audit directory " + options_.directory, errno);
  }
  // Unlike a full disk, this does not pass by itself.
  if (access(options_.directory.c_str(), W_OK | X_OK) != 0 && errno == EACCES) {
    return FailErrno(Code::kPermissionDenied, "audit directory " + options_.directory, errno);
  }
  for (const auto& entry : std::filesystem::directory_iterator(options_.directory, error)) {
    std::string name = entry.path().filename().string();
    uint64_t index = 0;
    auto parsed = std::from_chars(name.data(), name.data() + name.size(), index);
    if (parsed.ec == std::errc() && PathOf(index) == options_.directory + "/" + name) {
      found_.push_back(index);
    }
  }
  if (error) {
    return Fail(Code::kUnavailable,
                "audit directory " + options_.directory + ": " + error.message());
  }
  std::ranges::sort(found_);
  MutexLock lock(mutex_);
  if (!found_.empty()) next_index_ = found_.back() + 1;
  first_index_ = next_index_;
  return {};
}

// What a killed process appended since `checkpoint` is in the page cache, perhaps nowhere else yet,
// and will count as on the disk.
Status SegmentedTrail::SyncFound(const AuditHead& checkpoint) {
  for (auto index = found_.rbegin(); index != found_.rend(); ++index) {
    const std::string path = PathOf(*index);
    UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid() || fdatasync(fd.get()) != 0) {
      return FailErrno(Code::kUnavailable, "audit segment " + path, errno);
    }
    Bytes header(kSegmentHeaderBytes);
    if (pread(fd.get(), header.data(), header.size(), 0) < 0) {
      return FailErrno(Code::kUnavailable, "audit segment " + path, errno);
    }
    SegmentReader reader(header, key_);
    if (reader.valid() && reader.position().head.sequence <= checkpoint.sequence) break;
  }
  return {};
}

// The chain goes on after the last event that opens. Only the last segment with events is read: a
// start must not take longer the older a store is. A header alone proves nothing, since only an
// event is sealed under the key that depends on it.
Result<std::optional<AuditEvent>> SegmentedTrail::FindHead(const AuditHead& checkpoint) {
  MutexLock lock(mutex_);
  FoundEnd found;
  std::optional<AuditHead> claimed;
  for (auto index = found_.rbegin(); index != found_.rend(); ++index) {
    const std::string path = PathOf(*index);
    TRY_ASSIGN(Bytes bytes, ReadSegmentFile(path));
    SegmentReader reader(bytes, key_);
    if (!reader.valid()) {
      // All zero: a spare of a process that was killed before it needed it.
      if (IsAllZero(bytes)) {
        unlink(path.c_str());
      } else {
        found.damage = path + ": not an audit segment";
      }
      continue;
    }
    const AuditHead start = reader.position().head;
    do {
      const AuditHead& head = reader.position().head;
      if (head.sequence == checkpoint.sequence && head != checkpoint) found.altered = true;
    } while (reader.Next());
    if (reader.tail() == SegmentReader::Tail::kDamaged) {
      found.damage = path + " from byte " + std::to_string(reader.offset());
    }
    if (reader.tail() == SegmentReader::Tail::kInterrupted) found.interrupted = true;
    if (reader.tail() == SegmentReader::Tail::kUnused &&
        truncate(path.c_str(), static_cast<off_t>(reader.offset())) != 0) {
      return FailErrno(Code::kUnavailable, "audit segment " + path, errno);
    }
    if (reader.position().head.sequence > start.sequence) {
      appended_ = reader.position();
      break;
    }
    if (!claimed) claimed = start;
  }
  if (claimed && *claimed != appended_.head && found.damage.empty()) {
    found.damage = "a later segment continues after event " + std::to_string(claimed->sequence);
  }
  return DescribeGap(checkpoint, found);
}

std::optional<AuditEvent> SegmentedTrail::DescribeGap(const AuditHead& checkpoint,
                                                      const FoundEnd& found) {
  const std::string last = std::to_string(appended_.head.sequence);
  AuditEvent gap;
  gap.action = Action::kRecordAuditGap;
  gap.door = Door::kInternal;
  gap.principal_arn = "secretsmanager.amazonaws.com";
  gap.secret_id = "from event " + std::to_string(appended_.head.sequence + 1);
  if (appended_.head.sequence < checkpoint.sequence) {
    const std::string known = std::to_string(checkpoint.sequence);
    cut_problem_ = "the audit trail was cut: it ends after event " + last + ", but event " + known +
                   " had been written";
    if (!found.damage.empty()) cut_problem_ += " (" + found.damage + ")";
    gap.secret_id += " to event " + known;
    appended_.head = checkpoint;
  } else if (!found.damage.empty()) {
    cut_problem_ = "the audit trail was damaged: what came after event " + last +
                   " cannot be read (" + found.damage + "); events up to " +
                   std::to_string(checkpoint.sequence) +
                   " had been on the disk for certain, later ones can be victims of a power loss";
  } else if (found.altered) {
    cut_problem_ = "the audit trail was altered: its hash differs from the store's";
    gap.secret_id = "up to event " + std::to_string(checkpoint.sequence);
  } else if (!found.interrupted) {
    return std::nullopt;
  }
  if (!cut_problem_.empty()) gap.error_code = "AuditTrailGap";
  gap.error_message = cut_problem_;
  return gap;
}

void SegmentedTrail::PrepareSpare() {
  uint64_t index = 0;
  {
    MutexLock lock(mutex_);
    if (spare_ != nullptr || segment_ == nullptr) return;
    if (segment_->used() < segment_->size() / 2) return;
    index = next_index_++;
  }
  auto created = SegmentWriter::Create(PathOf(index), options_.segment_bytes);
  MutexLock lock(mutex_);
  if (!created) {
    // StartSegment() will meet the same trouble and report it.
    if (next_index_ == index + 1) next_index_ = index;
    return;
  }
  // Segments follow each other by index: one that was started meanwhile has overtaken this.
  if (next_index_ != index + 1) {
    unlink(PathOf(index).c_str());
    return;
  }
  spare_ = std::move(*created);
  spare_index_ = index;
}

Status SegmentedTrail::StartSegment() {
  std::unique_ptr<SegmentWriter> next = std::move(spare_);
  const uint64_t index = next != nullptr ? spare_index_ : next_index_++;
  std::string problem = "audit segment " + PathOf(index) + ": cannot be written";
  if (next == nullptr) {
    auto created = SegmentWriter::Create(PathOf(index), options_.segment_bytes);
    if (created) {
      next = std::move(*created);
    } else {
      problem = created.error().message;
      // Trouble may last; a number is passed over only if something else has taken it.
      if (access(PathOf(index).c_str(), F_OK) != 0) next_index_ = index;
    }
  }
  if (next != nullptr) {
    std::array<uint8_t, kSegmentSaltBytes> salt{};
    random_.Fill(salt);
    Bytes header = EncodeSegmentHeader(salt, appended_);
    UniqueFd directory(open(options_.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (next->Start(header) && directory.valid() && fsync(directory.get()) == 0) {
      if (segment_ != nullptr) retired_.push_back(std::move(segment_));
      segment_ = std::move(next);
      segment_cipher_->SetKey(SegmentKey(key_, header).Reveal());
      return {};
    }
    unlink(PathOf(index).c_str());
  }
  write_problem_ = problem + "; nothing is revealed until the audit trail can be written";
  return Fail(Code::kUnavailable, write_problem_);
}

bool SegmentedTrail::ReadSegment(uint64_t index, const AuditHead& end, const Visitor& visit,
                                 ByteSpan bytes, AuditReport& report) const {
  SegmentReader reader(bytes, key_);
  if (!reader.valid()) {
    if (!IsAllZero(bytes)) Note(report, PathOf(index) + ": not an audit segment");
    return true;  // All zero: a spare.
  }
  ++report.segments;
  const AuditHead start = reader.position().head;
  if (start != report.head) {
    Note(report, PathOf(index) + ": continues after event " + std::to_string(start.sequence) +
                     ", but the chain before it is intact only up to event " +
                     std::to_string(report.head.sequence));
  }
  report.head = start;
  const bool complete = index < first_index_;  // Written by an earlier process.
  while (complete || report.head.sequence < end.sequence) {
    auto stored = reader.Next();
    if (!stored) break;
    report.head = reader.position().head;
    ++report.events;
    if (stored->event.action == Action::kRecordAuditGap && !stored->event.error_code.empty()) {
      Note(report, "before event " + std::to_string(report.head.sequence) + ": " +
                       stored->event.error_message);
    }
    if (!visit(report.head.sequence, stored->event)) return false;
  }
  if (complete && reader.tail() == SegmentReader::Tail::kDamaged) {
    Note(report, PathOf(index) + ": damaged after event " + std::to_string(report.head.sequence));
  }
  return true;
}

Result<AuditReport> SegmentedTrail::Read(const Visitor& visit) const {
  AuditReport report;
  uint64_t last_index = 0;
  AuditHead end;
  {
    MutexLock lock(mutex_);
    last_index = next_index_ - 1;
    end = appended_.head;
    report.problem = cut_problem_;
  }
  std::vector<uint64_t> indexes = found_;
  for (uint64_t index = first_index_; index <= last_index; ++index) indexes.push_back(index);

  for (uint64_t index : indexes) {
    if (access(PathOf(index).c_str(), F_OK) != 0)
      continue;  // An index whose segment was never started.
    TRY_ASSIGN(Bytes bytes, ReadSegmentFile(PathOf(index)));
    // Segments that were started while this read went on hold later events.
    if (index >= first_index_ && report.segments > 0 && report.head.sequence >= end.sequence) break;
    if (!ReadSegment(index, end, visit, bytes, report)) return report;
  }
  if (report.head != end) {
    Note(report, "the chain is intact only up to event " + std::to_string(report.head.sequence) +
                     " of " + std::to_string(end.sequence));
  }
  return report;
}

}  // namespace

Result<std::unique_ptr<AuditTrail>> AuditTrail::Open(const Options& options,
                                                     crypto::SecretBuffer key,
                                                     const AuditHead& checkpoint, TimeMs now,
                                                     crypto::RandomSource& random) {
  FaultGuard::Install();
  auto trail = std::make_unique<SegmentedTrail>(options, std::move(key), random);
  TRY(trail->Start(checkpoint, now));
  return trail;
}

}  // namespace secretfs::store
