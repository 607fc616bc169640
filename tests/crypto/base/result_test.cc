#include "crypto/base/result.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

namespace secretfs {
namespace {

Result<int> Half(int value) {
  if (value % 2 != 0) return Fail(Code::kInvalidArgument, "odd");
  return value / 2;
}

Status MustBeEven(int value) {
  TRY(Half(value));
  return {};
}

Result<int> Quarter(int value) {
  TRY_ASSIGN(const int half, Half(value));
  TRY_ASSIGN(int quarter, Half(half));
  return quarter;
}

TEST(ResultTest, TryPassesSuccessOn) {
  EXPECT_TRUE(MustBeEven(4));
  EXPECT_EQ(Quarter(12).value(), 3);
}

TEST(ResultTest, TryReturnsTheErrorUnchanged) {
  const Status status = MustBeEven(3);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kInvalidArgument);
  EXPECT_EQ(status.error().message, "odd");
}

TEST(ResultTest, TryAssignStopsAtTheFirstError) {
  EXPECT_FALSE(Quarter(3));
  EXPECT_FALSE(Quarter(6));
}

TEST(ResultTest, TryAssignMovesTheValue) {
  const auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(7); };
  const auto use = [&]() -> Result<int> {
    std::unique_ptr<int> pointer;
    TRY_ASSIGN(pointer, make());
    return *pointer;
  };
  EXPECT_EQ(use().value(), 7);
}

TEST(ResultTest, TryEvaluatesItsExpressionOnce) {
  int calls = 0;
  const auto count = [&]() -> Status {
    ++calls;
    return {};
  };
  const auto run = [&]() -> Status {
    TRY(count());
    return {};
  };
  EXPECT_TRUE(run());
  EXPECT_EQ(calls, 1);
}

TEST(ResultTest, FailErrnoSaysWhyInWords) {
  const Status status = FailErrno(Code::kUnavailable, "write /x", ENOSPC);
  EXPECT_EQ(status.error().message, "write /x: No space left on device");
}

}  // namespace
}  // namespace secretfs
