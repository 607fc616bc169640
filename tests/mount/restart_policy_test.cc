#include "mount/restart_policy.h"

#include <gtest/gtest.h>

#include <vector>

namespace secretfs::mount {
namespace {

using Milliseconds = RestartPolicy::Milliseconds;

TEST(RestartPolicyTest, OneThatWasKilledIsReplacedAtOnceAlsoBeforeItServed) {
  RestartPolicy policy;
  for (int i = 0; i < 9; ++i) {
    EXPECT_EQ(policy.PauseAfter({.by_sigkill = true, .lived = Milliseconds(5)}), Milliseconds(0));
  }
  EXPECT_FALSE(policy.PauseAfter({.by_sigkill = true, .lived = Milliseconds(5)}));
}

TEST(RestartPolicyTest, OneThatServedAndWasKilledIsReplacedAtOnceHoweverOften) {
  RestartPolicy policy;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(policy.PauseAfter({.served = true, .by_sigkill = true, .lived = Milliseconds(5)}),
              Milliseconds(0));
    policy.Served();
  }
}

TEST(RestartPolicyTest, ThoseThatDieYoungWaitLongerAndLonger) {
  RestartPolicy policy;
  std::vector<int64_t> pauses;
  for (int i = 0; i < 12; ++i) {
    pauses.push_back(policy.PauseAfter({.served = true, .lived = Milliseconds(100)})->count());
    policy.Served();
  }
  EXPECT_EQ(pauses,
            (std::vector<int64_t>{10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5000, 5000, 5000}));
  EXPECT_EQ(policy.PauseAfter({.served = true, .lived = Milliseconds(10'000)}), Milliseconds(0));
  EXPECT_EQ(policy.PauseAfter({.served = true, .lived = Milliseconds(1)}), Milliseconds(10));
}

TEST(RestartPolicyTest, TenInARowThatDoNotServeAreTheEnd) {
  RestartPolicy policy;
  for (int i = 0; i < 9; ++i) EXPECT_TRUE(policy.PauseAfter({.lived = Milliseconds(1)}));
  policy.Served();
  for (int i = 0; i < 9; ++i) {
    EXPECT_TRUE(policy.PauseAfter({.by_sigkill = true, .lived = Milliseconds(60'000)}));
  }
  EXPECT_FALSE(policy.PauseAfter({.lived = Milliseconds(1)}));
}

}  // namespace
}  // namespace secretfs::mount
