#include "crypto/base/clock.h"

#include <ctime>

namespace secretfs {

TimeMs SystemClock::NowMs() const {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<TimeMs>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace secretfs
