#include "mount/child_process.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <string>

#include "mount/spawn.h"

namespace secretfs::mount {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kLong{60'000};

ChildProcess Shell(const std::string& script) {
  return ChildProcess::Of(SpawnPlan().Spawn("/bin/sh", {"-c", script}).value()).value();
}

TEST(ChildProcessTest, TellsHowItEnded) {
  ChildProcess orderly = Shell("exit 0");
  ChildProcess failed = Shell("exit 3");
  ChildProcess killed = Shell("kill -KILL $$");
  ChildProcess terminated = Shell("kill -TERM $$");
  const auto first = orderly.WaitForEnd(kLong).value();
  EXPECT_TRUE(first.orderly);
  EXPECT_EQ(first.text, "ended with status 0");
  const auto second = failed.WaitForEnd(kLong).value();
  EXPECT_FALSE(second.orderly);
  EXPECT_EQ(second.text, "ended with status 3");
  const auto third = killed.WaitForEnd(kLong).value();
  EXPECT_TRUE(third.by_sigkill);
  EXPECT_EQ(third.text, "was killed by signal 9");
  const auto fourth = terminated.WaitForEnd(kLong).value();
  EXPECT_FALSE(fourth.by_sigkill);
  EXPECT_FALSE(fourth.orderly);
}

TEST(ChildProcessTest, IsWaitedForWithinALimitAndNoneAfterItsEnd) {
  ChildProcess child = Shell("exec sleep 600");
  EXPECT_FALSE(child.WaitForEnd(milliseconds(1)));
  EXPECT_TRUE(child.exists());
  child.Kill();
  EXPECT_TRUE(child.WaitForEnd(kLong)->by_sigkill);
  EXPECT_FALSE(child.exists());
  EXPECT_EQ(child.fd(), -1);
  EXPECT_FALSE(child.WaitForEnd(kLong));
  child.Kill();
}

TEST(ChildProcessTest, WhoLosesItKillsIt) {
  pid_t first = -1;
  pid_t second = -1;
  {
    ChildProcess child = Shell("exec sleep 600");
    first = child.pid();
    child = Shell("exec sleep 600");
    second = child.pid();
    EXPECT_EQ(kill(first, 0), -1);
    EXPECT_EQ(errno, ESRCH);
    ChildProcess moved = std::move(child);
    EXPECT_EQ(moved.pid(), second);
    EXPECT_EQ(kill(second, 0), 0);
  }
  EXPECT_EQ(kill(second, 0), -1);
}

}  // namespace
}  // namespace secretfs::mount
