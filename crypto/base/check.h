#pragma once

namespace secretfs {

// Logs `file:line: check failed: condition` and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);

}  // namespace secretfs

// Stops the process when an invariant of this program is broken. On in every build. Never for
// input: bad input is an `Error`. (leveldb and tigerbeetle keep the same split.)
#define CHECK(condition)                                       \
  do {                                                         \
    if (!(condition)) [[unlikely]]                             \
      ::secretfs::CheckFailed(__FILE__, __LINE__, #condition); \
  } while (false)
