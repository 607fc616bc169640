#pragma once

#include <cstdint>
#include <optional>

#include "store/ids.h"

namespace secretfs::fs {

// What a file of the mount shows. Values are part of node ids, which the kernel keeps across
// restarts and upgrades of the daemon: never renumber.
enum class NodeKind : uint8_t {
  // Of the mount itself; `id` and `key` are 0.
  kRoot = 0,
  kStatus = 1,
  kViews = 2,
  // Of a path: `id` is a PathId. kPath is the directory, the rest are what it holds.
  kPath = 3,
  kMeta = 4,
  kLabels = 5,
  kVersions = 6,
  // The triple {_value, _keys/, _version}, and the directory that holds it, in six places. The kind
  // of a file is the
  // sum of a place and a member.
  kTripleFirst = 8,
};

// Where a triple is. For the first four `id` is a PathId, for the others a SelectorId.
enum class Place : uint8_t {
  kSecret = 0,  // Directly in the path's directory: AWSCURRENT, and no directory of its own.
  kCurrent = 1,
  kPrevious = 2,
  kPending = 3,
  kCustomLabel = 4,
  kVersion = 5,
};

enum class Member : uint8_t { kDirectory = 0, kValue = 1, kVersionId = 2, kKeys = 3, kKey = 4 };

// A node id taken apart: a pure function of persistent small ids, so nothing is remembered per
// lookup, FORGET has nothing to do, and a restarted daemon understands every id that the kernel
// holds.
//
//   bits 63..58 kind · bits 57..24 PathId or SelectorId · bits 23..0 KeySlot (0 if none)
//
// The root's parts are all zero; its number is 1 (FUSE_ROOT_ID), which is no other node's.
struct NodeId {
  NodeKind kind = NodeKind::kRoot;
  // For a triple's node, `kind` is kTripleFirst and these tell which.
  Place place = Place::kSecret;
  Member member = Member::kDirectory;
  uint64_t id = 0;
  store::KeySlot key = 0;

  static NodeId OfPath(NodeKind kind, store::PathId path) { return {.kind = kind, .id = path}; }
  // `id`: PathId or SelectorId, as `place` wants.
  static NodeId OfTriple(Place place, Member member, uint64_t id) {
    return {.kind = NodeKind::kTripleFirst, .place = place, .member = member, .id = id};
  }

  bool operator==(const NodeId&) const = default;

  bool IsDirectory() const;

  uint64_t Encode() const;
  // nullopt for a number that Encode() never gives.
  static std::optional<NodeId> Decode(uint64_t number);
};

// What an open file pins, in the 64 bits of a FUSE file handle: the version's number and the size
// of the file, so that a read at or past the end needs no decryption, and a restarted daemon can go
// on.
//
//   bits 63..54 zero · bits 53..20 version number · bits 19..0 size in bytes
struct ValueHandle {
  store::SelectorId version = 0;
  uint32_t size_bytes = 0;

  uint64_t Encode() const { return version << 20 | size_bytes; }
  static ValueHandle Decode(uint64_t handle) {
    return {(handle >> 20) & store::kSelectorIdMax, static_cast<uint32_t>(handle & 0xFFFFF)};
  }
};

}  // namespace secretfs::fs
