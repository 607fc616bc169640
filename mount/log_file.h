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

// Moves what the file `path` holds to <path>.1 if it is standard error and has grown too long. The
// keeper, the toucher and a daemon that succeeds this one have the same file open, so it stays the
// log and is emptied. All may go on logging meanwhile; a line that comes in the instant between the
// copy and the emptying is lost.
void BoundLogFile(const std::string& path);

}  // namespace secretfs::mount
