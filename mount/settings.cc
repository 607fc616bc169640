#include "mount/settings.h"

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>

namespace secretfs::mount {
namespace {

constexpr std::array kVariables = {
    "SECRETFS_STORE",
    "SECRETFS_SOCKET",
    "SECRETFS_CONFIG",
    "XDG_DATA_HOME",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "HOME",
    "CREDENTIALS_DIRECTORY",
    "NOTIFY_SOCKET",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
};

// An XDG base directory: the variable if it is absolute (the specification says to ignore others),
// else a place in the home, else nothing.
std::string XdgDirectory(const Environment& environment, const char* variable,
                         const std::string& below_home) {
  std::string named = environment.Get(variable);
  if (named.starts_with('/')) return named;
  const std::string home = environment.Get("HOME");
  return home.starts_with('/') && !below_home.empty() ? home + below_home : "";
}

std::string Below(const std::string& directory, const char* name) {
  return directory.empty() ? "" : directory + "/" + name;
}

}  // namespace

Environment Environment::OfProcess() {
  Environment environment{.uid = geteuid(), .variables = {}};
  for (const char* name : kVariables) {
    if (const char* value = std::getenv(name)) environment.variables[name] = value;
  }
  return environment;
}

std::string Environment::Get(const std::string& name) const {
  auto found = variables.find(name);
  return found == variables.end() ? "" : found->second;
}

Config DefaultConfig(const Environment& environment) {
  Config config;
  if (environment.uid == 0) {
    config.store = "/var/lib/secretfs";
    config.mountpoint = "/run/secretfs";
    config.socket = "/run/secretfs.sock";
    config.allow_other = true;
    return config;
  }
  const std::string runtime = XdgDirectory(environment, "XDG_RUNTIME_DIR", "");
  config.store = Below(XdgDirectory(environment, "XDG_DATA_HOME", "/.local/share"), "secretfs");
  config.mountpoint = Below(runtime, "secretfs");
  config.socket = Below(runtime, "secretfs.sock");
  return config;
}

std::string DefaultConfigPath(const Environment& environment) {
  if (environment.uid == 0) return "/etc/secretfs/secretfs.toml";
  return Below(XdgDirectory(environment, "XDG_CONFIG_HOME", "/.config"), "secretfs/secretfs.toml");
}

Result<Config> ResolveConfig(const PlaceFlags& flags, const Environment& environment) {
  Config config = DefaultConfig(environment);
  const std::string named = flags.config.value_or(environment.Get("SECRETFS_CONFIG"));
  const std::string path = named.empty() ? DefaultConfigPath(environment) : AbsolutePath(named);
  if (!path.empty()) {
    auto loaded = LoadConfig(path, config);
    // A default place that may not even be looked at is somebody else's, after su or sudo.
    const bool absent_default =
        !loaded && named.empty() &&
        (loaded.error().code == Code::kNotFound || loaded.error().code == Code::kPermissionDenied);
    if (!loaded && !absent_default) return std::unexpected(std::move(loaded).error());
    if (loaded) config = *std::move(loaded);
  }
  auto override_with = [](std::string& setting, const std::optional<std::string>& flag,
                          const std::string& variable) {
    const std::string value = flag.value_or(variable);
    if (!value.empty()) setting = AbsolutePath(value);
  };
  override_with(config.store, flags.store, environment.Get("SECRETFS_STORE"));
  override_with(config.socket, flags.socket, environment.Get("SECRETFS_SOCKET"));
  override_with(config.mountpoint, flags.mountpoint, "");
  return config;
}

std::string AbsolutePath(const std::string& path) {
  std::error_code ignored;  // No current directory: the relative path fails later, by name.
  std::string absolute =
      std::filesystem::absolute(path, ignored).lexically_normal().generic_string();
  if (absolute.empty()) return path;
  if (absolute.size() > 1 && absolute.ends_with('/')) absolute.pop_back();
  return absolute;
}

Error NoDefaultPlace(const std::string& what) {
  const std::string variable = what == "socket" ? "SECRETFS_SOCKET or " : "";
  return {Code::kInvalidArgument, "no " + what +
                                      ": XDG_RUNTIME_DIR is not set, and a shared directory such "
                                      "as /tmp is not safe; set " +
                                      variable + "XDG_RUNTIME_DIR, or name the " + what +
                                      " on the command line"};
}

}  // namespace secretfs::mount
