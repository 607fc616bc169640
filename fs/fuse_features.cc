#include "fs/fuse_features.h"

#include <linux/fuse.h>

#include <cstring>

namespace secretfs::fs {
namespace {

// Of linux/fuse.h after Linux 6.1, whose headers Debian 12 has.
constexpr uint32_t kInitExtended = 1u << 30;      // FUSE_INIT_EXT
constexpr uint32_t kHasResend = 1u << (39 - 32);  // FUSE_HAS_RESEND, in flags2.

}  // namespace

FuseFeatures FeaturesIn(std::span<const uint8_t> init) {
  if (init.size() < sizeof(fuse_in_header) + sizeof(fuse_init_in)) return {};
  fuse_init_in in{};
  std::memcpy(&in, init.data() + sizeof(fuse_in_header), sizeof in);
  return {.major = in.major,
          .minor = in.minor,
          .resend = (in.flags & kInitExtended) != 0 && (in.flags2 & kHasResend) != 0};
}

FuseFeatures FeaturesOf(const SharedState& state) {
  const uint32_t size = state.init_bytes.load(std::memory_order_acquire);
  if (size > sizeof state.init) return {};
  return FeaturesIn(std::span(state.init, size));
}

}  // namespace secretfs::fs
