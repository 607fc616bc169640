#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "store/ids.h"

namespace secretfs::fs {

// Which version a thread's latest open of a file pinned, so that its fstat() agrees with what its
// handle reads although the kernel sends no handle with GETATTR. A small table that forgets the
// older of two openers that share a slot: forgetting, or a false match (whose version the caller
// finds to be none of that secret's), shows the attributes of the label's version of now.
// Thread-safe, without locks. Zeros are an empty table, which lies in memory that outlives the
// process (shared_state.h): a thread that asks after a restart gets the same answer.
class RecentOpens {
 public:
  struct Opener {
    uint32_t thread = 0;  // 0 (the kernel could not tell): not remembered.
    uint64_t node = 0;
  };

  void Remember(const Opener& opener, store::SelectorId version);
  // A new walk to the file begins: what the thread asks next is about the file as it is now.
  void Forget(const Opener& opener);
  std::optional<store::SelectorId> Find(const Opener& opener) const;

 private:
  static constexpr size_t kSlots = 1024;
  // 30 bits of a hash of the opener || 34 bits of version; 0: empty.
  std::array<std::atomic<uint64_t>, kSlots> slots_{};
};

// Whether one uid alone asks for a node's attributes. The kernel caches them per node, not per
// caller, so attributes that depend on the caller may be cached only then. Nodes that share a slot
// of the table are taken as one, which costs cache hits and nothing else. Thread-safe, without
// locks; zeros are an empty table, as above.
class SoleAskers {
 public:
  struct Question {
    uint64_t node = 0;
    uint32_t uid = 0;
  };
  // Notes the question. True if no other uid asked about the node within kMemorySeconds.
  bool AsksAlone(const Question& question, int64_t now_seconds);

  static constexpr uint32_t kMemorySeconds = 10;

 private:
  static constexpr size_t kSlots = 1024;
  // Inverted uid || second until which answers may not be cached; 0: nobody.
  std::array<std::atomic<uint64_t>, kSlots> slots_{};
};

// What a Tree remembers of its callers.
struct CallerMemory {
  RecentOpens recent_opens;
  SoleAskers sole_askers;
};

}  // namespace secretfs::fs
