#include "crypto/base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "crypto/base/check.h"
#include "crypto/base/unique_fd.h"

namespace secretfs {
namespace {

// Lines go to a sink of the test's own for the life of this, and are read from its other end.
class LogTest : public ::testing::Test {
 protected:
  void SetUp() override { before_ = UniqueFd(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)); }
  void TearDown() override {
    // A file is not opened again, so that lines go to standard error as it is then.
    const UniqueFd file(memfd_create("log", MFD_CLOEXEC));
    CHECK(dup2(file.get(), STDERR_FILENO) == STDERR_FILENO);
    OpenLog();
    CHECK(dup2(before_.get(), STDERR_FILENO) == STDERR_FILENO);
  }

  void LogTo(std::array<int, 2> ends) {
    reader_ = UniqueFd(ends[0]);
    writer_ = UniqueFd(ends[1]);
    CHECK(dup2(writer_.get(), STDERR_FILENO) == STDERR_FILENO);
    OpenLog();
  }
  void LogToPipe() {
    std::array<int, 2> ends{};
    CHECK(pipe2(ends.data(), O_CLOEXEC) == 0);
    LogTo(ends);
  }
  void LogToSocket() {
    std::array<int, 2> ends{};
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    LogTo(ends);
  }
  void LogToTerminal() {
    const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    std::array<char, 64> name{};
    CHECK(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    CHECK(ptsname_r(master, name.data(), name.size()) == 0);
    LogTo({master, open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC)});
  }

  // More than any sink takes, from several threads at once: it ends, although nobody reads.
  static void LogUntilLinesAreLost() {
    const uint64_t before = LogLinesDropped();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([before] {
        const std::string text(1500, 'x');
        while (LogLinesDropped() < before + 20) Log(LogLevel::kInfo, text);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  // What came, with the line `last` at its end.
  std::string ReadUntil(const std::string& last) {
    std::string text;
    pollfd readable{reader_.get(), POLLIN, 0};
    std::array<char, 65536> bytes{};
    // A terminal passes on what it holds in its own time.
    while (poll(&readable, 1, 20'000) == 1) {
      const ssize_t size = read(reader_.get(), bytes.data(), bytes.size());
      if (size <= 0) break;
      text.append(bytes.data(), static_cast<size_t>(size));
      if (text.find(last) != std::string::npos) break;
    }
    return text;
  }

  void Drain() {
    pollfd readable{reader_.get(), POLLIN, 0};
    std::array<char, 65536> bytes{};
    while (poll(&readable, 1, 100) == 1 && read(reader_.get(), bytes.data(), bytes.size()) > 0) {
    }
  }

  // Lines are lost and said to be so when there is room again; nobody who shares the descriptor
  // finds it in another mode.
  void CheckThatNobodyWaits() {
    LogUntilLinesAreLost();
    EXPECT_EQ(fcntl(writer_.get(), F_GETFL) & O_NONBLOCK, 0);
    EXPECT_EQ(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    Drain();
    Log(LogLevel::kError, "the last");
    const std::string text = ReadUntil("secretfs: error: the last");
    EXPECT_TRUE(text.find("lines of this log were lost") != std::string::npos) << text;
    EXPECT_TRUE(text.find("\nsecretfs: error: the last") != std::string::npos) << text;
    Log(LogLevel::kInfo, "one more");
    EXPECT_EQ(ReadUntil("one more").find("lost"), std::string::npos);
  }

  UniqueFd before_;
  UniqueFd reader_;
  UniqueFd writer_;
};

TEST_F(LogTest, APipeThatNobodyReadsStopsNoThread) {
  LogToPipe();
  CheckThatNobodyWaits();
}

TEST_F(LogTest, ASocketThatNobodyReadsStopsNoThread) {
  LogToSocket();
  CheckThatNobodyWaits();
}

TEST_F(LogTest, ATerminalThatNobodyReadsStopsNoThread) {
  LogToTerminal();
  CheckThatNobodyWaits();
}

TEST_F(LogTest, AStoppedTerminalStopsNoThread) {
  LogToTerminal();
  ASSERT_EQ(tcflow(writer_.get(), TCOOFF), 0);
  LogUntilLinesAreLost();
  ASSERT_EQ(tcflow(writer_.get(), TCOON), 0);
  Log(LogLevel::kInfo, "goes on");
  EXPECT_NE(ReadUntil("goes on").find("lines of this log were lost"), std::string::npos);
}

TEST_F(LogTest, ALineThatIsTooLongIsCut) {
  LogToPipe();
  Log(LogLevel::kInfo, std::string(10'000, 'y') + "end");
  Log(LogLevel::kInfo, "next");
  const std::string text = ReadUntil("next\n");
  EXPECT_EQ(text.find('\n'), 4095u);
  EXPECT_EQ(text.find("end"), std::string::npos);
}

TEST_F(LogTest, AFailedCheckIsTheLastLine) {
  EXPECT_DEATH(CheckFailed("there.cc", 7, "x == y"), "there.cc:7: check failed: x == y");
}

}  // namespace
}  // namespace secretfs
