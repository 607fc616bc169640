#pragma once

#include <cstdint>
#include <string_view>

#include "crypto/base/clock.h"

namespace secretfs {

enum class LogLevel : uint8_t { kInfo, kWarning, kError };

// Writes "secretfs: <level>: <text>\n" to standard error with one attempt that never waits, so that
// a reader who has stopped costs lines and no request. How many were lost is said before the next
// line that gets through, and by LogLinesDropped(). `text` holds names and reasons only; never a
// value, a key or a token. Thread-safe.
void Log(LogLevel level, std::string_view text);

// Opens what is standard error now once more for this process, if it is a terminal or a pipe: only
// then does writing to it never wait, since O_NONBLOCK counts for all who share a descriptor. What
// cannot be opened (another user's terminal) is asked first whether it takes bytes, which leaves a
// moment in which that can change. For a process with one thread, at its start.
void OpenLog();

// From now on every line begins with the time: for a file, where nobody else notes it. `clock` must
// outlive the process's last line.
void StampLog(const Clock& clock);

uint64_t LogLinesDropped();

}  // namespace secretfs
