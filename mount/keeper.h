#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"
#include "mount/config.h"
#include "mount/systemd.h"

namespace secretfs::mount {

struct KeeperOptions {
  Config config;  // Store, mountpoint and socket are set.
  // The settings as they are now, for an upgrade. A daemon that is started again gets those of its
  // predecessor, whatever became of the file.
  std::function<Result<Config>()> reread_config;
  // Behind the program's name; start a daemon of these settings.
  std::vector<std::string> daemon_arguments;
  // Behind the program's name; start the toucher.
  std::vector<std::string> toucher_arguments;
  UniqueFd passphrase;  // For the first daemon; invalid: it asks on the terminal, if it must.
  // Keep no root key for a successor: each daemon reads its key file or credential again, and a
  // store with a passphrase has no second daemon.
  bool reprompt = false;
  // Whoever started the keeper as a service, and what it gave to this process.
  ServiceManager manager{{}};
  GivenDescriptors given;
  // Leave the mount's descriptors with the manager, so that the keeper that it starts when this one
  // was killed goes on; the daemon then ends with its keeper.
  bool leave_with_manager = false;
};

// How the text of `last_end` in the status begins when an upgrade did not come about.
inline constexpr std::string_view kUpgradeFailed = "upgrade failed: ";

struct KeeperEvents {
  // The mount and the socket answer. False: whoever waited for that has gone, so end again.
  std::function<bool()> ready;
};

// The life of one mount, whatever becomes of the daemon that serves it. The keeper binds the
// socket, mounts, holds /dev/fuse and the shared state, starts the daemon and starts it again when
// it dies; it never has a secret. Requests that come meanwhile wait, and those that the dead daemon
// was answering are answered by its successor.
//
// A daemon that dies is replaced (restart_policy.h); when daemons do not get as far as serving, the
// mount ends: it fails closed. A daemon that does not answer a request for kRequestSecondsMax, or
// takes none, is killed, and the request tried again.
//
// What a daemon says is not believed beyond its own life, since the keeper may be root: it says its
// words in order or is killed, and is never waited for.
//
// SIGTERM and SIGINT unmount and end; with files still open the mount is detached, and their
// readers have five seconds. SIGHUP starts the program that is now at this one's path beside the
// running daemon, and lets it take over; if it does not come up, all stays as it was. Somebody
// else's unmount ends the keeper too. A keeper that finds a mount among `given` takes that over
// instead of mounting. One thread; blocks all signals for good.
//
// Errors: what the first daemon's start says; kUnavailable when the mount was given up later.
Status RunKeeper(KeeperOptions options, const KeeperEvents& events);

}  // namespace secretfs::mount
