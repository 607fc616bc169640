#include "crypto/base/clock.h"

#include <array>
#include <ctime>

namespace secretfs {

std::string FormatTime(TimeMs at) {
  const std::time_t seconds = at / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  const size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return std::string(text.data(), size);
}

TimeMs SystemClock::NowMs() const {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<TimeMs>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace secretfs
