#include "mount/terminal.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "crypto/base/unique_fd.h"

namespace secretfs::mount {
namespace {

Status WriteAll(int fd, ByteSpan bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FailErrno(Code::kUnavailable, "write output", errno);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return {};
}

// Turns the terminal's echo off, and the signals that would leave it off into something to read,
// for its lifetime.
class SilentTyping {
 public:
  explicit SilentTyping(int fd) : fd_(fd) {
    sigset_t signals;
    sigemptyset(&signals);
    for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP}) sigaddset(&signals, signal);
    pthread_sigmask(SIG_BLOCK, &signals, &old_signals_);
    signals_ = UniqueFd(signalfd(-1, &signals, SFD_CLOEXEC));
    tcgetattr(fd_, &old_mode_);
    termios mode = old_mode_;
    mode.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHOE | ECHOK | ECHONL);
    tcsetattr(fd_, TCSAFLUSH, &mode);
  }
  ~SilentTyping() {
    tcsetattr(fd_, TCSAFLUSH, &old_mode_);
    pthread_sigmask(SIG_SETMASK, &old_signals_, nullptr);
  }
  SilentTyping(const SilentTyping&) = delete;
  SilentTyping& operator=(const SilentTyping&) = delete;

  // False: a signal came first. It is consumed, so the caller can say what it gave up.
  bool WaitForInput() const {
    std::array<pollfd, 2> fds = {pollfd{fd_, POLLIN, 0}, pollfd{signals_.get(), POLLIN, 0}};
    while (poll(fds.data(), fds.size(), -1) < 0 && errno == EINTR) {
    }
    if (fds[1].revents == 0) return true;
    signalfd_siginfo info{};
    return read(signals_.get(), &info, sizeof info) < 0;
  }

 private:
  const int fd_;
  termios old_mode_{};
  sigset_t old_signals_{};
  UniqueFd signals_;
};

}  // namespace

Terminal::Terminal(int in, int out, int err)
    : in_(in),
      out_(out),
      err_(err),
      input_is_terminal_(isatty(in) == 1),
      output_is_terminal_(isatty(out) == 1),
      error_is_terminal_(isatty(err) == 1) {}

Status Terminal::WriteBytes(ByteSpan bytes) {
  return WriteAll(out_, bytes);
}

void Terminal::WriteError(std::string_view line) {
  const std::string text = std::string(line) + "\n";
  if (auto written = WriteAll(err_, AsBytes(text)); !written) return;
}

Result<crypto::SecretBuffer> Terminal::ReadInput(size_t limit, const std::string& what) {
  return ReadAll(in_, limit, what);
}

Result<crypto::SecretBuffer> Terminal::ReadAll(int fd, size_t limit, const std::string& what) {
  crypto::SecretBuffer bytes(limit + 1);
  size_t size = 0;
  while (size <= limit) {
    std::span<uint8_t> rest = bytes.Writable().subspan(size);
    const ssize_t got = read(fd, rest.data(), rest.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno(Code::kUnavailable, "read " + what, errno);
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  if (size > limit) {
    return Fail(Code::kInvalidArgument,
                what + " is longer than " + std::to_string(limit) + " bytes");
  }
  bytes.Truncate(size);
  return bytes;
}

Result<crypto::SecretBuffer> Terminal::ReadSecretLine(std::string_view prompt, size_t limit) {
  std::optional<SilentTyping> silent;
  if (input_is_terminal_) {
    TRY(WriteAll(err_, AsBytes(prompt)));
    silent.emplace(in_);
  }
  crypto::SecretBuffer line(limit + 1);
  size_t size = 0;
  bool ended = false;
  while (size <= limit) {
    if (silent && !silent->WaitForInput()) {
      silent.reset();
      WriteError("");
      return Fail(Code::kUnavailable, "interrupted; nothing was changed");
    }
    // Byte by byte: what follows the line belongs to whoever reads the descriptor next.
    const ssize_t got = read(in_, line.Writable().data() + size, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno(Code::kUnavailable, "read standard input", errno);
    ended = got == 0 || line.Reveal()[size] == '\n';
    if (ended) break;
    ++size;
  }
  if (silent) WriteError("");
  if (!ended) {
    return Fail(Code::kInvalidArgument,
                "the line is longer than " + std::to_string(limit) + " bytes");
  }
  line.Truncate(size);
  return line;
}

std::string Printable(std::string_view text) {
  std::string shown(text);
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  // The C1 controls (U+0080 to U+009F) steer terminals too; in UTF-8 they are two bytes, C2 80 to
  // C2 9F.
  for (size_t i = 0; i + 1 < shown.size(); ++i) {
    const auto second = static_cast<unsigned char>(shown[i + 1]);
    if (shown[i] == '\xC2' && second >= 0x80 && second < 0xA0) shown.replace(i, 2, "?");
  }
  return shown;
}

std::string FormatTable(const std::vector<std::string>& header,
                        const std::vector<std::vector<std::string>>& rows, bool aligned) {
  std::string text;
  if (!aligned) {
    for (const auto& row : rows) {
      for (size_t i = 0; i < row.size(); ++i) text += (i == 0 ? "" : "\t") + Printable(row[i]);
      text += '\n';
    }
    return text;
  }
  std::vector<std::vector<std::string>> lines = {header};
  for (const auto& row : rows) {
    std::ranges::transform(row, std::back_inserter(lines.emplace_back()),
                           [](const std::string& cell) { return Printable(cell); });
  }
  std::vector<size_t> widths(header.size());
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  for (const auto& line : lines) {
    std::string shown;
    for (size_t i = 0; i < line.size(); ++i) {
      shown += line[i] + std::string(widths[i] - line[i].size() + 2, ' ');
    }
    shown.erase(shown.find_last_not_of(' ') + 1);
    text += shown + '\n';
  }
  return text;
}

}  // namespace secretfs::mount
