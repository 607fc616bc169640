#include "store/audit_trail.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <vector>

#include "crypto/base/mutex.h"
#include "crypto/base/unique_fd.h"
#include "store/audit_segment.h"
#include "store/fault_guard.h"

namespace secretfs::store {
namespace {

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

  Status Start(const AuditHead& checkpoint) {
    TRY(ListSegments());
    TRY(FindHead(checkpoint));
    MutexLock lock(mutex_);
    durable_ = appended_;
    return StartSegment();
  }

  using AuditTrail::Append;
  Status Append(const AuditEventView& event, uint64_t outbox) override {
    Bytes encoded = EncodeAuditEvent(event);
    Bytes plaintext = ByteWriter(sizeof(outbox) + encoded.size()).U64(outbox).Raw(encoded).Take();
    Bytes sealed(plaintext.size() + crypto::kGcmTagBytes);
    if (kSegmentHeaderBytes + RecordBytes(sealed.size()) > options_.segment_bytes) {
      return Fail(Code::kInvalidArgument, "an event is larger than an audit segment");
    }
    MutexLock lock(mutex_);
    if (segment_ == nullptr || !segment_->HasRoom(sealed.size())) TRY(StartSegment());
    segment_sealer_->Seal(EventNonce(appended_.head.sequence + 1), appended_.head.hash, plaintext,
                          sealed);
    if (!segment_->Append(sealed)) {
      retired_.push_back(std::move(segment_));
      write_problem_ = "the disk refused a write to the audit trail";
      return Fail(Code::kUnavailable, write_problem_);
    }
    ++appended_.head.sequence;
    appended_.head.hash = NextHash(appended_.head.hash, sealed);
    appended_.outbox = std::max(appended_.outbox, outbox);
    return {};
  }

