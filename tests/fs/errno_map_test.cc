#include "fs/errno_map.h"

#include <errno.h>
#include <gtest/gtest.h>

namespace secretfs::fs {
namespace {

TEST(ErrnoMapTest, TheContractOfTheDesignHolds) {
  EXPECT_EQ(ErrnoOf(Code::kPermissionDenied), EACCES);
  EXPECT_EQ(ErrnoOf(Code::kNotFound), ENOENT);
  EXPECT_EQ(ErrnoOf(Code::kSealed), ENOKEY);
  EXPECT_EQ(ErrnoOf(Code::kKeyUnavailable), EKEYREVOKED);
  EXPECT_EQ(ErrnoOf(Code::kCorrupt), EIO);
  EXPECT_EQ(ErrnoOf(Code::kUnavailable), EIO);
  EXPECT_EQ(ErrnoOf(Code::kInternal), EIO);
  EXPECT_EQ(ErrnoOf(Code::kStale), ESTALE);
}

TEST(ErrnoMapTest, NoErrorIsSuccess) {
  for (int code = 0; code <= static_cast<int>(Code::kInternal); ++code) {
    EXPECT_GT(ErrnoOf(static_cast<Code>(code)), 0) << code;
  }
}

}  // namespace
}  // namespace secretfs::fs
