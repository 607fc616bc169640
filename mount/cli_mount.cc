#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <memory>
#include <thread>

#include "crypto/base/log.h"
#include "crypto/root_key_deposit.h"
#include "fs/fuse_mount.h"
#include "mount/cli_root_key.h"
#include "mount/cli_verbs.h"
#include "mount/daemon.h"
#include "mount/daemon_process.h"
#include "mount/keeper.h"
#include "mount/launch.h"
#include "mount/listen_socket.h"
#include "mount/log_file.h"
#include "mount/privileges.h"
#include "mount/systemd.h"
#include "mount/toucher.h"
#include "store/secret_service.h"

namespace secretfs::mount {
namespace {

constexpr mode_t kMountpointMode = 0755;
constexpr int kDaemonEndMs = 10'000;
constexpr std::chrono::seconds kUpgradeTime{30};
constexpr int kUpgradeLookMs = 50;
constexpr std::chrono::milliseconds kStatusAge{1200};
constexpr std::chrono::milliseconds kBusyTime{1000};
constexpr std::chrono::milliseconds kBusyLook{10};

struct MountOptions {
  std::string mountpoint;
  std::string root_key;
  bool foreground = false;
  bool reprompt = false;
  bool fd_store = false;
  bool resend = true;
  // Of a keeper that LaunchDaemon() started; -1: none.
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
  TRY_ASSIGN(crypto::RootKeySource source,
             crypto::ParseRootKeySource(AbsoluteSource(options.root_key), random));
  if (std::holds_alternative<crypto::PassphraseSource>(source)) {
    return Fail(Code::kInvalidArgument,
                "--root-key says where a key file or credential is now; a store with a "
                "passphrase asks for it by itself");
  }
  return source;
}

// What makes another process of ours mount as this one was told to.
std::vector<std::string> SettingArguments(const MountOptions& options, const Config& config,
                                          const std::optional<crypto::RootKeySource>& root_key) {
  std::vector<std::string> arguments = {"--store", config.store, "--socket", config.socket};
  if (root_key) {
    arguments.insert(arguments.end(), {"--root-key", crypto::DescribeRootKeySource(*root_key)});
  }
  if (!options.resend) arguments.emplace_back("--no-resend");
  if (options.fd_store) arguments.emplace_back("--fd-store");
  arguments.push_back(config.mountpoint);
  return arguments;
}

// The config file that the user named, for a process in another directory.
std::vector<std::string> ConfigArguments(Cli& cli) {
  const std::string named = cli.places.config.value_or(cli.environment.Get("SECRETFS_CONFIG"));
  if (named.empty()) return {};
  return {"--config", AbsolutePath(named)};
}

// What a daemon asks for a passphrase: a pipe that came with it, or the terminal.
crypto::PassphrasePrompt PromptOf(Cli& cli, std::shared_ptr<UniqueFd> pipe) {
  return [&cli, pipe]() -> Result<crypto::SecretBuffer> {
    if (!pipe->valid()) return cli.terminal.ReadSecretLine("Passphrase: ", kPassphraseBytesMax);
    const UniqueFd once = std::move(*pipe);
    return Terminal::ReadAll(once.get(), kPassphraseBytesMax, "the passphrase");
  };
}

Status KeepInForeground(Cli& cli, const MountOptions& options) {
  Readiness readiness(AdoptDescriptor(options.ready_fd));
  UniqueFd passphrase = AdoptDescriptor(options.passphrase_fd);
  static const SystemClock log_clock;
  if (options.ready_fd >= 0) StampLog(log_clock);
  // A process of its own must not keep the directory busy that it was started in.
  if (options.ready_fd >= 0 && chdir("/") != 0) {
    return FailErrno(Code::kUnavailable, "change to the directory /", errno);
  }
  const ServiceManager manager(cli.environment.Get("NOTIFY_SOCKET"));
  GivenDescriptors given = TakeGivenDescriptors(cli.environment);
  auto keep = [&]() -> Status {
    if (options.fd_store && !manager.exists()) {
      return Fail(Code::kInvalidArgument,
                  "--fd-store is for a unit of systemd with FileDescriptorStoreMax=");
    }
    TRY_ASSIGN(const Config config, MountSettings(cli, options));
    TRY_ASSIGN(const auto root_key, RootKeyPlace(options, cli.random));
    // As it would be resolved now, but for the places, which stay.
    const auto reread = [&cli, &options, config]() -> Result<Config> {
      TRY_ASSIGN(Config now, MountSettings(cli, options));
      now.store = config.store;
      now.socket = config.socket;
      now.mountpoint = config.mountpoint;
      return now;
    };
    KeeperOptions keeper{.config = config,
                         .reread_config = reread,
                         .daemon_arguments = SettingArguments(options, config, root_key),
                         .toucher_arguments = {"toucher", "--prefix", config.mountpoint},
                         .passphrase = std::move(passphrase),
                         .reprompt = options.reprompt,
                         .manager = manager,
                         .given = std::move(given),
                         .leave_with_manager = options.fd_store};
    keeper.daemon_arguments.insert(
        keeper.daemon_arguments.begin(),
        {"daemon", "--config", "/proc/self/fd/" + std::to_string(kConfigFd)});
    if (options.ready_fd >= 0) keeper.daemon_arguments.emplace_back("--stamp-log");
    if (!config.system_call_filter) keeper.toucher_arguments.emplace_back("--no-filter");
    return RunKeeper(
        std::move(keeper), {.ready = [&] {
          manager.Notify("READY=1\nSTATUS=Serving " + config.store + " on " + config.mountpoint);
          return readiness.Report({});
        }});
  };
  Status kept = keep();
  if (!kept) readiness.Report(kept);
  return kept;
}

Status KeepInBackground(Cli& cli, const MountOptions& options) {
  TRY_ASSIGN(const Config config, MountSettings(cli, options));
  TRY_ASSIGN(const auto root_key, RootKeyPlace(options, cli.random));
  // Whatever can be known here is said here: a store that is missing, damaged, too new or in use.
  TRY_ASSIGN(const store::StoreHeader header, store::SecretService::ReadHeader(config.store));
  Launch launch{.arguments = {"mount", "--foreground", "--ready-fd", std::to_string(kReadyFd)},
                .log_path = LogFilePath(config.store),
                .passphrase = std::nullopt};
  if (options.reprompt) launch.arguments.emplace_back("--reprompt");
  if (!root_key && std::holds_alternative<crypto::PassphraseSource>(header.root_key_source)) {
    TRY_ASSIGN(launch.passphrase, cli.terminal.ReadSecretLine("Passphrase: ", kPassphraseBytesMax));
    launch.arguments.insert(launch.arguments.end(),
                            {"--passphrase-fd", std::to_string(kPassphraseFd)});
  }
  for (const auto& more : {ConfigArguments(cli), SettingArguments(options, config, root_key)}) {
    launch.arguments.insert(launch.arguments.end(), more.begin(), more.end());
  }
  return LaunchDaemon(launch);
}

// A descriptor that the keeper may have given; invalid if it did not.
UniqueFd AdoptIfOpen(int fd) {
  return fcntl(fd, F_GETFD) < 0 ? UniqueFd() : AdoptDescriptor(fd);
}

// The memory that keeps the root key for successors; invalid if there is none that can be used.
UniqueFd AdoptDeposit() {
  UniqueFd deposit = AdoptIfOpen(kDepositFd);
  if (!deposit.valid()) return deposit;
  const auto kept = crypto::TakeFromDeposit(deposit.get());
  if (kept) return deposit;
  Log(LogLevel::kWarning,
      kept.error().message +
          "; a daemon that is started again reads the root key itself, unless the limit of locked "
          "memory is raised (LimitMEMLOCK in a unit, memlock in /etc/security/limits.d)");
  return {};
}

Status TouchForKeeper(const std::string& prefix, bool system_call_filter) {
  return RunToucher({.socket = AdoptIfOpen(kToucherSocketFd),
                     .root = AdoptIfOpen(kToucherRootFd),
                     .notifier = AdoptIfOpen(kToucherNotifierFd),
                     .known = AdoptIfOpen(kToucherKnownFd),
                     .prefix = prefix,
                     .system_call_filter = system_call_filter});
}

Status ServeForKeeper(Cli& cli, const MountOptions& options, bool stamp_log) {
  static const SystemClock log_clock;
  if (stamp_log) StampLog(log_clock);
  DaemonDescriptors descriptors{.link = AdoptIfOpen(kLinkFd),
                                .shared_state = AdoptIfOpen(kSharedStateFd),
                                .listener = AdoptIfOpen(kListenFd),
                                .toucher = AdoptIfOpen(kTouchFd)};
  const UniqueFd deposit = AdoptDeposit();
  auto passphrase = std::make_shared<UniqueFd>(AdoptIfOpen(kDaemonPassphraseFd));
  AdoptIfOpen(kProgramFd).Reset();
  if (!descriptors.listener.valid()) {
    return Fail(Code::kInvalidArgument, "this is for secretfs mount to start");
  }
  TRY_ASSIGN(const Config config, MountSettings(cli, options));
  DaemonOptions daemon{.config = config,
                       .root_key = {},
                       .root_key_environment = {},
                       .user = FindUser(config.user),
                       .ends_with_keeper = options.fd_store,
                       .resend = options.resend};
  TRY_ASSIGN(daemon.root_key, RootKeyPlace(options, cli.random));
  daemon.root_key_environment.credentials_directory = cli.environment.Get("CREDENTIALS_DIRECTORY");
  daemon.root_key_environment.prompt = PromptOf(cli, passphrase);
  daemon.root_key_environment.deposit = deposit.get();
  return RunDaemon(daemon, std::move(descriptors));
}

// What the daemon on the socket says of itself.
struct Serving {
  std::string mountpoint;
  uint64_t upgrades = 0;
  std::string last_end;
};

template <typename Number>
void ReadNumber(const std::string& text, Number& number) {
  std::from_chars(text.data(), text.data() + text.size(), number);
}

Result<Serving> AskServing(Cli& cli) {
  TRY_ASSIGN(auto client, cli.Client());
  TRY_ASSIGN(const AwsAnswer answer, client.Status());
  TRY_ASSIGN(const auto fields, ParseFields(answer));
  Serving serving;
  for (const auto& [name, value] : fields) {
    if (name == "mountpoint") serving.mountpoint = value;
    if (name == "upgrades") ReadNumber(value, serving.upgrades);
    if (name == "last_end") serving.last_end = value;
  }
  return serving;
}

// A descriptor of the keeper behind the socket: the process that listens there, by the kernel and
// not by what a daemon says. Errors: kUnavailable.
Result<UniqueFd> FindKeeper(Cli& cli) {
  TRY_ASSIGN(const Config config, cli.Settings());
  TRY_ASSIGN(const UniqueFd connection, ConnectSocket(config.socket));
  UniqueFd keeper(static_cast<int>(syscall(SYS_pidfd_open, ListenerOf(connection.get()), 0)));
  if (!keeper.valid()) return FailErrno(Code::kUnavailable, "find the keeper", errno);
  // Unless it listens still, the number may have become another's.
  TRY_ASSIGN(const UniqueFd again, ConnectSocket(config.socket));
  if (ListenerOf(again.get()) != ListenerOf(connection.get())) {
    return Fail(Code::kUnavailable, "the keeper has just been replaced; try again");
  }
  return keeper;
}

// Asks the keeper to replace the daemon by the program that is installed now, and waits for it.
Status Upgrade(Cli& cli) {
  TRY_ASSIGN(const Serving before, AskServing(cli));
  TRY_ASSIGN(const UniqueFd keeper, FindKeeper(cli));
  if (syscall(SYS_pidfd_send_signal, keeper.get(), SIGHUP, nullptr, 0) != 0) {
    return FailErrno(errno == EPERM ? Code::kPermissionDenied : Code::kUnavailable,
                     "signal the keeper", errno);
  }
  const auto begun = std::chrono::steady_clock::now();
  const auto deadline = begun + kUpgradeTime;
  while (std::chrono::steady_clock::now() < deadline) {
    pollfd ended{keeper.get(), POLLIN, 0};
    if (poll(&ended, 1, kUpgradeLookMs) > 0) break;
    const auto now = AskServing(cli);
    if (!now) continue;
    if (now->upgrades > before.upgrades) return {};
    // The status is a second old at most; what it says before that may be of an earlier try.
    const bool is_fresh = std::chrono::steady_clock::now() - begun > kStatusAge;
    if (is_fresh && now->last_end.starts_with(kUpgradeFailed)) {
      return Fail(Code::kFailedPrecondition, now->last_end + "; the old one goes on serving");
    }
  }
  return Fail(Code::kUnavailable, "no successor came up in time; see the log");
}

// The toucher of a user's mount is on the mount itself, for a moment after each change.
Status UnmountWhenIdle(const std::string& mountpoint, bool lazy) {
  const auto deadline = std::chrono::steady_clock::now() + kBusyTime;
  while (true) {
    Status unmounted = fs::UnmountFuse(mountpoint, lazy);
    const bool is_busy = !unmounted && unmounted.error().code == Code::kFailedPrecondition;
    if (!is_busy || std::chrono::steady_clock::now() >= deadline) return unmounted;
    std::this_thread::sleep_for(kBusyLook);
  }
}

Status Unmount(Cli& cli, const std::string& named, bool lazy) {
  const std::string mountpoint = AbsolutePath(named);
  // The socket may be another mount's, or nobody's.
  const auto serving = AskServing(cli);
  const auto keeper = serving && serving->mountpoint == mountpoint
                          ? FindKeeper(cli)
                          : Fail(Code::kNotFound, "it is another mount's socket");
  TRY(UnmountWhenIdle(mountpoint, lazy));
  if (!keeper) return {};
  // The keeper ends when its mount does. Waiting for it lets the next command mount the store
  // again.
  pollfd ended{keeper->get(), POLLIN, 0};
  if (poll(&ended, 1, kDaemonEndMs) == 0) {
    cli.Note("the daemon still serves files that are open");
  }
  return {};
}

void AddMount(CLI::App& app, Cli& cli, const std::shared_ptr<MountOptions>& options) {
  CLI::App* mount = app.add_subcommand("mount", "Start the daemon of a store and mount it");
  mount->add_option("MOUNTPOINT", options->mountpoint, "An empty directory");
  mount->add_option("--store", cli.places.store, "The directory of the store")->type_name("DIR");
  mount->add_option("--root-key", options->root_key,
                    "file:PATH or credential:NAME, if the root key is not where it was");
  mount->add_flag("-f,--foreground", options->foreground,
                  "Stay, and log to standard error (for service managers)");
  mount->add_flag("--reprompt", options->reprompt,
                  "Keep no root key in memory for a daemon that has to be started again");
  mount->add_flag(
      "--fd-store", options->fd_store,
      "With -f, in a unit of systemd: leave the mount with the service manager, so that "
      "a keeper that was killed is replaced as well");
  mount->add_flag("!--no-resend", options->resend)->group("");
  mount->add_option("--ready-fd", options->ready_fd)->group("");
  mount->add_option("--passphrase-fd", options->passphrase_fd)->group("");
  mount->callback([&cli, options] {
    cli.subject = "mount";
    cli.run = [&cli, options] {
      return options->foreground ? KeepInForeground(cli, *options)
                                 : KeepInBackground(cli, *options);
    };
  });
}

// What a keeper runs.
void AddKeptVerbs(CLI::App& app, Cli& cli, const std::shared_ptr<MountOptions>& options) {
  auto stamp_log = std::make_shared<bool>(false);
  CLI::App* daemon = app.add_subcommand("daemon", "Serve under a keeper")->group("");
  daemon->add_option("MOUNTPOINT", options->mountpoint);
  daemon->add_option("--store", cli.places.store);
  daemon->add_option("--root-key", options->root_key);
  daemon->add_flag("--fd-store", options->fd_store);
  daemon->add_flag("!--no-resend", options->resend);
  daemon->add_flag("--stamp-log", *stamp_log);
  daemon->callback([&cli, options, stamp_log] {
    cli.subject = "daemon";
    cli.run = [&cli, options, stamp_log] { return ServeForKeeper(cli, *options, *stamp_log); };
  });

  auto prefix = std::make_shared<std::string>();
  auto filter = std::make_shared<bool>(true);
  CLI::App* toucher = app.add_subcommand("toucher", "Raise events under a keeper")->group("");
  toucher->add_option("--prefix", *prefix);
  toucher->add_flag("!--no-filter", *filter);
  toucher->callback([&cli, prefix, filter] {
    cli.subject = "toucher";
    cli.run = [prefix, filter] { return TouchForKeeper(*prefix, *filter); };
  });
}

}  // namespace

void AddMountVerbs(CLI::App& app, Cli& cli) {
  const auto options = std::make_shared<MountOptions>();
  AddMount(app, cli, options);
  AddKeptVerbs(app, cli, options);

  CLI::App* upgrade =
      app.add_subcommand("upgrade", "Let the installed program take over from the one that runs");
  upgrade->callback([&cli] {
    cli.subject = "upgrade";
    cli.run = [&cli] { return Upgrade(cli); };
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
