#include "crypto/random.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "crypto/base/bytes.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_random.h"

namespace secretfs::crypto {
namespace {

TEST(SystemRandomTest, NeverRepeats) {
  SystemRandom random;
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    Bytes bytes(16);
    random.Fill(bytes);
    EXPECT_TRUE(seen.insert(ToHex(bytes)).second);
  }
}

TEST(SystemRandomTest, FillsNothingWhenAskedForNothing) {
  SystemRandom random;
  random.Fill({});
}

TEST(FakeRandomTest, RepeatsForTheSameSeedOnly) {
  Bytes first(40), second(40), other(40);
  testing::FakeRandom(7).Fill(first);
  testing::FakeRandom(7).Fill(second);
  testing::FakeRandom(8).Fill(other);
  EXPECT_EQ(first, second);
  EXPECT_NE(first, other);
}

TEST(FakeRandomTest, DoesNotRepeatWithinARun) {
  testing::FakeRandom random;
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    Bytes bytes(16);
    random.Fill(bytes);
    EXPECT_TRUE(seen.insert(ToHex(bytes)).second);
  }
}

TEST(FakeClockTest, MovesOnlyWhenMoved) {
  testing::FakeClock clock(1000);
  EXPECT_EQ(clock.NowMs(), 1000);
  clock.Advance(kMsPerDay);
  EXPECT_EQ(clock.NowMs(), 1000 + kMsPerDay);
  clock.Set(5);
  EXPECT_EQ(clock.NowMs(), 5);
}

}  // namespace
}  // namespace secretfs::crypto
