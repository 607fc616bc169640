#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <charconv>
#include <memory>

#include "crypto/base/log.h"
#include "fs/fuse_mount.h"
#include "mount/cli_verbs.h"
#include "mount/daemon.h"
#include "mount/launch.h"
#include "mount/log_file.h"
#include "mount/service_notify.h"
#include "store/secret_service.h"

namespace secretfs::mount {
namespace {

constexpr size_t kPassphraseBytesMax = 1024;
constexpr mode_t kMountpointMode = 0755;
constexpr int kDaemonEndMs = 10'000;

struct MountOptions {
  std::string mountpoint;
  std::string root_key;
  bool foreground = false;
  // Of a daemon that LaunchDaemon() started; -1: none.
  int ready_fd = -1;
  int passphrase_fd = -1;
};

// The settings of a mount, complete, with the default mountpoint made if it is missing.
Result<Config> MountSettings(Cli& cli, const MountOptions& options) {
  if (!options.mountpoint.empty()) cli.places.mountpoint = options.mountpoint;
  TRY_ASSIGN(Config config, cli.Settings());
  if (config.store.empty()) {
    return Fail(Code::kInvalidArgument, "no store: HOME is not set; name a directory with --store");
  }
  if (config.mountpoint.empty()) return std::unexpected(NoDefaultPlace("mountpoint"));
  if (config.socket.empty()) return std::unexpected(NoDefaultPlace("socket"));
  cli.subject = "mount " + config.mountpoint;
  const bool is_default = config.mountpoint == DefaultConfig(cli.environment).mountpoint;
  if (is_default && mkdir(config.mountpoint.c_str(), kMountpointMode) != 0 && errno != EEXIST &&
      errno != ENOTCONN) {
    return FailErrno(errno == EACCES ? Code::kPermissionDenied : Code::kUnavailable,
                     "make the mountpoint", errno);
  }
  return config;
}

Result<std::optional<crypto::RootKeySource>> RootKeyPlace(const MountOptions& options,
                                                          crypto::RandomSource& random) {
  if (options.root_key.empty()) return std::nullopt;
  constexpr std::string_view kFilePrefix = "file:";
  std::string text = options.root_key;
  if (text.starts_with(kFilePrefix)) {
    text = std::string(kFilePrefix) + AbsolutePath(text.substr(kFilePrefix.size()));
  }
  TRY_ASSIGN(crypto::RootKeySource source, crypto::ParseRootKeySource(text, random));
  if (std::holds_alternative<crypto::PassphraseSource>(source)) {
    return Fail(Code::kInvalidArgument,
                "--root-key says where a key file or credential is now; a store with a "
                "passphrase asks for it by itself");
  }
  return source;
}

Status ServeInForeground(Cli& cli, const MountOptions& options) {
  Readiness readiness(AdoptDescriptor(options.ready_fd));
  UniqueFd passphrase = AdoptDescriptor(options.passphrase_fd);
  static const SystemClock log_clock;
  if (options.ready_fd >= 0) StampLog(log_clock);
  // A daemon of its own must not keep the directory busy that it was started in.
  if (options.ready_fd >= 0 && chdir("/") != 0) {
    return FailErrno(Code::kUnavailable, "change to the directory /", errno);
  }
  const std::string notify_socket = cli.environment.Get("NOTIFY_SOCKET");
  auto serve = [&]() -> Status {
    TRY_ASSIGN(const Config config, MountSettings(cli, options));
    DaemonOptions daemon{.config = config, .root_key = {}, .root_key_environment = {}};
    TRY_ASSIGN(daemon.root_key, RootKeyPlace(options, cli.random));
    daemon.root_key_environment.credentials_directory =
        cli.environment.Get("CREDENTIALS_DIRECTORY");
    daemon.root_key_environment.prompt = [&] {
      if (passphrase.valid()) {
        const UniqueFd once = std::move(passphrase);
        return Terminal::ReadAll(once.get(), kPassphraseBytesMax, "the passphrase");
      }
      return cli.terminal.ReadSecretLine("Passphrase: ", kPassphraseBytesMax);
    };
    return RunDaemon(
        daemon, {.ready =
                     [&] {
                       NotifyServiceManager(
                           notify_socket,
                           "READY=1\nSTATUS=Serving " + config.store + " on " + config.mountpoint);
                       return readiness.Report({});
                     },
                 .stopping = [&] { NotifyServiceManager(notify_socket, "STOPPING=1"); }});
  };
  Status served = serve();
  if (!served) readiness.Report(served);
  return served;
}

Status ServeInBackground(Cli& cli, const MountOptions& options) {
  TRY_ASSIGN(const Config config, MountSettings(cli, options));
  TRY_ASSIGN(const auto root_key, RootKeyPlace(options, cli.random));
  // Whatever can be known here is said here: a store that is missing, damaged, too new or in use.
  TRY_ASSIGN(const store::StoreHeader header, store::SecretService::ReadHeader(config.store));
  Launch launch{.arguments = {"mount", "--foreground", "--ready-fd", std::to_string(kReadyFd),
                              "--store", config.store, "--socket", config.socket},
                .log_path = LogFilePath(config.store),
                .passphrase = std::nullopt};
  const std::string named_config =
      cli.places.config.value_or(cli.environment.Get("SECRETFS_CONFIG"));
  if (!named_config.empty()) {
    launch.arguments.insert(launch.arguments.end(), {"--config", AbsolutePath(named_config)});
  }
  if (root_key) {
    launch.arguments.insert(launch.arguments.end(),
                            {"--root-key", crypto::DescribeRootKeySource(*root_key)});
  } else if (std::holds_alternative<crypto::PassphraseSource>(header.root_key_source)) {
    TRY_ASSIGN(launch.passphrase, cli.terminal.ReadSecretLine("Passphrase: ", kPassphraseBytesMax));
    launch.arguments.insert(launch.arguments.end(),
                            {"--passphrase-fd", std::to_string(kPassphraseFd)});
  }
  launch.arguments.push_back(config.mountpoint);
  return LaunchDaemon(launch);
}

// A descriptor of the process that serves `mountpoint`, by what the daemon on the socket says;
// invalid if that is another one or nobody.
UniqueFd FindDaemon(Cli& cli, const std::string& mountpoint) {
  const auto client = cli.Client();
  const auto answer =
      client ? client->Status() : Result<AwsAnswer>(std::unexpected(client.error()));
  const auto fields = answer ? ParseFields(*answer) : std::unexpected(answer.error());
  if (!fields) return {};
  int pid = 0;
  bool is_ours = false;
  for (const auto& [name, value] : *fields) {
    if (name == "pid") std::from_chars(value.data(), value.data() + value.size(), pid);
    if (name == "mountpoint") is_ours = value == mountpoint;
  }
  if (!is_ours || pid <= 0) return {};
  return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
}

Status Unmount(Cli& cli, const std::string& named, bool lazy) {
  const std::string mountpoint = AbsolutePath(named);
  const UniqueFd daemon = FindDaemon(cli, mountpoint);
  TRY(fs::UnmountFuse(mountpoint, lazy));
  if (!daemon.valid()) return {};
  // The daemon ends when its mount does. Waiting for it lets the next command mount the store
  // again.
  pollfd ended{daemon.get(), POLLIN, 0};
  if (poll(&ended, 1, kDaemonEndMs) == 0) {
    cli.Note("the daemon still serves files that are open");
  }
  return {};
}

}  // namespace

void AddMountVerbs(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<MountOptions>();
  CLI::App* mount = app.add_subcommand("mount", "Start the daemon of a store and mount it");
  mount->add_option("MOUNTPOINT", options->mountpoint, "An empty directory");
  mount->add_option("--store", cli.places.store, "The directory of the store")->type_name("DIR");
  mount->add_option("--root-key", options->root_key,
                    "file:PATH or credential:NAME, if the root key is not where it was");
  mount->add_flag("-f,--foreground", options->foreground,
                  "Stay, and log to standard error (for service managers)");
  mount->add_option("--ready-fd", options->ready_fd)->group("");
  mount->add_option("--passphrase-fd", options->passphrase_fd)->group("");
  mount->callback([&cli, options] {
    cli.subject = "mount";
    cli.run = [&cli, options] {
      return options->foreground ? ServeInForeground(cli, *options)
                                 : ServeInBackground(cli, *options);
    };
  });

  auto mountpoint = std::make_shared<std::string>();
  auto lazy = std::make_shared<bool>(false);
  CLI::App* umount = app.add_subcommand("umount", "Unmount, which also ends the daemon");
  umount->alias("unmount");
  umount->add_option("MOUNTPOINT", *mountpoint, "Where it is mounted")->required();
  umount->add_flag("--lazy", *lazy, "Detach now, and end when no file is open any more");
  umount->callback([&cli, mountpoint, lazy] {
    cli.subject = "umount " + *mountpoint;
    cli.run = [&cli, mountpoint, lazy] { return Unmount(cli, *mountpoint, *lazy); };
  });
}

}  // namespace secretfs::mount
