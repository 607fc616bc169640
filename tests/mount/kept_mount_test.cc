#include "mount/kept_mount.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "fs/shared_state.h"
#include "tests/support/temp_directory.h"

namespace secretfs::mount {
namespace {

// Mounts themselves: tests/e2e/service_test.py.

TEST(KeptMountTest, NothingGivenIsNothing) {
  const auto kept = TakeKeptMount({}, {"/store", "/mnt", "/socket"});
  ASSERT_TRUE(kept);
  EXPECT_FALSE(kept->mount.device.valid());
  EXPECT_EQ(kept->socket, nullptr);
}

TEST(KeptMountTest, IncompleteOrNonsenseIsNoMount) {
  const auto null = [] { return UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC)); };
  for (const bool with_facts : {false, true}) {
    GivenDescriptors given;
    given["secretfs-fuse"] = null();
    given["secretfs-requests"] = null();
    if (with_facts) given["secretfs-mount"] = null();
    const auto kept = TakeKeptMount(std::move(given), {"/store", "/mnt", "/socket"});
    ASSERT_TRUE(kept);
    EXPECT_FALSE(kept->mount.device.valid());
  }
}

TEST(KeptMountTest, ASocketIsTakenOverEvenWithoutAMount) {
  const testing::TempDirectory directory;
  const std::string path = directory / "socket";
  const auto opened = ListenSocket::Open(path).value();
  GivenDescriptors given;
  given["secretfs-socket"] = UniqueFd(dup(opened->fd()));
  EXPECT_NE(TakeKeptMount(std::move(given), {"/store", "/mnt", path})->socket, nullptr);
}

}  // namespace
}  // namespace secretfs::mount
