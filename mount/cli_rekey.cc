// secretfs rekey: another root key for a store, through its daemon or without one.

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <memory>
#include <thread>

#include "crypto/keyring.h"
#include "crypto/root_key.h"
#include "mount/cli_root_key.h"
#include "mount/cli_verbs.h"
#include "mount/listen_socket.h"
#include "mount/privileges.h"
#include "store/kms_service.h"
#include "store/secret_service.h"

namespace secretfs::mount {
namespace {

constexpr std::chrono::seconds kSuccessorTime{30};
constexpr std::chrono::milliseconds kRetryPause{100};

struct RekeyOptions {
  std::string root_key;
  std::string current_root_key;
};

// The new root key, as it goes into the store.
struct Obtained {
  crypto::RootKeySource source;
  crypto::SecretBuffer secret;
  bool made_key_file = false;
};

// Unlinks a key file that was made for nothing.
void Undo(const Obtained& next) {
  if (next.made_key_file) unlink(std::get<crypto::KeyFileSource>(next.source).path.c_str());
}

Result<Obtained> ObtainNext(Cli& cli, const std::string& text) {
  Obtained next;
  TRY_ASSIGN(next.source, crypto::ParseRootKeySource(AbsoluteSource(text), cli.random));
  TRY_ASSIGN(next.made_key_file, EnsureKeyFile(next.source, cli.random));
  auto secret = crypto::ObtainRootKeySecret(next.source, NewRootKeyEnvironment(cli));
  if (!secret) {
    Undo(next);
    return std::unexpected(std::move(secret).error());
  }
  next.secret = *std::move(secret);
  return next;
}

Status Report(Cli& cli, const crypto::RootKeySource& source, const std::string& previous) {
  const std::string now = crypto::DescribeRootKeySource(source);
  if (cli.json) {
    return cli.terminal.Write(FieldsJson({{"RootKey", now}, {"PreviousRootKey", previous}}) + "\n");
  }
  std::string text = "root key  " + now + "\n";
  if (previous.starts_with("file:") && previous != now) {
    text += "The old key file " + previous.substr(5) +
            " is left in place: backups made before now open with it, and with nothing else.\n";
  } else {
    text += "Backups made before now still open with the old root key, and with nothing else.\n";
  }
  return cli.terminal.Write(text);
}

// --- through the daemon

// The next daemon reads a key file as the user of the keeper, so it must be that user's.
Status CheckOwner(const Obtained& next, uid_t reader) {
  const auto* file = std::get_if<crypto::KeyFileSource>(&next.source);
  if (file == nullptr) return {};
  // Whoever may give a file away does so with one that is fresh.
  if (next.made_key_file && geteuid() == 0 && chown(file->path.c_str(), reader, -1) != 0) {
    return FailErrno(Code::kPermissionDenied, "give away " + file->path, errno);
  }
  struct stat info{};
  if (stat(file->path.c_str(), &info) != 0) {
    return FailErrno(Code::kUnavailable, "root key file " + file->path, errno);
  }
  if (info.st_uid == reader) return {};
  return Fail(Code::kPermissionDenied,
              "root key file " + file->path + ": owned by uid " + std::to_string(info.st_uid) +
                  ", but the daemon is started as uid " + std::to_string(reader) +
                  " and could not use it at the next mount; run: chown " + std::to_string(reader) +
                  " " + file->path);
}

Result<uid_t> KeeperUid(int connection) {
  ucred keeper{};
  socklen_t size = sizeof keeper;
  if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &keeper, &size) != 0) {
    return FailErrno(Code::kUnavailable, "find the keeper", errno);
  }
  return keeper.uid;
}

// Asks again when the daemon ended meanwhile: nobody knows then whether it was done, and doing it
// twice is doing it once.
Result<AwsAnswer> AskDaemon(const std::string& socket, const crypto::SecretBuffer& body) {
  const auto deadline = std::chrono::steady_clock::now() + kSuccessorTime;
  while (true) {
    auto answer = CallDaemon(socket, "secretfs.Rekey", body);
    if (answer || answer.error().code != Code::kUnavailable) return answer;
    if (!ConnectSocket(socket) || std::chrono::steady_clock::now() > deadline) break;
    std::this_thread::sleep_for(kRetryPause);
  }
  return Fail(Code::kUnavailable,
              "the daemon ended before it answered, so the store has either the new root key or "
              "still the old one; keep both, and mount it: that finds which it is by itself");
}

Status RekeyOnline(Cli& cli, const std::string& socket, uid_t reader, const RekeyOptions& options) {
  TRY_ASSIGN(const Obtained next, ObtainNext(cli, options.root_key));
  if (const Status owned = CheckOwner(next, reader); !owned) {
    Undo(next);
    return owned;
  }
  TRY_ASSIGN(const crypto::SecretBuffer body,
             KmsRequest("")
                 .Blob("RootKeySource", crypto::EncodeRootKeySource(next.source))
                 .Blob("RootKeySecret", next.secret.Reveal())
                 .Body());
  const auto answer = AskDaemon(socket, body);
  if (!answer) {
    // In doubt the key file stays: it may be the store's only one.
    if (answer.error().code != Code::kUnavailable) Undo(next);
    return std::unexpected(answer.error());
  }
  TRY_ASSIGN(const std::string previous, ParseTextMember(*answer, "PreviousRootKey"));
  return Report(cli, next.source, previous);
}

