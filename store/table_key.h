#pragma once

#include "crypto/base/bytes.h"

namespace secretfs::store {

// Keys of the store's tables (store/FORMAT.md): ids are big-endian, so that records lie in the
// order of their ids.
inline Bytes TableKey(uint64_t id) {
  return ByteWriter(sizeof(id)).U64(id).Take();
}
inline Bytes TableKey(uint64_t first, uint64_t second) {
  return ByteWriter(sizeof(first) + sizeof(second)).U64(first).U64(second).Take();
}

// Table::kKmsIndex: what its records are for, and so what follows in their keys.
enum class KmsIndex : uint8_t {
  kAliasOfKey = 1,      // Key id, alias hash (16).
  kRetirableGrant = 2,  // Hash of the retiring principal (16), key id, grant id.
  kGrantByName = 3,     // Key id, hash of name and terms (16). Record: the grant id.
  kSecretUnderKey = 4,  // Key id, U64 path id.
  kDueKey = 5,          // U64 time, key id.
  kCounts = 6,          // Key id, or 16 zeros for the whole store.
};
inline ByteWriter KmsIndexKey(KmsIndex kind) {
  ByteWriter key(1 + 16 + 16 + 32);
  key.U8(static_cast<uint8_t>(kind));
  return key;
}
inline Bytes SecretUnderKey(ByteSpan kms_key, uint64_t path) {
  return KmsIndexKey(KmsIndex::kSecretUnderKey).Raw(kms_key).U64(path).Take();
}

// The single records of Table::kMeta.
inline ByteSpan HeaderKey() {
  return AsBytes("header");
}
inline ByteSpan CountersKey() {
  return AsBytes("counters");
}
inline ByteSpan AuditPositionKey() {
  return AsBytes("audit_position");
}

}  // namespace secretfs::store
