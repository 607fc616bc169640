#pragma once

#include <spawn.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"

namespace secretfs::mount {

// How to start a program of ours: by posix_spawn, never by fork, since a forked child would share
// the store's locks and hold copies of secrets. The child gets default signals, this process's
// environment, and no descriptor but those that are given.
class SpawnPlan {
 public:
  SpawnPlan();
  ~SpawnPlan();
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  // The child leads a session of its own.
  void NewSession();
  void OpenForReading(int fd, const char* path);
  // The child gets a duplicate of `fd` as the number `as`, whatever numbers the others have; -1
  // gives it none. `fd` may be closed from here on. Errors: kUnavailable.
  Status Give(int fd, int as);
  // Closes everything from `fd` on; call last.
  void CloseFrom(int fd);

  // `arguments` follow the program's name. `program` is a path. Once. Errors: kUnavailable.
  Result<pid_t> Spawn(const char* program, std::vector<std::string> arguments);

 private:
  // Duplicates above every number that a child's descriptors get, so that one cannot overwrite
  // another; closed when the child has them.
  std::vector<UniqueFd> parked_;
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
  short flags_ = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
};

}  // namespace secretfs::mount
