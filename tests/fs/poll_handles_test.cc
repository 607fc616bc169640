#include "fs/poll_handles.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>

namespace secretfs::fs {
namespace {

std::multiset<uint64_t> TakeAll(PollHandles& handles) {
  std::multiset<uint64_t> taken;
  handles.TakeAll([&](uint64_t handle) { taken.insert(handle); });
  return taken;
}

TEST(PollHandlesTest, EachIsTakenOnce) {
  const auto handles = std::make_unique<PollHandles>();
  for (const uint64_t handle : {1, 2, 2, 3}) EXPECT_EQ(handles->Add(handle), 0u);
  EXPECT_EQ(TakeAll(*handles), (std::multiset<uint64_t>{1, 2, 3}));
  EXPECT_TRUE(TakeAll(*handles).empty());
}

TEST(PollHandlesTest, WhatDoesNotFitIsGivenBackToBeWoken) {
  const auto handles = std::make_unique<PollHandles>();
  std::set<uint64_t> given_back;
  for (uint64_t handle = 1; handle <= 10'000; ++handle) {
    if (const uint64_t other = handles->Add(handle); other != 0) given_back.insert(other);
  }
  EXPECT_FALSE(given_back.empty());
  for (const uint64_t handle : TakeAll(*handles)) given_back.insert(handle);
  EXPECT_EQ(given_back.size(), 10'000u) << "nobody is forgotten";
}

}  // namespace
}  // namespace secretfs::fs
