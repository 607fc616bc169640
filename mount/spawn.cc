#include "mount/spawn.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace secretfs::mount {
namespace {

constexpr int kParkedFdMin = 32;

}  // namespace

SpawnPlan::SpawnPlan() {
  posix_spawn_file_actions_init(&actions_);
  posix_spawnattr_init(&attributes_);
  sigset_t none;
  sigemptyset(&none);
  sigset_t all;
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes_, &none);
  posix_spawnattr_setsigdefault(&attributes_, &all);
  posix_spawnattr_setflags(&attributes_, flags_);
}

SpawnPlan::~SpawnPlan() {
  posix_spawnattr_destroy(&attributes_);
  posix_spawn_file_actions_destroy(&actions_);
}

void SpawnPlan::NewSession() {
  flags_ = static_cast<short>(flags_ | POSIX_SPAWN_SETSID);
  posix_spawnattr_setflags(&attributes_, flags_);
}

void SpawnPlan::OpenForReading(int fd, const char* path) {
  posix_spawn_file_actions_addopen(&actions_, fd, path, O_RDONLY, 0);
}

Status SpawnPlan::Give(int fd, int as) {
  if (fd < 0) return {};
  UniqueFd parked(fcntl(fd, F_DUPFD_CLOEXEC, kParkedFdMin));
  if (!parked.valid()) return FailErrno(Code::kUnavailable, "duplicate a descriptor", errno);
  posix_spawn_file_actions_adddup2(&actions_, parked.get(), as);
  parked_.push_back(std::move(parked));
  return {};
}

void SpawnPlan::CloseFrom(int fd) {
  posix_spawn_file_actions_addclosefrom_np(&actions_, fd);
}

Result<pid_t> SpawnPlan::Spawn(const char* program, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "secretfs");
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  pid_t pid = -1;
  const int failed = posix_spawn(&pid, program, &actions_, &attributes_, pointers.data(), environ);
  parked_.clear();
  if (failed != 0) return FailErrno(Code::kUnavailable, std::string("start ") + program, failed);
  return pid;
}

}  // namespace secretfs::mount
