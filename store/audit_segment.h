#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "crypto/aead.h"
#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"
#include "crypto/kdf.h"
#include "crypto/secret_buffer.h"
#include "store/audit_event.h"
#include "store/audit_position.h"

namespace secretfs::store {

// One file of the audit trail (store/FORMAT.md, "Audit segments"); only audit_trail.cc uses it.

inline constexpr size_t kSegmentSaltBytes = 16;
inline constexpr size_t kSegmentHeaderBytes = 80;

// What an event takes in a segment.
size_t RecordBytes(size_t sealed_bytes);

// What a segment continues: the chain's head and outbox number before its first event.
Bytes EncodeSegmentHeader(ByteSpan salt, const AuditPosition& before);

// Every segment has a key of its own, bound to its header, so event numbers can serve as nonces:
// even after a restored backup the new segment's random salt makes a new key.
crypto::SecretBuffer SegmentKey(const crypto::SecretBuffer& key, ByteSpan header);
Bytes EventNonce(uint64_t sequence);

// The chain's hash after the event `sealed`.
crypto::Digest NextHash(const crypto::Digest& hash, ByteSpan sealed);

// Errors: kUnavailable.
Result<Bytes> ReadSegmentFile(const std::string& path);

// Reads one segment's bytes event by event, checking each against the chain.
class SegmentReader {
 public:
  // `bytes` must outlive the reader.
  SegmentReader(ByteSpan bytes, const crypto::SecretBuffer& key);

  bool valid() const { return valid_; }
  // After the last event read.
  const AuditPosition& position() const { return position_; }
  size_t offset() const { return offset_; }

  struct StoredEvent {
    uint64_t outbox;
    AuditEvent event;
  };
  // nullopt: no further event can be read.
  std::optional<StoredEvent> Next();

  // What lies behind the last event.
  enum class Tail {
    kUnused,       // Zeros, as preallocated, or nothing.
    kInterrupted,  // No size, and bytes that one Append() can have left when it was killed.
    kDamaged,      // Anything else: an event that does not open, or more than one event's bytes.
  };
  Tail tail() const;

 private:
  ByteSpan bytes_;
  crypto::SecretBuffer key_;
  AuditPosition position_;
  size_t offset_ = kSegmentHeaderBytes;
  bool valid_ = false;
};

// The segment being written: a file of zeros behind a shared mapping. Not thread-safe.
class SegmentWriter {
 public:
  // Errors: kUnavailable, with no file left behind.
  static Result<std::unique_ptr<SegmentWriter>> Create(const std::string& path, size_t size_bytes);
  // Gives what was not used back to the file system.
  ~SegmentWriter();
  SegmentWriter(const SegmentWriter&) = delete;
  SegmentWriter& operator=(const SegmentWriter&) = delete;

  // These return false if the disk refused.
  bool Start(ByteSpan header);
  bool Append(ByteSpan sealed);  // REQUIRES HasRoom(sealed.size())
  // Lets the next fdatasync() write everything again.
  void MarkDirty();

  bool HasRoom(size_t sealed_bytes) const;
  size_t used() const { return used_; }
  size_t size() const { return memory_.size(); }
  int fd() const { return fd_.get(); }

 private:
  SegmentWriter() = default;
  UniqueFd fd_;
  std::span<uint8_t> memory_;
  size_t used_ = 0;
};

}  // namespace secretfs::store
