#include "mount/watchdog.h"

#include <gtest/gtest.h>
#include <linux/fuse.h>

#include "fs/shared_state.h"

namespace secretfs::mount {
namespace {

class WatchdogTest : public ::testing::Test {
 protected:
  WatchdogTest()
      : fd_(fs::CreateSharedState().value()), state_(fs::MapSharedState(fd_.get()).value()) {}

  void Take(size_t slot, uint64_t unique) {
    reinterpret_cast<fuse_in_header*>(state_->slots[slot].bytes)->unique = unique;
    state_->slots[slot].busy = 1;
    state_->slots[slot].taken += 1;
  }
  // How many ticks it takes to find the daemon stuck; 100: never.
  int TicksUntilStuck(bool are_waiting) {
    for (int tick = 1; tick < 100; ++tick) {
      if (watchdog_.IsStuck(*state_, are_waiting)) return tick;
    }
    return 100;
  }

  const UniqueFd fd_;
  const fs::SharedStatePtr state_;
  Watchdog watchdog_;
};

TEST_F(WatchdogTest, FindsARequestThatIsNotAnswered) {
  Take(1, 5);
  EXPECT_EQ(TicksUntilStuck(false), kRequestSecondsMax + 1);
  watchdog_.Reset();
  EXPECT_EQ(TicksUntilStuck(false), kRequestSecondsMax + 1);
}

TEST_F(WatchdogTest, FindsRequestsThatAreNotTaken) {
  Take(0, 5);
  fs::ClearSlot(state_->slots[0]);
  EXPECT_FALSE(watchdog_.IsStuck(*state_, true));
  EXPECT_EQ(TicksUntilStuck(true), kRequestSecondsMax);
}

TEST_F(WatchdogTest, IsContentWithADaemonThatWorksOrHasNothingToDo) {
  EXPECT_EQ(TicksUntilStuck(false), 100);
  for (uint64_t unique = 2; unique < 100; ++unique) {
    Take(0, unique);
    EXPECT_FALSE(watchdog_.IsStuck(*state_, true));
    fs::ClearSlot(state_->slots[0]);
    Take(0, ++unique);
    EXPECT_FALSE(watchdog_.IsStuck(*state_, true));
  }
}

}  // namespace
}  // namespace secretfs::mount
