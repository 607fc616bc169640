#pragma once

#include <cstdint>
#include <span>

#include "crypto/base/mutex.h"
#include "crypto/random.h"

namespace secretfs::testing {

// The same bytes in every run for the same seed: xorshift64* (Marsaglia; Vigna 2016) over a
// counter, so that two calls never start alike. For tests only: anybody can predict it.
// Thread-safe.
class FakeRandom final : public crypto::RandomSource {
 public:
  explicit FakeRandom(uint64_t seed = 1) : seed_(seed) {}

  void Fill(std::span<uint8_t> out) override EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    for (size_t i = 0; i < out.size(); ++i) {
      if (i % sizeof(word_) == 0) word_ = NextWord();
      out[i] = static_cast<uint8_t>(word_ >> 8 * (i % sizeof(word_)));
    }
  }

 private:
  uint64_t NextWord() REQUIRES(mutex_) {
    // The odd factor spreads neighbouring seeds; the state must not be 0, which xorshift never
    // leaves.
    uint64_t x = (seed_ + ++counter_ * 0x100000001b3u) * 0x9e3779b97f4a7c15u;
    if (x == 0) x = 1;
    for (int round = 0; round < 3; ++round) {
      x ^= x >> 12;
      x ^= x << 25;
      x ^= x >> 27;
    }
    return x * 0x2545f4914f6cdd1du;
  }

  const uint64_t seed_;
  Mutex mutex_;
  uint64_t counter_ GUARDED_BY(mutex_) = 0;
  uint64_t word_ GUARDED_BY(mutex_) = 0;
};

}  // namespace secretfs::testing
