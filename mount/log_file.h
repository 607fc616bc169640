#pragma once

#include <string>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"

namespace secretfs::mount {

// Where a daemon that nobody watches writes its lines: <store>/daemon.log, mode 0600, at most
// kLogFileBytesMax before it becomes <store>/daemon.log.1 in place of the one before. The lines
// hold names and reasons, never a value.
inline constexpr off_t kLogFileBytesMax = 1 << 20;

std::string LogFilePath(const std::string& store);

// Opens the log for appending. Errors: kPermissionDenied, kNotFound, kUnavailable.
Result<UniqueFd> OpenLogFile(const std::string& path);

// Starts a new log if standard error is the file `path` and has grown too long. Threads may go on
// logging meanwhile.
void BoundLogFile(const std::string& path);

}  // namespace secretfs::mount
