#pragma once

#include <atomic>

#include "crypto/base/clock.h"

namespace secretfs::testing {

// A clock that stands still until a test moves it. Thread-safe.
class FakeClock final : public Clock {
 public:
  // 2024-01-01T00:00:00Z, unless the test cares.
  explicit FakeClock(TimeMs now = 1'704'067'200'000) : now_(now) {}

  TimeMs NowMs() const override { return now_.load(); }
  void Set(TimeMs now) { now_.store(now); }
  void Advance(TimeMs by) { now_.fetch_add(by); }

 private:
  std::atomic<TimeMs> now_;
};

}  // namespace secretfs::testing
