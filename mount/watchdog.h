#pragma once

#include <array>
#include <cstdint>

#include "fs/fuse_request_source.h"
#include "fs/shared_state.h"

namespace secretfs::mount {

inline constexpr int kRequestSecondsMax = 10;

// Finds a daemon that has been at one request for too long, or takes none although some wait,
// without costing requests anything: it looks at what the slots hold, tick after tick.
class Watchdog {
 public:
  // Call once a second. `are_waiting`: /dev/fuse has requests that nobody has taken.
  bool IsStuck(fs::SharedState& state, bool are_waiting) {
    bool is_stuck = false;
    bool is_moving = false;
    for (size_t i = 0; i < seen_.size(); ++i) {
      const uint64_t unique = fs::RequestIn(state.slots[i]);
      const uint64_t taken = state.slots[i].taken.load(std::memory_order_relaxed);
      Seen& seen = seen_[i];
      is_moving = is_moving || taken != seen.taken;
      seen = {unique, taken, unique != 0 && unique == seen.unique ? seen.ticks + 1 : 0};
      is_stuck = is_stuck || seen.ticks >= kRequestSecondsMax;
    }
    waiting_ticks_ = are_waiting && !is_moving ? waiting_ticks_ + 1 : 0;
    return is_stuck || waiting_ticks_ >= kRequestSecondsMax;
  }
  void Reset() { *this = Watchdog(); }

 private:
  struct Seen {
    uint64_t unique = 0;
    uint64_t taken = 0;
    int ticks = 0;
  };
  std::array<Seen, fs::kReaderThreadsMax> seen_;
  int waiting_ticks_ = 0;
};

}  // namespace secretfs::mount
