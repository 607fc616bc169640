#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"
#include "mount/child_process.h"
#include "mount/config.h"
#include "mount/keeper_link.h"

namespace secretfs::mount {

// The descriptors that a daemon finds open when its keeper starts it; each later one may be absent.
enum DaemonFd : int {
  kLinkFd = 3,              // To the keeper (keeper_link.h).
  kSharedStateFd = 4,       // fs/shared_state.h
  kListenFd = 5,            // The socket of the doors, bound and listening.
  kDepositFd = 6,           // crypto/root_key_deposit.h
  kDaemonPassphraseFd = 7,  // One line, for the first daemon.
  kProgramFd = 8,           // The program itself, from which it was started.
  kTouchFd = 9,             // To the toucher (toucher.h).
  kConfigFd = 10,           // The settings, as FormatConfig() writes them.
  kDaemonFdEnd = 11,
};

// A daemon as its keeper knows it, from its start to its end.
struct DaemonProcess {
  using Time = std::chrono::steady_clock::time_point;

  ChildProcess process;
  KeeperLink link;
  Time started_at;
  KeeperWord reached = KeeperWord::kStarted;  // The last step that it reported.
  // When it must have taken its next step, or be gone; then it is killed.
  std::optional<Time> due_at;
  bool told_to_stop = false;
  std::optional<Error> failure;  // What it said before it ended.
  struct Upgrade {
    UniqueFd program;
    Config config;
  };
  std::optional<Upgrade> upgrade;  // What it runs, and how, if that is not what ran before.
};

// What a daemon is started from. The descriptors stay the caller's; -1 is none.
struct DaemonStart {
  int program = -1;
  const Config* config = nullptr;
  const std::vector<std::string>* arguments = nullptr;  // Behind the program's name.
  int shared_state = -1;
  int listener = -1;
  int deposit = -1;
  int passphrase = -1;
  int toucher = -1;
};
// Errors: kUnavailable.
Result<DaemonProcess> StartDaemon(const DaemonStart& start);

}  // namespace secretfs::mount
