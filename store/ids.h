#pragma once

#include <cstdint>

namespace secretfs::store {

// Persistent small ids, given once and never given again, starting at 1: 0 is none. Node ids of the
// filesystem are computed from them, so they must fit beside each other in 64 bits: see
// fs/node_id.h.

// A directory of the name tree: a prefix of secret names, which may be a secret itself. The root is
// kRootPath.
using PathId = uint64_t;
inline constexpr PathId kRootPath = 1;

// One counter numbers versions and custom staging labels: what a path may select inside a secret.
// Version numbers grow with creation, so they also order versions.
using SelectorId = uint64_t;

// A top-level JSON key name, interned store-wide.
using KeySlot = uint32_t;

inline constexpr uint64_t kPathIdMax = (uint64_t{1} << 34) - 1;
inline constexpr uint64_t kSelectorIdMax = (uint64_t{1} << 34) - 1;
inline constexpr KeySlot kKeySlotMax = (KeySlot{1} << 24) - 1;

}  // namespace secretfs::store
