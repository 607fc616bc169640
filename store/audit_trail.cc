#include "store/audit_trail.h"

#include <endian.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <vector>

#include "crypto/aead.h"
#include "crypto/base/mutex.h"
#include "crypto/base/unique_fd.h"
#include "store/fault_guard.h"

namespace secretfs::store {
namespace {

constexpr std::string_view kMagic = "SFSAUDIT";
constexpr uint32_t kSegmentVersion = 1;
constexpr size_t kSaltBytes = 16;
constexpr size_t kHeaderBytes = 80;
constexpr size_t kLengthBytes = 4;

size_t RecordBytes(size_t sealed_bytes) {
  return (kLengthBytes + sealed_bytes + 3) / 4 * 4;
}

// What a segment continues: the chain's head and outbox number before its first event.
Bytes EncodeHeader(ByteSpan salt, const AuditTrail::Position& before) {
  ByteWriter out;
  out.Raw(AsBytes(kMagic)).U32(kSegmentVersion).Raw(salt);
  out.U64(before.head.sequence).Raw(before.head.hash).U64(before.outbox).U32(0);
  return out.Take();
}

// Every segment has a key of its own, bound to its header, so event numbers can serve as nonces:
// even after a restored backup the new segment's random salt makes a new key.
crypto::SecretBuffer SegmentKey(const crypto::SecretBuffer& key, ByteSpan header) {
  Bytes info = ByteWriter().Sized("secretfs audit segment v1").Sized(header).Take();
  return crypto::Hkdf(key.Reveal(), {}, info, crypto::kAesKeyBytes);
}

Bytes EventNonce(uint64_t sequence) {
  return ByteWriter(crypto::kGcmNonceBytes).U32(0).U64(sequence).Take();
}

crypto::Digest NextHash(const crypto::Digest& hash, ByteSpan sealed) {
  return crypto::Sha256(ByteWriter(hash.size() + sealed.size()).Raw(hash).Raw(sealed).Take());
}

struct StoredEvent {
  uint64_t outbox;
  AuditEvent event;
};

// Reads one segment's bytes event by event, checking each against the chain.
class SegmentReader {
 public:
  SegmentReader(ByteSpan bytes, const crypto::SecretBuffer& key) : bytes_(bytes) {
    if (bytes.size() < kHeaderBytes) return;
    ByteReader in(bytes.first(kHeaderBytes));
    if (AsText(in.Raw(kMagic.size())) != kMagic || in.U32() != kSegmentVersion) return;
    in.Raw(kSaltBytes);
    position_.head.sequence = in.U64();
    std::ranges::copy(in.Raw(position_.head.hash.size()), position_.head.hash.begin());
    position_.outbox = in.U64();
    key_ = SegmentKey(key, bytes.first(kHeaderBytes));
    valid_ = true;
  }

  bool valid() const { return valid_; }
  // After the last event read.
  const AuditTrail::Position& position() const { return position_; }
  size_t offset() const { return offset_; }

  // nullopt: no further event can be read.
  std::optional<StoredEvent> Next() {
    if (!valid_ || offset_ + kLengthBytes > bytes_.size()) return std::nullopt;
    size_t size = ByteReader(bytes_.subspan(offset_, kLengthBytes)).U32();
    if (size <= crypto::kGcmTagBytes || size > bytes_.size() - offset_ - kLengthBytes) {
      return std::nullopt;
    }
    ByteSpan sealed = bytes_.subspan(offset_ + kLengthBytes, size);
    Bytes plaintext(size - crypto::kGcmTagBytes);
    if (!crypto::GcmOpen(key_.Reveal(), EventNonce(position_.head.sequence + 1),
                         position_.head.hash, sealed, plaintext)) {
      return std::nullopt;
    }
    ByteReader in(plaintext);
    uint64_t outbox = in.U64();
    auto event = DecodeAuditEvent(in.Raw(in.remaining()));
    if (!event) return std::nullopt;
    ++position_.head.sequence;
    position_.head.hash = NextHash(position_.head.hash, sealed);
    position_.outbox = std::max(position_.outbox, outbox);
    offset_ += RecordBytes(size);
    return StoredEvent{outbox, std::move(*event)};
  }

  // Whether everything after the last event is as it was preallocated.
  bool RestIsZero() const {
    size_t start = std::min(offset_, bytes_.size());
    return std::ranges::all_of(bytes_.subspan(start), [](uint8_t byte) { return byte == 0; });
  }

