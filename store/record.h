#pragma once

#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "store/ids.h"
#include "store/secret.h"

namespace secretfs::store {

// The records of the store as bytes (store/FORMAT.md). Each starts with a U8 record version.
// Decoders accept exactly what the encoders give: anything else is kCorrupt.

// Version 1 if that can say it all: no KMS key was named, and all versions are under one.
Bytes EncodeSecret(const Secret& secret);
Result<Secret> DecodeSecret(ByteSpan bytes);

// One top-level key of a JSON value: its interned name and the size of its file.
struct KeyEntry {
  KeySlot slot;
  uint32_t size_bytes;
};

// What a version number stands for, and what `_keys/` lists. Immutable.
struct VersionRecord {
  PathId path = 0;
  std::vector<KeyEntry> keys;  // By slot.

  const KeyEntry* FindKey(KeySlot slot) const;
};
Bytes EncodeVersionRecord(const VersionRecord& record);
Result<VersionRecord> DecodeVersionRecord(ByteSpan bytes);

// A directory entry or path: a component of a name under its parent.
struct PathRecord {
  PathId id = 0;
  PathId parent = 0;
  std::string component;
};
Bytes EncodePathRecord(const PathRecord& record);
Result<PathRecord> DecodePathRecord(ByteSpan bytes);

// The name behind a small id: a custom label of a secret, or a JSON key.
struct InternedName {
  uint64_t id = 0;
  PathId path = 0;  // 0 for a JSON key.
  std::string text;
};
Bytes EncodeInternedName(const InternedName& name);
Result<InternedName> DecodeInternedName(ByteSpan bytes);

// The next ids to give. Written by every transaction with that transaction's own id: a snapshot
// whose id differs from its counters' is one that a damaged LMDB meta page pointed to.
struct Counters {
  uint64_t txn_id = 0;
  uint64_t secrets = 0;
  uint64_t next_path = kRootPath + 1;
  uint64_t next_selector = 1;
  uint64_t next_key_slot = 1;
  uint64_t next_change = 1;
  uint64_t next_outbox = 1;
};
Bytes EncodeCounters(const Counters& counters);
Result<Counters> DecodeCounters(ByteSpan bytes);

enum class ChangeKind : uint8_t {
  kCreated = 1,
  kLabelsMoved = 2,
  kMetadata = 3,
  kRemoved = 4,
  kKeyState = 5,  // All its values became readable, or stopped being so.
};
struct Change {
  uint64_t sequence = 0;
  PathId path = 0;
  ChangeKind kind = ChangeKind::kMetadata;
  TimeMs at = 0;
};
Bytes EncodeChange(const Change& change);
Result<Change> DecodeChange(ByteSpan bytes);

}  // namespace secretfs::store
