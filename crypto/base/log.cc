#include "crypto/base/log.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <string>

#include "crypto/base/unique_fd.h"

namespace secretfs {
namespace {

// Above what a process of ours finds open or gives to its children.
constexpr int kLogFdMin = 100;
// A pipe takes PIPE_BUF bytes whole or not at all.
constexpr size_t kLineBytesMax = 4096;

std::atomic<int> log_fd{-1};  // Of this process alone, in non-blocking mode.
std::atomic<uint64_t> lines_dropped{0};
std::atomic<uint64_t> lines_untold{0};  // Dropped since a line got through.
std::atomic<bool> line_was_cut{false};
std::atomic<const Clock*> line_clock{nullptr};

const char* Prefix(LogLevel level) {
  switch (level) {
    case LogLevel::kInfo:
      return "secretfs: ";
    case LogLevel::kWarning:
      return "secretfs: warning: ";
    case LogLevel::kError:
      return "secretfs: error: ";
  }
  return "secretfs: ";
}

std::string LineOf(LogLevel level, std::string_view text) {
  std::string line;
  if (const Clock* clock = line_clock.load(std::memory_order_acquire)) {
    line = FormatTime(clock->NowMs()) + " ";
  }
  line.append(Prefix(level));
  line.append(text);
  line.resize(std::min(line.size(), kLineBytesMax - 1));
  line.push_back('\n');
  return line;
}

ssize_t WriteWithoutWaiting(std::string_view bytes) {
  if (const int own = log_fd.load(std::memory_order_acquire); own >= 0) {
    return write(own, bytes.data(), bytes.size());
  }
  const ssize_t sent = send(STDERR_FILENO, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent >= 0 || errno != ENOTSOCK) return sent;
  pollfd ready{STDERR_FILENO, POLLOUT, 0};
  if (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT)) return -1;
  return write(STDERR_FILENO, bytes.data(), bytes.size());
}

// False: the line did not get through, or not whole.
bool WriteLine(std::string line) {
  // A terminal or a stream socket may take a part.
  if (line_was_cut.load()) line.insert(0, 1, '\n');
  const ssize_t written = WriteWithoutWaiting(line);
  if (written < 0) return false;
  const bool is_whole = static_cast<size_t>(written) == line.size();
  line_was_cut = !is_whole;
  return is_whole;
}

}  // namespace

void Log(LogLevel level, std::string_view text) {
  if (const uint64_t lost = lines_untold.exchange(0); lost > 0) {
    const std::string notice = std::to_string(lost) + " lines of this log were lost";
    if (!WriteLine(LineOf(LogLevel::kWarning, notice))) lines_untold.fetch_add(lost);
  }
  if (WriteLine(LineOf(level, text))) return;
  lines_dropped.fetch_add(1);
  lines_untold.fetch_add(1);
}

void OpenLog() {
  struct stat info{};
  int own = -1;
  if (fstat(STDERR_FILENO, &info) == 0 && (S_ISFIFO(info.st_mode) || S_ISCHR(info.st_mode))) {
    const UniqueFd opened(open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (opened.valid()) own = fcntl(opened.get(), F_DUPFD_CLOEXEC, kLogFdMin);
  }
  if (const int before = log_fd.exchange(own); before >= 0) close(before);
}

void StampLog(const Clock& clock) {
  line_clock.store(&clock, std::memory_order_release);
}

uint64_t LogLinesDropped() {
  return lines_dropped.load(std::memory_order_relaxed);
}

}  // namespace secretfs
