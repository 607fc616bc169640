#include "fs/shared_state.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace secretfs::fs {
namespace {

TEST(SharedStateTest, WhatOneProcessWritesTheNextFinds) {
  const UniqueFd fd = CreateSharedState().value();
  {
    const SharedStatePtr state = MapSharedState(fd.get()).value();
    EXPECT_EQ(state->generation, 0u);
    state->generation = 7;
    state->caller_memory.recent_opens.Remember({1, 2}, 3);
  }
  const SharedStatePtr state = MapSharedState(fd.get()).value();
  EXPECT_EQ(state->generation, 7u);
  EXPECT_EQ(state->caller_memory.recent_opens.Find({1, 2}), 3u);
}

TEST(SharedStateTest, ItsSizeIsFixed) {
  const UniqueFd fd = CreateSharedState().value();
  EXPECT_NE(ftruncate(fd.get(), 0), 0) << "a mapped page could be taken away";
}

TEST(SharedStateTest, AnotherLayoutIsRefused) {
  const UniqueFd fd = CreateSharedState().value();
  MapSharedState(fd.get()).value()->layout = SharedState::kLayout + 1;
  EXPECT_EQ(MapSharedState(fd.get()).error().code, Code::kFailedPrecondition);
  const UniqueFd smaller(memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(smaller.get(), 4096), 0);
  EXPECT_EQ(MapSharedState(smaller.get()).error().code, Code::kFailedPrecondition);
  EXPECT_FALSE(MapSharedState(-1));
}

}  // namespace
}  // namespace secretfs::fs
