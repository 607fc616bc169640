#include "crypto/base/log.h"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <string>

namespace secretfs {
namespace {

std::atomic<uint64_t> lines_dropped{0};
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

}  // namespace

void Log(LogLevel level, std::string_view text) {
  std::string line;
  if (const Clock* clock = line_clock.load(std::memory_order_acquire)) {
    line = FormatTime(clock->NowMs()) + " ";
  }
  line.append(Prefix(level));
  line.append(text);
  line.push_back('\n');
  // A pipe that polls writable takes PIPE_BUF bytes without blocking; a longer line may wait, so it
  // is cut.
  static constexpr size_t kLineBytesMax = 4096;
  if (line.size() > kLineBytesMax) {
    line.resize(kLineBytesMax - 1);
    line.push_back('\n');
  }
  pollfd ready{STDERR_FILENO, POLLOUT, 0};
  if (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT) ||
      write(STDERR_FILENO, line.data(), line.size()) < 0) {
    lines_dropped.fetch_add(1, std::memory_order_relaxed);
  }
}

void StampLog(const Clock& clock) {
  line_clock.store(&clock, std::memory_order_release);
}

uint64_t LogLinesDropped() {
  return lines_dropped.load(std::memory_order_relaxed);
}

}  // namespace secretfs
