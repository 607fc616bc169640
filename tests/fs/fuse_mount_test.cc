#include "fs/fuse_mount.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temp_directory.h"

namespace secretfs::fs {
namespace {

class FuseMountTest : public ::testing::Test {
 protected:
  static Error MountErrorOf(const std::string& mountpoint) {
    const auto device = MountFuse({.mountpoint = mountpoint});
    EXPECT_FALSE(device);
    return device ? Error{} : device.error();
  }

  secretfs::testing::TempDirectory directory_;
};

TEST_F(FuseMountTest, ARelativePathIsRefused) {
  EXPECT_EQ(MountErrorOf("here").code, Code::kInvalidArgument);
  EXPECT_EQ(MountErrorOf("").code, Code::kInvalidArgument);
}

TEST_F(FuseMountTest, AnAbsentDirectoryIsRefusedByName) {
  const Error error = MountErrorOf(directory_ / "absent");
  EXPECT_EQ(error.code, Code::kNotFound);
  EXPECT_NE(error.message.find(directory_ / "absent"), std::string::npos);
}

TEST_F(FuseMountTest, AFileIsRefused) {
  std::ofstream(directory_ / "file") << "x";
  EXPECT_EQ(MountErrorOf(directory_ / "file").code, Code::kInvalidArgument);
}

TEST_F(FuseMountTest, ADirectoryWithContentIsRefused) {
  std::ofstream(directory_ / "file") << "x";
  EXPECT_EQ(MountErrorOf(directory_.path()).code, Code::kInvalidArgument);
}

TEST_F(FuseMountTest, AMountPointIsRefusedAlsoThroughASymbolicLink) {
  EXPECT_EQ(MountErrorOf("/proc").code, Code::kFailedPrecondition);
  EXPECT_EQ(MountErrorOf("/proc/").code, Code::kFailedPrecondition);
  std::filesystem::create_directory_symlink("/proc", directory_ / "link");
  EXPECT_EQ(MountErrorOf(directory_ / "link").code, Code::kFailedPrecondition);
}

TEST_F(FuseMountTest, WhatIsNoSecretfsIsNotUnmounted) {
  EXPECT_EQ(UnmountFuse("/proc", false).error().code, Code::kNotFound);
  EXPECT_EQ(UnmountFuse(directory_.path(), true).error().code, Code::kNotFound);
}

TEST_F(FuseMountTest, WhatIsNoSecretfsDoesNotCountAsMounted) {
  EXPECT_EQ(IsSecretfsMounted("/proc").value(), false);
  EXPECT_EQ(IsSecretfsMounted(directory_.path()).value(), false);
  EXPECT_EQ(IsSecretfsMounted(directory_ / "absent").value(), false);
  EXPECT_EQ(IsSecretfsMounted("relative").error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace secretfs::fs