// --- without one

// Files that are made meanwhile must be those of the store's owner, not root's.
Status BecomeOwnerOf(const std::string& store) {
  struct stat info{};
  if (geteuid() != 0 || stat(store.c_str(), &info) != 0 || info.st_uid == 0) return {};
  return BecomeUser(ProcessUser{.uid = info.st_uid, .gid = info.st_gid});
}

Status Rewrap(Cli& cli, const Config& config, const Obtained& next, crypto::RootKey& current) {
  SystemClock clock;
  store::SecretService::Options options{.directory = config.store, .audit = {}};
  options.audit.directory = config.audit_directory;
  options.audit.segment_bytes = static_cast<size_t>(config.audit_segment_mib) << 20;
  TRY(BecomeOwnerOf(config.store));
  TRY_ASSIGN(const auto service,
             store::SecretService::Open(options, current, nullptr, clock, cli.random));
  // Who can open the files and has the root key is the owner.
  const store::Principal owner{
      .arn = "arn:aws:iam::" + service->realm().account + ":root",
      .uid = service->header().owner_uid,
  };
  const store::Caller caller{owner, store::Door::kInternal, static_cast<uint32_t>(getpid())};
  const Status changed =
      service->kms().RewrapAll(caller, crypto::MakeRootKey(next.secret, cli.random), next.source,
                               crypto::FormatUuid(crypto::NewUuid(cli.random)));
  if (changed) service->Upkeep();
  return changed;
}

Status RekeyOffline(Cli& cli, const Config& config, const RekeyOptions& options) {
  TRY_ASSIGN(const store::StoreHeader header, store::SecretService::ReadHeader(config.store));
  crypto::RootKeySource current = header.root_key_source;
  if (!options.current_root_key.empty()) {
    TRY_ASSIGN(current,
               crypto::ParseRootKeySource(AbsoluteSource(options.current_root_key), cli.random));
  }
  TRY_ASSIGN(const auto current_key,
             crypto::OpenRootKey(current, CurrentRootKeyEnvironment(cli), cli.random));
  TRY_ASSIGN(const Obtained next, ObtainNext(cli, options.root_key));
  const Status changed = Rewrap(cli, config, next, *current_key);
  // After a commit that failed the store may have it nevertheless.
  if (!changed && changed.error().code != Code::kUnavailable) Undo(next);
  TRY(changed);
  return Report(cli, next.source, crypto::DescribeRootKeySource(current));
}

Status Rekey(Cli& cli, const RekeyOptions& options) {
  TRY_ASSIGN(const Config config, cli.Settings());
  // The daemon of the socket may be another store's than the one that was named.
  const bool is_free =
      cli.places.store && store::SecretService::ReadHeader(config.store).has_value();
  if (!config.socket.empty() && !is_free) {
    if (const auto daemon = ConnectSocket(config.socket)) {
      TRY_ASSIGN(const uid_t reader, KeeperUid(daemon->get()));
      return RekeyOnline(cli, config.socket, reader, options);
    }
  }
  cli.subject = "rekey " + config.store;
  return RekeyOffline(cli, config, options);
}

}  // namespace

void AddRekeyVerb(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<RekeyOptions>();
  CLI::App* sub = app.add_subcommand("rekey", "Give a store another root key");
  sub->footer(
      "Wraps all keys of the store anew, at once or not at all; no secret is touched. A "
      "passphrase\n"
      "is asked for twice, or one line of standard input. Without a daemon the store is changed\n"
      "directly, and the current passphrase asked for (or read) first.\n"
      "The keys themselves stay: what the old root key wrapped stays in free pages of the store's\n"
      "file until those are used again, and in backups. Who has both can open everything, also\n"
      "what is written later. If the old root key may be known, make a new store.\n"
      "Example: secretfs rekey --root-key file:/media/token/secretfs.key");
  sub->add_option("--root-key", options->root_key,
                  "The new one: file:PATH (made if it does not exist), passphrase, or "
                  "credential:NAME (of systemd; set CREDENTIALS_DIRECTORY)")
      ->required();
  sub->add_option("--current-root-key", options->current_root_key,
                  "Without a daemon: file:PATH or credential:NAME of the current one, if it is not "
                  "where it was");
  sub->add_option("--store", cli.places.store, "Without a daemon: the directory of the store")
      ->type_name("DIR");
  sub->callback([&cli, options] {
    cli.subject = "rekey";
    cli.run = [&cli, options] { return Rekey(cli, *options); };
  });
}

}  // namespace secretfs::mount
