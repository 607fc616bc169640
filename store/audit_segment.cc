#include "store/audit_segment.h"

#include <endian.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "store/fault_guard.h"

namespace secretfs::store {
namespace {

constexpr std::string_view kMagic = "SFSAUDIT";
constexpr uint32_t kSegmentVersion = 1;
constexpr size_t kLengthBytes = 4;

// Returns an errno, 0 for success.
int WriteZeros(int fd, size_t size_bytes) {
  // A disk without room says so before all the room that it has is written full.
  if (fallocate(fd, 0, 0, static_cast<off_t>(size_bytes)) != 0 && errno != EOPNOTSUPP) return errno;
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

}  // namespace

size_t RecordBytes(size_t sealed_bytes) {
  return (kLengthBytes + sealed_bytes + 3) / 4 * 4;
}

Bytes EncodeSegmentHeader(ByteSpan salt, const AuditPosition& before) {
  ByteWriter out;
  out.Raw(AsBytes(kMagic)).U32(kSegmentVersion).Raw(salt);
  out.U64(before.head.sequence).Raw(before.head.hash).U64(before.outbox).U32(0);
  return out.Take();
}

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

Result<Bytes> ReadSegmentFile(const std::string& path) {
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

// --- reading

SegmentReader::SegmentReader(ByteSpan bytes, const crypto::SecretBuffer& key) : bytes_(bytes) {
  if (bytes.size() < kSegmentHeaderBytes) return;
  ByteReader in(bytes.first(kSegmentHeaderBytes));
  if (AsText(in.Raw(kMagic.size())) != kMagic || in.U32() != kSegmentVersion) return;
  in.Raw(kSegmentSaltBytes);
  position_.head.sequence = in.U64();
  std::ranges::copy(in.Raw(position_.head.hash.size()), position_.head.hash.begin());
  position_.outbox = in.U64();
  key_ = SegmentKey(key, bytes.first(kSegmentHeaderBytes));
  valid_ = true;
}

std::optional<SegmentReader::StoredEvent> SegmentReader::Next() {
  if (!valid_ || offset_ + kLengthBytes > bytes_.size()) return std::nullopt;
  size_t size = ByteReader(bytes_.subspan(offset_, kLengthBytes)).U32();
  if (size <= crypto::kGcmTagBytes || size > bytes_.size() - offset_ - kLengthBytes) {
    return std::nullopt;
  }
  ByteSpan sealed = bytes_.subspan(offset_ + kLengthBytes, size);
  Bytes plaintext(size - crypto::kGcmTagBytes);
  if (!crypto::GcmOpen(key_.Reveal(), EventNonce(position_.head.sequence + 1), position_.head.hash,
                       sealed, plaintext)) {
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

SegmentReader::Tail SegmentReader::tail() const {
  ByteSpan rest = bytes_.subspan(std::min(offset_, bytes_.size()));
  auto used = [](uint8_t byte) { return byte != 0; };
  if (std::ranges::none_of(rest, used)) return Tail::kUnused;
  // The outbox number and the tag are sealed with the event.
  constexpr size_t kSealedBytesMax = sizeof(uint64_t) + kAuditEventBytesMax + crypto::kGcmTagBytes;
  ByteSpan size = rest.first(std::min(rest.size(), kLengthBytes));
  ByteSpan beyond = rest.subspan(std::min(rest.size(), RecordBytes(kSealedBytesMax)));
  bool one_append = std::ranges::none_of(size, used) && std::ranges::none_of(beyond, used);
  return one_append ? Tail::kInterrupted : Tail::kDamaged;
}

// --- writing

Result<std::unique_ptr<SegmentWriter>> SegmentWriter::Create(const std::string& path,
                                                             size_t size_bytes) {
  auto segment = std::unique_ptr<SegmentWriter>(new SegmentWriter);
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

SegmentWriter::~SegmentWriter() {
  // Create() failed: nothing is mapped.
  if (memory_.empty()) return;
  munmap(memory_.data(), memory_.size());
  if (ftruncate(fd_.get(), static_cast<off_t>(used_)) != 0) return;
}

bool SegmentWriter::Start(ByteSpan header) {
  used_ = header.size();
  return FaultGuard::Run([&] { std::memcpy(memory_.data(), header.data(), header.size()); });
}

bool SegmentWriter::HasRoom(size_t sealed_bytes) const {
  return used_ + RecordBytes(sealed_bytes) <= memory_.size();
}

bool SegmentWriter::Append(ByteSpan sealed) {
  uint8_t* record = memory_.data() + used_;
  bool written = FaultGuard::Run([&] {
    std::memcpy(record + kLengthBytes, sealed.data(), sealed.size());
    // The length goes last: a record without one is not there for whoever reads after a kill.
    std::atomic_ref<uint32_t> length(*reinterpret_cast<uint32_t*>(record));
    length.store(htobe32(static_cast<uint32_t>(sealed.size())), std::memory_order_release);
  });
  if (written) used_ += RecordBytes(sealed.size());
  return written;
}

void SegmentWriter::MarkDirty() {
  constexpr size_t kPageBytesMin = 4096;
  (void)FaultGuard::Run([&] {
    for (size_t offset = 0; offset < used_; offset += kPageBytesMin) {
      volatile uint8_t& byte = memory_[offset];
      byte = byte;
    }
  });
}

}  // namespace secretfs::store
