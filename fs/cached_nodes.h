#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace secretfs::fs {

// The nodes of which a page may be in the kernel's page cache, in memory that outlives the process:
// each has to be dropped, whichever daemon gets to it. A node that does not fit is refused, never
// forgotten: whoever answers the kernel then refuses the page, so that no plaintext stays for good.
// Zeros are an empty table. Any number of threads may add; without locks.
class CachedNodes {
 public:
  enum class Added : uint8_t {
    kThere,
    kCrowded,  // There; the table should be emptied soon.
    kFull,     // Not there.
  };
  // REQUIRES: `node` is not 0.
  Added Add(uint64_t node) {
    for (size_t i = 0; i < kProbes; ++i) {
      std::atomic<uint64_t>& slot = slots_[(Spread(node) + i) % kSlots];
      uint64_t found = 0;
      if (slot.compare_exchange_strong(found, node) || found == node) {
        return i < kProbes / 4 ? Added::kThere : Added::kCrowded;
      }
    }
    return Added::kFull;
  }

  // Offers each node to `give`, which returns whether it took it; the first that it does not take
  // ends this, and stays with those behind it. False: that happened. A process that is killed
  // meanwhile leaves the node that it offered to be offered again. One thread of one process at a
  // time.
  template <typename Give>
  bool GiveAll(Give give) {
    if (!GiveOffered(give)) return false;
    for (std::atomic<uint64_t>& slot : slots_) {
      const uint64_t node = slot.load();
      if (node == 0) continue;
      // Out of its slot before it is given: a page that comes later puts it there anew.
      offered_.store(node);
      slot.store(0);
      if (!GiveOffered(give)) return false;
    }
    return true;
  }

 private:
  template <typename Give>
  bool GiveOffered(Give& give) {
    const uint64_t node = offered_.load();
    if (node == 0) return true;
    if (!give(node)) return false;
    offered_.store(0);
    return true;
  }

  static uint64_t Spread(uint64_t node) { return node * 0x9E3779B97F4A7C15ULL >> 32; }

  // More than one reader of two CPUs maps in the half second that pages are kept.
  static constexpr size_t kSlots = 16384;
  static constexpr size_t kProbes = 64;
  std::atomic<uint64_t> offered_{0};
  std::array<std::atomic<uint64_t>, kSlots> slots_{};
};

}  // namespace secretfs::fs
