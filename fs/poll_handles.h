#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace secretfs::fs {

// The kernel's names of open files that somebody polls, in memory that outlives the process: each
// of them has to be woken once, whichever daemon learns of the change. When the table is full,
// Add() gives back another one to be woken early, which costs its poller a look and nothing else.
// Zeros are an empty table. Thread-safe, without locks.
class PollHandles {
 public:
  // Returns the handle that had to make room; 0: none.
  uint64_t Add(uint64_t handle) {
    for (size_t i = 0; i < kProbes; ++i) {
      std::atomic<uint64_t>& slot = slots_[(Spread(handle) + i) % kSlots];
      uint64_t found = 0;
      if (slot.compare_exchange_strong(found, handle) || found == handle) return 0;
    }
    return slots_[Spread(handle) % kSlots].exchange(handle);
  }

  // Takes all handles out. `wake` gets each.
  template <typename Wake>
  void TakeAll(Wake wake) {
    for (std::atomic<uint64_t>& slot : slots_) {
      if (slot.load(std::memory_order_relaxed) == 0) continue;
      if (const uint64_t handle = slot.exchange(0); handle != 0) wake(handle);
    }
  }

 private:
  // The kernel counts them up.
  static uint64_t Spread(uint64_t handle) { return handle * 0x9E3779B97F4A7C15ULL >> 32; }

  static constexpr size_t kSlots = 4096;
  static constexpr size_t kProbes = 64;
  std::array<std::atomic<uint64_t>, kSlots> slots_{};
};

}  // namespace secretfs::fs
