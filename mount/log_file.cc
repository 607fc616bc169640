#include "mount/log_file.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace secretfs::mount {
namespace {

constexpr mode_t kLogMode = 0600;

bool CopyFile(const std::string& from, const std::string& to) {
  const UniqueFd in(open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  const UniqueFd out(
      open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, kLogMode));
  if (!in.valid() || !out.valid()) return false;
  constexpr size_t kAtOnce = size_t{1} << 20;
  ssize_t copied = 0;
  while ((copied = sendfile(out.get(), in.get(), nullptr, kAtOnce)) > 0) {
  }
  return copied == 0;
}

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
  // Whole or not at all: a process that is killed here, or a full disk, leaves the log as it was.
  const std::string copy = path + ".new";
  const bool is_whole = CopyFile(path, copy);
  if (is_whole && std::rename(copy.c_str(), (path + ".1").c_str()) == 0 &&
      ftruncate(STDERR_FILENO, 0) == 0) {
    return;
  }
  unlink(copy.c_str());
}

}  // namespace secretfs::mount
