#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

namespace secretfs::mount {

// How soon a daemon that died is replaced, and when no more: pure arithmetic.
//
// At once if SIGKILL ended it, which comes from outside. Else after a pause that doubles from
// kPauseMin to kPauseMax while daemons die young. kFailuresMax starts in a row that do
// not get as far as serving are the end.
class RestartPolicy {
 public:
  using Milliseconds = std::chrono::milliseconds;

  static constexpr int kFailuresMax = 10;
  static constexpr Milliseconds kPauseMin{10};
  static constexpr Milliseconds kPauseMax{5000};
  // One that lived longer than this was well.
  static constexpr Milliseconds kYoung{10'000};

  struct Death {
    bool served = false;
    bool by_sigkill = false;
    Milliseconds lived{0};
  };

  // The pause before the next start; nullopt: give up.
  std::optional<Milliseconds> PauseAfter(const Death& death) {
    failures_ += death.served ? 0 : 1;
    if (failures_ >= kFailuresMax) return std::nullopt;
    const bool is_ill = death.lived < kYoung && !death.by_sigkill;
    pause_ = is_ill ? std::clamp(pause_ * 2, kPauseMin, kPauseMax) : Milliseconds::zero();
    return pause_;
  }

  // A daemon serves.
  void Served() { failures_ = 0; }

 private:
  int failures_ = 0;
  Milliseconds pause_{0};
};

}  // namespace secretfs::mount
