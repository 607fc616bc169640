#pragma once

#include <cstdint>
#include <string>

namespace secretfs {

// Milliseconds since the Unix epoch, UTC. Signed, so that differences need no care.
using TimeMs = int64_t;

inline constexpr TimeMs kMsPerDay = 24LL * 60 * 60 * 1000;

// "2026-01-02T03:04:05Z"
std::string FormatTime(TimeMs at);

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
