#include "mount/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>

namespace secretfs::mount {
namespace {

constexpr mode_t kLogMode = 0600;

}  // namespace

std::string LogFilePath(const std::string& store) {
  return store + "/daemon.log";
}

Result<UniqueFd> OpenLogFile(const std::string& path) {
  UniqueFd file(
      open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, kLogMode));
  if (file.valid()) return file;
  Code code = Code::kUnavailable;
  if (errno == EACCES || errno == EPERM || errno == EROFS) code = Code::kPermissionDenied;
  if (errno == ENOENT) code = Code::kNotFound;
  return FailErrno(code, "log " + path, errno);
}

void BoundLogFile(const std::string& path) {
  struct stat by_name{};
  struct stat by_descriptor{};
  const bool is_log =
      stat(path.c_str(), &by_name) == 0 && fstat(STDERR_FILENO, &by_descriptor) == 0 &&
      by_name.st_dev == by_descriptor.st_dev && by_name.st_ino == by_descriptor.st_ino;
  if (!is_log || by_name.st_size <= kLogFileBytesMax) return;
  if (std::rename(path.c_str(), (path + ".1").c_str()) != 0) return;
  const auto file = OpenLogFile(path);
  if (!file) return;
  // One system call swaps the descriptor, so no line is lost between two files.
  dup3(file->get(), STDERR_FILENO, 0);
}

}  // namespace secretfs::mount
