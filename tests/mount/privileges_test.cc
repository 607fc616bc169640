#include "mount/privileges.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "tests/support/temp_directory.h"

namespace secretfs::mount {
namespace {

constexpr ProcessUser kUser{.uid = 12345, .gid = 23456};

// Runs `body` in a child, since there is no way back. Its result is the child's exit status.
int InChild(const std::function<int()>& body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(PrivilegesTest, UsersAreFoundByNameAndByNumbers) {
  EXPECT_EQ(FindUser("root")->uid, 0u);
  EXPECT_EQ(FindUser("12345:23456")->gid, 23456u);
  EXPECT_FALSE(FindUser("no such user"));
  EXPECT_FALSE(FindUser("1:"));
  EXPECT_FALSE(FindUser("1:x"));
}

TEST(PrivilegesTest, WhoBecameAnotherUserHasNothingLeft) {
  if (getuid() != 0) FAIL() << "needs root";
  EXPECT_EQ(InChild([] {
              if (!BecomeUser(kUser)) return 1;
              if (getuid() != kUser.uid || getegid() != kUser.gid) return 2;
              if (getgroups(0, nullptr) != 0) return 3;
              if (setuid(0) == 0) return 4;
              std::ifstream status("/proc/self/status");
              for (std::string line; std::getline(status, line);) {
                const bool is_set = line.starts_with("Cap");
                if (is_set && line.find_first_not_of("0", line.find('\t') + 1) < line.size()) {
                  return 5;
                }
                if (line.starts_with("NoNewPrivs:") && !line.ends_with("1")) return 6;
              }
              return 0;
            }),
            0);
}

TEST(PrivilegesTest, RootWithoutAnotherUserKeepsNoCapability) {
  if (getuid() != 0) FAIL() << "needs root";
  const testing::TempDirectory directory;
  const std::string others = directory / "others";
  std::ofstream(others) << "x";
  ASSERT_EQ(chown(others.c_str(), 12345, 12345), 0);
  ASSERT_EQ(chmod(others.c_str(), 0600), 0);
  EXPECT_EQ(InChild([&] {
              if (!BecomeUser(std::nullopt) || getuid() != 0) return 1;
              return access(others.c_str(), R_OK) == 0 ? 2 : 0;
            }),
            0);
}

TEST(PrivilegesTest, AStoreIsGivenWithWhatIsInIt) {
  if (getuid() != 0) FAIL() << "needs root";
  const testing::TempDirectory directory;
  const std::string store = directory / "store";
  const std::string elsewhere = directory / "elsewhere";
  ASSERT_EQ(mkdir(store.c_str(), 0700), 0);
  ASSERT_EQ(mkdir((store + "/audit").c_str(), 0700), 0);
  std::ofstream(store + "/data.mdb") << "x";
  std::ofstream(store + "/audit/1.segment") << "x";
  std::ofstream(elsewhere) << "x";
  ASSERT_EQ(symlink(elsewhere.c_str(), (store + "/daemon.log").c_str()), 0);
  ASSERT_TRUE(GiveStoreTo(kUser, store, ""));
  const auto owner = [](const std::string& path) {
    struct stat info{};
    EXPECT_EQ(lstat(path.c_str(), &info), 0) << path;
    return info.st_uid;
  };
  for (const char* name : {"", "/audit", "/data.mdb", "/audit/1.segment", "/daemon.log"}) {
    EXPECT_EQ(owner(store + name), kUser.uid) << name;
  }
  EXPECT_EQ(owner(elsewhere), 0u) << "a link is not followed";
}

TEST(PrivilegesTest, NothingButAStoreIsGivenAway) {
  if (getuid() != 0) FAIL() << "needs root";
  const testing::TempDirectory directory;
  const std::string other = directory / "other";
  ASSERT_EQ(mkdir(other.c_str(), 0700), 0);
  std::ofstream(other + "/shadow") << "x";
  struct stat info{};
  EXPECT_TRUE(GiveStoreTo(kUser, other, "")) << "the store's opener says that it is none";
  ASSERT_EQ(stat(other.c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 0u);
  const std::string store = directory / "store";
  ASSERT_EQ(mkdir(store.c_str(), 0700), 0);
  std::ofstream(store + "/data.mdb") << "x";
  std::ofstream(store + "/mine") << "x";
  const Status refused = GiveStoreTo(kUser, store, other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kFailedPrecondition);
  EXPECT_NE(refused.error().message.find("shadow"), std::string::npos);
  for (const std::string& path : {other, other + "/shadow", store + "/mine"}) {
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_uid, 0u) << path;
  }
}

TEST(PrivilegesTest, AClosedDirectoryOnTheWayIsNamed) {
  if (getuid() != 0) FAIL() << "needs root";
  const testing::TempDirectory directory;  // Mode 0700.
  EXPECT_EQ(InChild([&] {
              if (!CheckReach(directory / "store")) return 1;
              if (!BecomeUser(kUser)) return 2;
              const Status reached = CheckReach(directory / "store");
              if (reached) return 3;
              return reached.error().message.find("chmod o+x " + directory.path()) ==
                             std::string::npos
                         ? 4
                         : 0;
            }),
            0);
}

}  // namespace
}  // namespace secretfs::mount
