#include "fs/mountinfo.h"

#include <gtest/gtest.h>

#include <optional>

namespace secretfs::fs {
namespace {

constexpr std::string_view kText =
    "22 27 0:20 / /proc rw,nosuid shared:12 - proc proc rw\n"
    "27 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw\n"
    "42 27 0:39 / /run/secretfs ro,nosuid,nodev,noexec,relatime - fuse.secretfs secretfs rw\n"
    "43 27 0:40 / /mnt/two\\040words\\134back\\011tab rw shared:5 - tmpfs none rw\n"
    "44 27 0:41 / /mnt/stack rw - fuse.secretfs secretfs rw\n"
    "45 44 0:42 / /mnt/stack rw - tmpfs none rw\n";

// Of the mount that is on top.
std::optional<std::string> MountedType(std::string_view text, std::string_view mountpoint) {
  std::optional<std::string> type;
  for (const MountEntry& entry : ParseMountinfo(text)) {
    if (entry.mountpoint == mountpoint) type = entry.type;
  }
  return type;
}

TEST(MountinfoTest, TellsTheDevice) {
  EXPECT_EQ(ParseMountinfo(kText)[2].device, "0:39");
}

TEST(MountinfoTest, FindsTheTypeWithAndWithoutOptionalFields) {
  EXPECT_EQ(MountedType(kText, "/run/secretfs"), "fuse.secretfs");
  EXPECT_EQ(MountedType(kText, "/"), "ext4");
  EXPECT_EQ(MountedType(kText, "/proc"), "proc");
}

TEST(MountinfoTest, NothingIsMountedOnOtherPaths) {
  EXPECT_EQ(MountedType(kText, "/run"), std::nullopt);
  EXPECT_EQ(MountedType(kText, "/run/secretfs/prod"), std::nullopt);
  EXPECT_EQ(MountedType(kText, ""), std::nullopt);
}

TEST(MountinfoTest, OctalEscapesAreUndone) {
  EXPECT_EQ(MountedType(kText, "/mnt/two words\\back\ttab"), "tmpfs");
}

TEST(MountinfoTest, TheMountOnTopCounts) {
  EXPECT_EQ(MountedType(kText, "/mnt/stack"), "tmpfs");
}

TEST(MountinfoTest, BrokenLinesAreSurvived) {
  EXPECT_EQ(MountedType("", "/"), std::nullopt);
  EXPECT_EQ(MountedType("\n\n1 2\n", "/"), std::nullopt);
  EXPECT_EQ(MountedType("1 2 3 4 /x rw", "/x"), "");
  EXPECT_EQ(MountedType("1 2 3 4 /x\\04 rw - tmpfs", "/x\\04"), "tmpfs");
  EXPECT_EQ(MountedType("1 2 3 4 /x\\400 rw - tmpfs", "/x\\400"), "tmpfs") << "not a byte";
}

}  // namespace
}  // namespace secretfs::fs
