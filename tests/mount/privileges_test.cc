#include "mount/privileges.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
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

TEST(PrivilegesTest, WhoActsAsAnotherHasThatOnesRightsForAWhile) {
  if (getuid() != 0) FAIL() << "needs root";
  const testing::TempDirectory directory;  // Mode 0700, root's.
  std::ofstream(directory / "file") << "x";
  EXPECT_EQ(InChild([&] {
              const auto can_read = [&] { return std::ifstream(directory / "file").is_open(); };
              {
                const ActingAs acting(kUser);
                if (geteuid() != kUser.uid || getegid() != kUser.gid || can_read()) return 1;
              }
              if (geteuid() != 0 || getegid() != 0 || !can_read()) return 2;
              const ActingAs nobody_else(std::nullopt);
              return can_read() ? 0 : 3;
            }),
            0);
}

TEST(PrivilegesTest, RootsKeeperKeepsWhatItsDaemonsNeed) {
  if (getuid() != 0) FAIL() << "needs root";
  EXPECT_EQ(InChild([] {
              if (!KeepOnlyKeeperCapabilities()) return 1;
              const Confinement confinement = GetConfinement();
              const auto has = [&](int capability) {
                return (confinement.capabilities >> capability & 1) != 0;
              };
              if (confinement.uid != 0 || !confinement.no_new_privileges) return 2;
              for (const int kept : {CAP_SYS_ADMIN, CAP_KILL, CAP_SETUID, CAP_SETGID}) {
                if (!has(kept)) return 3;
              }
              for (const int gone : {CAP_DAC_OVERRIDE, CAP_CHOWN, CAP_SYS_PTRACE, CAP_SYS_MODULE,
                                     CAP_NET_ADMIN, CAP_SYS_RAWIO, CAP_FOWNER, CAP_MKNOD}) {
                if (has(gone) || prctl(PR_CAPBSET_READ, gone) != 0) return 4;
              }
              if (prctl(PR_GET_DUMPABLE) != 0) return 5;
              // What a daemon does then.
              if (!BecomeUser(kUser) || getuid() != kUser.uid) return 6;
              return GetConfinement().capabilities == 0 ? 0 : 7;
            }),
            0);
}

TEST(PrivilegesTest, AnOrdinaryUsersCapabilitiesAreGivenUpToo) {
  if (getuid() != 0) FAIL() << "needs root";
  EXPECT_EQ(InChild([] {
              // As a service manager starts a unit with AmbientCapabilities.
              if (prctl(PR_SET_KEEPCAPS, 1) != 0) return 1;
              if (setgid(kUser.gid) != 0 || setuid(kUser.uid) != 0) return 2;
              if (GetConfinement().capabilities == 0) return 3;
              if (!BecomeUser(std::nullopt)) return 4;
              return GetConfinement().capabilities == 0 ? 0 : 5;
            }),
            0);
}

TEST(PrivilegesTest, AnOrdinaryUsersKeeperMayStillRunFusermount) {
  if (getuid() != 0) FAIL() << "needs root";
  EXPECT_EQ(InChild([] {
              if (setgid(kUser.gid) != 0 || setuid(kUser.uid) != 0) return 1;
              if (!KeepOnlyKeeperCapabilities()) return 2;
              if (GetConfinement().no_new_privileges) return 3;
              return prctl(PR_GET_DUMPABLE) == 0 ? 0 : 4;
            }),
            0);
}

TEST(PrivilegesTest, TheKernelSaysHowAProcessIsConfined) {
  EXPECT_EQ(InChild([] {
              if (!BecomeUser(std::nullopt)) return 2;
              const Confinement confinement = GetConfinement();
              if (confinement.uid != geteuid() || confinement.capabilities != 0) return 3;
              return confinement.no_new_privileges ? 0 : 4;
            }),
            0);
}

TEST(PrivilegesTest, TheKeeperAloneIsSpared) {
  const testing::TempDirectory directory;
  const std::string file = directory / "oom_score_adj";
  const auto content = [&] {
    std::string text;
    std::ifstream(file) >> text;
    return text;
  };
  std::ofstream(file) << "-7\n";
  BeSparedNoMore(file.c_str());
  EXPECT_EQ(content(), "-7") << "nobody had asked for it";
  AskToBeSpared(file.c_str());
  EXPECT_EQ(content(), "-1000");
  // The kernel's file takes a number whole; this one is not cut.
  std::ofstream(file, std::ios::trunc).flush();
  BeSparedNoMore(file.c_str());
  EXPECT_EQ(content(), "-7");
  EXPECT_EQ(getenv("SECRETFS_OOM_SCORE_ADJ"), nullptr) << "for no program that is started then";
  AskToBeSpared("/nonexistent/oom_score_adj");
  EXPECT_EQ(getenv("SECRETFS_OOM_SCORE_ADJ"), nullptr);
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
