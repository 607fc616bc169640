#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "crypto/base/result.h"
#include "mount/config.h"

namespace secretfs::mount {

// Who runs the program, and the environment variables that it looks at: a value, so that tests need
// not change the process's own.
struct Environment {
  uint32_t uid = 0;  // Effective.
  std::map<std::string, std::string> variables;

  static Environment OfProcess();
  // Empty if unset: an empty variable counts as unset, as the XDG specification asks for.
  std::string Get(const std::string& name) const;
};

// What the command line said about the places that config and environment may name too.
struct PlaceFlags {
  std::optional<std::string> config;
  std::optional<std::string> store;
  std::optional<std::string> mountpoint;
  std::optional<std::string> socket;
};

// root: /var/lib/secretfs, /run/secretfs, /run/secretfs.sock. Others: below $XDG_DATA_HOME (or
// ~/.local/share) and $XDG_RUNTIME_DIR; without the latter mountpoint and socket are empty, since
// /tmp would let anybody take the name.
Config DefaultConfig(const Environment& environment);

// Flags win over SECRETFS_STORE, SECRETFS_SOCKET and SECRETFS_CONFIG, these over the config file,
// that over the defaults. The default config file may be absent, a named one may not. Relative
// paths of flags and environment are taken from the current directory, so the result is absolute.
Result<Config> ResolveConfig(const PlaceFlags& flags, const Environment& environment);

// /etc/secretfs/secretfs.toml for root, else below $XDG_CONFIG_HOME (or ~/.config). Empty if there
// is no home.
std::string DefaultConfigPath(const Environment& environment);

// Absolute, without "." and "..", repeated or trailing slashes; symbolic links stay as they are.
std::string AbsolutePath(const std::string& path);

// The place of a setting that has no default here. `what` is "socket" or "mountpoint".
Error NoDefaultPlace(const std::string& what);

}  // namespace secretfs::mount
