#pragma once

#include <cstdint>
#include <span>

#include "fs/shared_state.h"

namespace secretfs::fs {

// What the kernel's INIT request says that it can do (linux/fuse.h, "fuse_init_in").
struct FuseFeatures {
  uint32_t major = 0;  // Of the protocol, 7; 0: INIT has not come yet.
  uint32_t minor = 0;
  bool resend = false;  // FUSE_NOTIFY_RESEND, Linux 6.9.
};

// `init` is a request with its header.
FuseFeatures FeaturesIn(std::span<const uint8_t> init);
FuseFeatures FeaturesOf(const SharedState& state);

}  // namespace secretfs::fs
