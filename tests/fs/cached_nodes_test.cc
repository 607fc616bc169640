#include "fs/cached_nodes.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <set>
#include <thread>

namespace secretfs::fs {
namespace {

std::multiset<uint64_t> GiveAll(CachedNodes& nodes) {
  std::multiset<uint64_t> given;
  EXPECT_TRUE(nodes.GiveAll([&](uint64_t node) {
    given.insert(node);
    return true;
  }));
  return given;
}

TEST(CachedNodesTest, EachIsGivenOnce) {
  const auto nodes = std::make_unique<CachedNodes>();
  for (const uint64_t node : {5, 6, 6, 7}) EXPECT_EQ(nodes->Add(node), CachedNodes::Added::kThere);
  EXPECT_EQ(GiveAll(*nodes), (std::multiset<uint64_t>{5, 6, 7}));
  EXPECT_TRUE(GiveAll(*nodes).empty());
}

TEST(CachedNodesTest, WhatIsNotTakenIsOfferedAgain) {
  const auto nodes = std::make_unique<CachedNodes>();
  for (const uint64_t node : {5, 6, 7}) nodes->Add(node);
  std::set<uint64_t> offered;
  for (int round = 0; round < 3; ++round) {
    EXPECT_FALSE(nodes->GiveAll([&](uint64_t node) {
      offered.insert(node);
      return false;
    }));
  }
  EXPECT_EQ(offered.size(), 1u) << "the one that waits comes first";
  EXPECT_EQ(GiveAll(*nodes), (std::multiset<uint64_t>{5, 6, 7}));
}

TEST(CachedNodesTest, APageThatComesWhileItsNodeIsGivenCountsAnew) {
  const auto nodes = std::make_unique<CachedNodes>();
  nodes->Add(5);
  nodes->GiveAll([&](uint64_t node) {
    EXPECT_EQ(nodes->Add(node), CachedNodes::Added::kThere);
    return true;
  });
  EXPECT_EQ(GiveAll(*nodes), std::multiset<uint64_t>{5});
}

TEST(CachedNodesTest, WhatDoesNotFitIsRefusedAndTheRestIsKept) {
  const auto nodes = std::make_unique<CachedNodes>();
  std::multiset<uint64_t> added;
  size_t crowded = 0;
  size_t full = 0;
  for (uint64_t node = 1; node <= 100'000; ++node) {
    const auto outcome = nodes->Add(node);
    if (outcome != CachedNodes::Added::kFull) added.insert(node);
    if (outcome == CachedNodes::Added::kFull) ++full;
    if (outcome == CachedNodes::Added::kCrowded && full == 0) ++crowded;
  }
  EXPECT_GT(full, 0u);
  EXPECT_GT(crowded, 0u) << "there is a warning before it is full";
  EXPECT_EQ(GiveAll(*nodes), added);
}

// What is given after an Add() began covers that page; so the last Add() must be followed by one.
TEST(CachedNodesTest, NoAddIsLostAgainstAThreadThatGives) {
  const auto nodes = std::make_unique<CachedNodes>();
  std::atomic<uint64_t> page{0};
  uint64_t covered = 0;
  std::atomic<bool> done{false};
  std::thread giver([&] {
    while (!done) {
      nodes->GiveAll([&](uint64_t) {
        covered = page.load();
        return true;
      });
    }
  });
  for (int i = 0; i < 200'000; ++i) {
    page.fetch_add(1);
    nodes->Add(5);
  }
  done = true;
  giver.join();
  nodes->GiveAll([&](uint64_t) {
    covered = page.load();
    return true;
  });
  EXPECT_EQ(covered, 200'000u);
}

}  // namespace
}  // namespace secretfs::fs
