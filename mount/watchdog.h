#pragma once

#include <array>
#include <cstdint>

#include "fs/fuse_request_source.h"
#include "fs/shared_state.h"

namespace secretfs::mount {

inline constexpr int kRequestSecondsMax = 10;

// Finds a daemon that has been at one request for too long, without costing requests anything: the
// same request in the same slot, tick after tick.
class Watchdog {
 public:
  // Call once a second.
  bool IsStuck(fs::SharedState& state) {
    bool stuck = false;
    for (size_t i = 0; i < seen_.size(); ++i) {
      const uint64_t unique = fs::RequestIn(state.slots[i]);
      Seen& seen = seen_[i];
      seen = {unique, unique != 0 && unique == seen.unique ? seen.ticks + 1 : 0};
      stuck = stuck || seen.ticks >= kRequestSecondsMax;
    }
    return stuck;
  }
  void Reset() { seen_ = {}; }

 private:
  struct Seen {
    uint64_t unique = 0;
    int ticks = 0;
  };
  std::array<Seen, fs::kReaderThreadsMax> seen_;
};

}  // namespace secretfs::mount