 private:
  ByteSpan bytes_;
  crypto::SecretBuffer key_;
  AuditTrail::Position position_;
  size_t offset_ = kHeaderBytes;
  bool valid_ = false;
};

Result<Bytes> ReadWholeFile(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info{};
  if (!fd.valid() || fstat(fd.get(), &info) != 0) {
    return FailErrno(Code::kUnavailable, "audit segment " + path, errno);
  }
  Bytes bytes(static_cast<size_t>(info.st_size));
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t count =
        pread(fd.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FailErrno(Code::kUnavailable, "audit segment " + path, errno);
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  bytes.resize(done);
  return bytes;
}

// Returns an errno, 0 for success.
int WriteZeros(int fd, size_t size_bytes) {
  const Bytes zeros(std::min<size_t>(size_bytes, 256 << 10));
  size_t done = 0;
  while (done < size_bytes) {
    ssize_t count = pwrite(fd, zeros.data(), std::min(zeros.size(), size_bytes - done),
                           static_cast<off_t>(done));
    if (count < 0 && errno != EINTR) return errno;
    if (count > 0) done += static_cast<size_t>(count);
  }
  return 0;
}

// The segment being written: a file of zeros behind a shared mapping.
class Segment {
 public:
  static Result<std::unique_ptr<Segment>> Create(const std::string& path, size_t size_bytes) {
    auto segment = std::unique_ptr<Segment>(new Segment);
    segment->fd_ = UniqueFd(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!segment->fd_.valid()) {
      return FailErrno(Code::kUnavailable, "audit segment " + path, errno);
    }
    // Written, neither sparse nor merely reserved: a write through the mapping must not meet a full
    // disk, and on ext4 the first touch of a reserved page costs a journal transaction.
    int error = WriteZeros(segment->fd_.get(), size_bytes);
    void* memory = MAP_FAILED;
    if (error == 0) {
      memory = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, segment->fd_.get(), 0);
      if (memory == MAP_FAILED) error = errno;
    }
    if (error != 0) {
      unlink(path.c_str());
      return FailErrno(Code::kUnavailable, "audit segment " + path, error);
    }
    segment->memory_ = {static_cast<uint8_t*>(memory), size_bytes};
    return segment;
  }
  ~Segment() {
    munmap(memory_.data(), memory_.size());
    // What was not used goes back to the file system.
    if (ftruncate(fd_.get(), static_cast<off_t>(used_)) != 0) return;
  }
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  bool Start(ByteSpan header) {
    used_ = header.size();
    return FaultGuard::Run([&] { std::memcpy(memory_.data(), header.data(), header.size()); });
  }
  bool HasRoom(size_t sealed_bytes) const {
    return used_ + RecordBytes(sealed_bytes) <= memory_.size();
  }
  // The length goes last: a record without one is not there for whoever reads after a kill.
  bool Append(ByteSpan sealed) {
    uint8_t* record = memory_.data() + used_;
    bool written = FaultGuard::Run([&] {
      std::memcpy(record + kLengthBytes, sealed.data(), sealed.size());
      std::atomic_ref<uint32_t> length(*reinterpret_cast<uint32_t*>(record));
      length.store(htobe32(static_cast<uint32_t>(sealed.size())), std::memory_order_release);
    });
    if (written) used_ += RecordBytes(sealed.size());
    return written;
  }
  size_t used() const { return used_; }
  size_t size() const { return memory_.size(); }
  int fd() const { return fd_.get(); }

 private:
  Segment() = default;
  UniqueFd fd_;
  std::span<uint8_t> memory_;
  size_t used_ = 0;
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
    std::vector<std::shared_ptr<Segment>> segments;
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
  std::shared_ptr<Segment> segment_ GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<Segment>> retired_ GUARDED_BY(mutex_);  // Full, not yet on the disk.
  std::unique_ptr<Segment> spare_ GUARDED_BY(mutex_);                 // Without a header yet.
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
    TRY_ASSIGN(Bytes bytes, ReadWholeFile(PathOf(*index)));
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
  auto created = Segment::Create(PathOf(index), options_.segment_bytes);
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
  std::unique_ptr<Segment> next = std::move(spare_);
  uint64_t index = next != nullptr ? spare_index_ : next_index_++;
  std::string problem = "audit segment " + PathOf(index) + ": cannot be written";
  if (next == nullptr) {
    auto created = Segment::Create(PathOf(index), options_.segment_bytes);
    if (created) {
      next = std::move(*created);
    } else {
      problem = created.error().message;
    }
  }
  if (next != nullptr) {
    std::array<uint8_t, kSaltBytes> salt{};
    random_.Fill(salt);
    Bytes header = EncodeHeader(salt, appended_);
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
    TRY_ASSIGN(Bytes bytes, ReadWholeFile(PathOf(index)));
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
