#pragma once

#include <cstdint>

namespace secretfs {

// Milliseconds since the Unix epoch, UTC. Signed, so that differences need no care.
using TimeMs = int64_t;

inline constexpr TimeMs kMsPerDay = 24LL * 60 * 60 * 1000;

// The wall clock as a constructor argument, so that tests own the time. Implementations are
// thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimeMs NowMs() const = 0;
};

// CLOCK_REALTIME.
class SystemClock final : public Clock {
 public:
  TimeMs NowMs() const override;
};

}  // namespace secretfs
