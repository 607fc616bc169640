#include "mount/terminal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <termios.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "crypto/base/check.h"
#include "crypto/base/unique_fd.h"

namespace secretfs::mount {
namespace {

struct Pipe {
  Pipe() {
    std::array<int, 2> fds{};
    CHECK(pipe2(fds.data(), O_CLOEXEC) == 0);
    read = UniqueFd(fds[0]);
    write = UniqueFd(fds[1]);
  }
  void Send(std::string_view text) {
    CHECK(::write(write.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  UniqueFd read;
  UniqueFd write;
};

struct Pty {
  Pty() {
    master = UniqueFd(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    std::array<char, 64> name{};
    CHECK(grantpt(master.get()) == 0 && unlockpt(master.get()) == 0);
    CHECK(ptsname_r(master.get(), name.data(), name.size()) == 0);
    slave = UniqueFd(open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    CHECK(slave.valid());
  }
  bool echo() const {
    termios mode{};
    CHECK(tcgetattr(slave.get(), &mode) == 0);
    return (mode.c_lflag & ECHO) != 0;
  }
  // What the terminal shows, up to and including `end`.
  std::string ReadUntil(std::string_view end) const {
    std::string shown;
    char c = 0;
    while (!shown.ends_with(end) && read(master.get(), &c, 1) == 1) shown += c;
    return shown;
  }
  UniqueFd master;
  UniqueFd slave;
};

TEST(TerminalTest, ReadInputTakesEveryByte) {
  Pipe in;
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  in.Send(all);
  in.write.Reset();
  Terminal terminal(in.read.get(), -1, -1);
  const auto value = terminal.ReadInput(256, "the value");
  ASSERT_TRUE(value);
  EXPECT_EQ(AsText(value->Reveal()), all);
}

TEST(TerminalTest, ReadInputRefusesOneByteTooMany) {
  Pipe in;
  in.Send("12345");
  in.write.Reset();
  Terminal terminal(in.read.get(), -1, -1);
  const auto value = terminal.ReadInput(4, "the value");
  ASSERT_FALSE(value);
  EXPECT_EQ(value.error().code, Code::kInvalidArgument);
  EXPECT_EQ(value.error().message, "the value is longer than 4 bytes");
}

TEST(TerminalTest, ReadSecretLineTakesOneLineOfPipe) {
  Pipe in;
  in.Send("first\nsecond");
  in.write.Reset();
  Terminal terminal(in.read.get(), -1, -1);
  EXPECT_EQ(AsText(terminal.ReadSecretLine("Prompt: ", 100)->Reveal()), "first");
  EXPECT_EQ(AsText(terminal.ReadSecretLine("Prompt: ", 100)->Reveal()), "second");
}

TEST(TerminalTest, ReadSecretLineDoesNotEchoAndRestoresTheTerminal) {
  const Pty pty;
  Terminal terminal(pty.slave.get(), pty.slave.get(), pty.slave.get());
  ASSERT_TRUE(terminal.input_is_terminal());
  ASSERT_TRUE(pty.echo());
  std::string shown;
  std::thread person([&] {
    // The prompt comes before echo goes off: wait for the second too.
    shown = pty.ReadUntil("Passphrase: ");
    while (pty.echo()) std::this_thread::yield();
    ASSERT_EQ(write(pty.master.get(), "hunter2\n", 8), 8);
    shown += pty.ReadUntil("\n");
  });
  const auto line = terminal.ReadSecretLine("Passphrase: ", 100);
  person.join();
  ASSERT_TRUE(line) << line.error().message;
  EXPECT_EQ(AsText(line->Reveal()), "hunter2");
  EXPECT_EQ(shown, "Passphrase: \r\n");
  EXPECT_TRUE(pty.echo());
}

TEST(TerminalTest, SignalEndsThePromptAndRestoresTheTerminal) {
  const Pty pty;
  Terminal terminal(pty.slave.get(), pty.slave.get(), pty.slave.get());
  const pthread_t asking = pthread_self();
  std::thread person([&] {
    pty.ReadUntil("Value: ");
    while (pty.echo()) std::this_thread::yield();
    pthread_kill(asking, SIGINT);
  });
  const auto line = terminal.ReadSecretLine("Value: ", 100);
  person.join();
  ASSERT_FALSE(line);
  EXPECT_EQ(line.error().message, "interrupted; nothing was changed");
  EXPECT_TRUE(pty.echo());
}

TEST(TerminalTest, TableIsAlignedForPeopleAndTabbedForScripts) {
  const std::vector<std::vector<std::string>> rows = {{"a", "b"}, {"long", ""}};
  EXPECT_EQ(FormatTable({"ONE", "TWO"}, rows, true), "ONE   TWO\na     b\nlong\n");
  EXPECT_EQ(FormatTable({"ONE", "TWO"}, rows, false), "a\tb\nlong\t\n");
}

TEST(TerminalTest, ControlCharactersCannotSteerTheTerminal) {
  EXPECT_EQ(Printable("a\x1b[2J\n\t\x7f\xc2\x9b\xc3\xa9"), "a?[2J????\xc3\xa9");
  EXPECT_EQ(FormatTable({"X"}, {{"a\nb"}}, false), "a?b\n");
}

}  // namespace
}  // namespace secretfs::mount
