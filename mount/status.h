#pragma once

#include <string>
#include <string_view>

#include "crypto/base/clock.h"
#include "crypto/base/mutex.h"
#include "fs/shared_state.h"
#include "store/secret_service.h"

namespace secretfs::mount {

// The version of this build, "0.1.0".
std::string_view BuildVersion();

// The daemon's health as one JSON object, which `_status` and `secretfs status` show to everybody
// who asks: numbers and places, no secret's name. Built at most once a second, however often it is
// read. Thread-safe.
class StatusReporter {
 public:
  // What a daemon finds out while it may still ask.
  struct Facts {
    std::string mountpoint;
    bool system_call_filter = false;
    bool memfd_secret = false;   // The kernel has memory that it cannot read itself.
    bool root_key_kept = false;  // For successors, so that they ask nobody.
    bool resend = true;          // Requests that got lost are asked for again, if the kernel can.
  };

  // `service`, `state` and `clock` must outlive the reporter. The daemon counts as started now.
  StatusReporter(store::SecretService& service, const fs::SharedState& state, Facts facts,
                 const Clock& clock);

  std::string Text();

 private:
  std::string Build(TimeMs now);

  store::SecretService& service_;
  const fs::SharedState& state_;
  const Facts facts_;
  const Clock& clock_;
  const TimeMs started_at_;

  Mutex mutex_;
  TimeMs built_at_ GUARDED_BY(mutex_) = 0;
  std::string text_ GUARDED_BY(mutex_);
};

}  // namespace secretfs::mount
