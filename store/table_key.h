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