  Status Sync() override {
    MutexLock one_at_a_time(sync_mutex_);
    std::vector<std::shared_ptr<SegmentWriter>> segments;
    Position position;
    {
      MutexLock lock(mutex_);
      if (durable_.head.sequence == appended_.head.sequence && retired_.empty()) return {};
      segments.swap(retired_);
      if (segment_ != nullptr) segments.push_back(segment_);
      position = appended_;
    }
    for (const auto& segment : segments) {
      if (fdatasync(segment->fd()) != 0) {
        int error = errno;
        MutexLock lock(mutex_);
        write_problem_ = "the audit trail cannot be put on the disk";
        return FailErrno(Code::kUnavailable, write_problem_, error);
      }
    }
    {
      MutexLock lock(mutex_);
      durable_ = position;
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

  Status ListSegments();
  Status FindHead(const AuditHead& checkpoint);
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
  std::optional<crypto::GcmSealer> segment_sealer_ GUARDED_BY(mutex_);
  uint64_t next_index_ GUARDED_BY(mutex_) = 1;
  uint64_t first_index_ = 1;  // Of the segments that this process writes.
  Position appended_ GUARDED_BY(mutex_);
  Position durable_ GUARDED_BY(mutex_);
  std::string write_problem_ GUARDED_BY(mutex_);
  std::string cut_problem_ GUARDED_BY(mutex_);
};

Status SegmentedTrail::ListSegments() {
  std::error_code error;
  if (mkdir(options_.directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return FailErrno(Code::kUnavailable, "audit directory " + options_.directory, errno);
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

// The chain goes on after the last event of the last segment that has a header. Only that segment
// is read: a start must not take longer the older a store is.
Status SegmentedTrail::FindHead(const AuditHead& checkpoint) {
  MutexLock lock(mutex_);
  bool reached_checkpoint = checkpoint.sequence == 0;
  for (auto index = found_.rbegin(); index != found_.rend(); ++index) {
    TRY_ASSIGN(Bytes bytes, ReadSegmentFile(PathOf(*index)));
    SegmentReader reader(bytes, key_);
    if (!reader.valid()) {
      // A spare of a process that was killed before it needed it.
      if (std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; })) {
        unlink(PathOf(*index).c_str());
      }
      continue;
    }
    bool altered = false;
    auto check = [&] {
      if (reader.position().head.sequence != checkpoint.sequence) return;
      reached_checkpoint = true;
      altered = reader.position().head.hash != checkpoint.hash;
    };
    // A checkpoint before this segment is older history: a full Read() checks that.
    if (reader.position().head.sequence > checkpoint.sequence) reached_checkpoint = true;
    check();
    while (reader.Next()) check();
    appended_ = reader.position();
    if (altered) cut_problem_ = "the audit trail was altered: its hash differs from the store's";
    if (reader.RestIsZero() &&
        truncate(PathOf(*index).c_str(), static_cast<off_t>(reader.offset())) != 0) {
      return FailErrno(Code::kUnavailable, "audit segment " + PathOf(*index), errno);
    }
    break;
  }
  if (!reached_checkpoint) {
    cut_problem_ = "the audit trail was cut: it ends at event " +
                   std::to_string(appended_.head.sequence) + ", but event " +
                   std::to_string(checkpoint.sequence) + " had been written";
    appended_.head = checkpoint;
  }
  return {};
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
  if (!created) return;  // StartSegment() will meet the same trouble and report it.
  MutexLock lock(mutex_);
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
  uint64_t index = next != nullptr ? spare_index_ : next_index_++;
  std::string problem = "audit segment " + PathOf(index) + ": cannot be written";
  if (next == nullptr) {
    auto created = SegmentWriter::Create(PathOf(index), options_.segment_bytes);
    if (created) {
      next = std::move(*created);
    } else {
      problem = created.error().message;
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
      segment_sealer_.emplace(SegmentKey(key_, header).Reveal());
      write_problem_.clear();
      return {};
    }
    unlink(PathOf(index).c_str());
  }
  write_problem_ = problem + "; nothing is revealed until the audit trail can be written";
  return Fail(Code::kUnavailable, write_problem_);
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

  bool first = true;
  for (uint64_t index : indexes) {
    if (access(PathOf(index).c_str(), F_OK) != 0)
      continue;  // An index whose segment was never started.
    TRY_ASSIGN(Bytes bytes, ReadSegmentFile(PathOf(index)));
    SegmentReader reader(bytes, key_);
    if (!reader.valid()) {
      if (std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; })) continue;  // A spare.
      report.problem = PathOf(index) + ": not an audit segment";
      break;
    }
    // Segments that were started while this read went on hold later events.
    if (!first && report.head.sequence >= end.sequence) break;
    ++report.segments;
    AuditHead start = reader.position().head;
    AuditHead expected = first ? AuditHead{} : report.head;
    first = false;
    if (start.sequence != expected.sequence || start.hash != expected.hash) {
      report.problem = PathOf(index) + ": continues after event " + std::to_string(start.sequence) +
                       ", but the chain before it is intact only up to event " +
                       std::to_string(expected.sequence);
      break;
    }
    report.head = start;
    while (report.head.sequence < end.sequence) {
      auto stored = reader.Next();
      if (!stored) break;
      report.head = reader.position().head;
      ++report.events;
      if (!visit(report.head.sequence, stored->event)) return report;
    }
  }
  if (report.problem.empty() &&
      (report.head.sequence != end.sequence || report.head.hash != end.hash)) {
    report.problem = "the chain is intact only up to event " +
                     std::to_string(report.head.sequence) + " of " + std::to_string(end.sequence);
  }
  return report;
}

}  // namespace

Result<std::unique_ptr<AuditTrail>> AuditTrail::Open(const Options& options,
                                                     crypto::SecretBuffer key,
                                                     const AuditHead& checkpoint,
                                                     crypto::RandomSource& random) {
  FaultGuard::Install();
  auto trail = std::make_unique<SegmentedTrail>(options, std::move(key), random);
  TRY(trail->Start(checkpoint));
  return trail;
}

}  // namespace secretfs::store
