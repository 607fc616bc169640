#include "fs/recent_opens.h"

#include <gtest/gtest.h>

namespace secretfs::fs {
namespace {

constexpr RecentOpens::Opener kOpener{77, 0x2400000002000000};

TEST(RecentOpensTest, AnOpenerFindsTheVersionItOpened) {
  RecentOpens opens;
  EXPECT_FALSE(opens.Find(kOpener));
  opens.Remember(kOpener, store::kSelectorIdMax);
  EXPECT_EQ(opens.Find(kOpener), store::kSelectorIdMax);
  opens.Remember(kOpener, 3);
  EXPECT_EQ(opens.Find(kOpener), 3u);
}

TEST(RecentOpensTest, OthersDoNot) {
  RecentOpens opens;
  opens.Remember(kOpener, 3);
  EXPECT_FALSE(opens.Find({78, kOpener.node}));
  EXPECT_FALSE(opens.Find({kOpener.thread, kOpener.node + 1}));
}

TEST(RecentOpensTest, ForgettingTouchesOnlyTheOpener) {
  RecentOpens opens;
  opens.Remember(kOpener, 3);
  for (uint32_t thread = 1000; thread < 6000; ++thread) opens.Forget({thread, kOpener.node});
  EXPECT_EQ(opens.Find(kOpener), 3u);
  opens.Forget(kOpener);
  EXPECT_FALSE(opens.Find(kOpener));
}

TEST(RecentOpensTest, AThreadThatTheKernelCannotNameIsNotRemembered) {
  RecentOpens opens;
  opens.Remember({0, kOpener.node}, 3);
  EXPECT_FALSE(opens.Find({0, kOpener.node}));
}

TEST(SoleAskersTest, OneUidIsAloneUntilAnotherComes) {
  SoleAskers askers;
  EXPECT_TRUE(askers.AsksAlone({5, 1000}, 100));
  EXPECT_TRUE(askers.AsksAlone({5, 1000}, 101));
  EXPECT_FALSE(askers.AsksAlone({5, 1001}, 102));
  EXPECT_FALSE(askers.AsksAlone({5, 1001}, 103));
  EXPECT_FALSE(askers.AsksAlone({5, 1000}, 104));
}

TEST(SoleAskersTest, TheLastOfThemIsAloneAfterAWhile) {
  SoleAskers askers;
  EXPECT_TRUE(askers.AsksAlone({5, 1000}, 100));
  EXPECT_FALSE(askers.AsksAlone({5, 1001}, 100));
  EXPECT_FALSE(askers.AsksAlone({5, 1001}, 100 + SoleAskers::kMemorySeconds - 1));
  EXPECT_TRUE(askers.AsksAlone({5, 1001}, 100 + SoleAskers::kMemorySeconds));
  EXPECT_FALSE(askers.AsksAlone({5, 1000}, 1000)) << "who asked before may still be cached";
}

TEST(SoleAskersTest, NodesAreAskedAboutSeparately) {
  SoleAskers askers;
  EXPECT_TRUE(askers.AsksAlone({5, 1000}, 100));
  EXPECT_TRUE(askers.AsksAlone({6, 1001}, 100));
}

}  // namespace
}  // namespace secretfs::fs
