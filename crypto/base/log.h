#pragma once

#include <cstdint>
#include <string_view>

#include "crypto/base/clock.h"

namespace secretfs {

enum class LogLevel : uint8_t { kInfo, kWarning, kError };

// Writes "secretfs: <level>: <text>\n" to standard error with one non-blocking attempt: a stopped
// reader costs the line, never a request thread (the number of lost lines is LogLinesDropped()).
// `text` holds names and reasons only; never a value, a key or a token. Thread-safe.
void Log(LogLevel level, std::string_view text);

// From now on every line begins with the time: for a file, where nobody else notes it. `clock` must
// outlive the process's last line.
void StampLog(const Clock& clock);

uint64_t LogLinesDropped();

}  // namespace secretfs
