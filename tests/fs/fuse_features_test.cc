#include "fs/fuse_features.h"

#include <gtest/gtest.h>
#include <linux/fuse.h>

#include <array>
#include <cstring>

namespace secretfs::fs {
namespace {

std::array<uint8_t, sizeof(fuse_in_header) + sizeof(fuse_init_in)> Init(uint32_t flags,
                                                                        uint32_t flags2) {
  fuse_init_in in{};
  in.major = 7;
  in.minor = 40;
  in.flags = flags;
  in.flags2 = flags2;
  std::array<uint8_t, sizeof(fuse_in_header) + sizeof(fuse_init_in)> request{};
  std::memcpy(request.data() + sizeof(fuse_in_header), &in, sizeof in);
  return request;
}

constexpr uint32_t kExtended = 1u << 30;
constexpr uint32_t kResend = 1u << 7;

TEST(FuseFeaturesTest, TheKernelSaysItsProtocolAndWhetherItResends) {
  const FuseFeatures features = FeaturesIn(Init(kExtended, kResend));
  EXPECT_EQ(features.major, 7u);
  EXPECT_EQ(features.minor, 40u);
  EXPECT_TRUE(features.resend);
  EXPECT_FALSE(FeaturesIn(Init(kExtended, ~kResend)).resend);
  EXPECT_FALSE(FeaturesIn(Init(0, kResend)).resend) << "flags2 means nothing then";
}

TEST(FuseFeaturesTest, ARequestThatIsCutOffSaysNothing) {
  const auto request = Init(kExtended, kResend);
  const FuseFeatures features = FeaturesIn(std::span(request).first(request.size() - 1));
  EXPECT_EQ(features.major, 0u);
  EXPECT_FALSE(features.resend);
}

TEST(FuseFeaturesTest, TheStateKeepsWhatTheKernelSaid) {
  const UniqueFd fd = CreateSharedState().value();
  const SharedStatePtr state = MapSharedState(fd.get()).value();
  EXPECT_EQ(FeaturesOf(*state).major, 0u);
  const auto request = Init(kExtended, kResend);
  std::memcpy(state->init, request.data(), request.size());
  state->init_bytes = request.size();
  EXPECT_EQ(FeaturesOf(*state).minor, 40u);
  state->init_bytes = sizeof state->init + 1;
  EXPECT_EQ(FeaturesOf(*state).major, 0u) << "no more than there is";
}

}  // namespace
}  // namespace secretfs::fs
