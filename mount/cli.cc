#include "mount/cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <exception>
#include <vector>

#include "crypto/base/log.h"
#include "mount/cli_verbs.h"
#include "mount/exit_status.h"
#include "mount/status.h"

namespace secretfs::mount {
namespace {

constexpr const char* kFooter =
    "Values come from standard input, a file or a prompt, never from the command line.\n"
    "Exit status: 0 ok, 1 error, 2 usage, 3 not found, 4 denied, 5 sealed (root key wrong or\n"
    "missing), 6 conflict (another state than asked for: lost compare-and-swap, name taken,\n"
    "marked for deletion, already mounted). An error is one line on standard error; with --json\n"
    "that line is {\"error\":{\"code\":\"...\",\"message\":\"...\"}}.\n"
    "Environment: SECRETFS_SOCKET, SECRETFS_STORE, SECRETFS_CONFIG.";

bool Mentions(const std::string& message, const char* word) {
  return message.find(word) != std::string::npos;
}

// What to do about an error that does not say so itself. `name` is what the command was about.
std::string NextStep(const Error& error, const std::string& verb, const std::string& name) {
  switch (error.code) {
    case Code::kValidation:
    case Code::kInvalidArgument:
    case Code::kUnsupported:
    case Code::kInvalidKeyUsage:
    case Code::kInvalidAliasName:
    case Code::kInvalidArn:
    case Code::kInvalidGrantId:
    case Code::kInvalidGrantToken:
    case Code::kInvalidMarker:
    case Code::kInvalidTag:
    case Code::kMalformedPolicy:
      return "see: secretfs " + verb + " --help";
    case Code::kNotFound:
    case Code::kStale:
      if (verb == "umount") return "see the mounts with: findmnt -t fuse.secretfs";
      if (Mentions(error.message, "VersionId") || Mentions(error.message, "label")) {
        return "see what there is with: secretfs history " + name;
      }
      return "see what there is with: secretfs ls";
    case Code::kPermissionDenied:
      if (verb == "mount" || verb == "umount" || verb == "init") {
        return "run it as a user who may do that";
      }
      return "ask the owner of the store";
    case Code::kFailedPrecondition:
      if (Mentions(error.message, "delet")) return "restore it with: secretfs restore " + name;
      [[fallthrough]];
    case Code::kAlreadyExists:
    case Code::kConflict:
      return "see its state with: secretfs describe " + name;
    case Code::kLimitExceeded:
      return "remove what is no longer needed";
    case Code::kSealed:
      return "give the root key that the store was made with";
    case Code::kKeyUnavailable:
    case Code::kCannotEncrypt:
    case Code::kDisabled:
      return "enable its KMS key again, or cancel the deletion of that";
    case Code::kInvalidImportToken:
    case Code::kExpiredImportToken:
      return "get new parameters for the import";
    case Code::kInvalidCiphertext:
    case Code::kIncorrectKey:
    case Code::kInvalidSignature:
    case Code::kInvalidMac:
    case Code::kIncorrectKeyMaterial:
      return "check that it belongs to this key, and is whole";
    case Code::kDryRun:
      return "do it without --dry-run";
    case Code::kCorrupt:
    case Code::kUnavailable:
    case Code::kInternal:
      return "see: secretfs status, and the log of the daemon";
  }
  return "";
}

bool IsAboutKeys(const Cli& cli) {
  return cli.verb.starts_with("key ");
}

// The same for KMS keys; empty: as for everything else.
std::string KeyNextStep(Code code, const std::string& name) {
  const std::string key = name.empty() ? "KEY" : name;
  switch (code) {
    case Code::kNotFound:
      return "see what there is with: secretfs key ls";
    case Code::kDisabled:
      return "enable it with: secretfs key enable " + key;
    case Code::kInvalidCiphertext:
      return "check that it is whole, and that --context is what it was encrypted with";
    case Code::kFailedPrecondition:
    case Code::kAlreadyExists:
    case Code::kConflict:
      return "see its state with: secretfs key describe " + key;
    default:
      return "";
  }
}

// "secretfs: <what>: <reason>; <next step>". A reason that has a ";" names its own next step, and
// one that begins with what the command was about need not hear it twice.
std::string ErrorLine(const Cli& cli, const Error& error) {
  const std::string& subject = cli.subject;
  const size_t space =
      cli.verb.empty() ? std::min(subject.find(' '), subject.size()) : cli.verb.size();
  const std::string verb = subject.substr(0, space);
  const std::string name = subject.substr(std::min(space + 1, subject.size()));
  const bool names_it = !name.empty() && error.message.starts_with(name + ": ");
  std::string line = "secretfs: " + (names_it ? verb : subject) + ": " + error.message;
  if (line.ends_with('.')) line.pop_back();
  if (!Mentions(error.message, ";")) {
    const std::string step = IsAboutKeys(cli) ? KeyNextStep(error.code, name) : "";
    line += "; " + (step.empty() ? NextStep(error, verb, name) : step);
  }
  return Printable(line);
}

int Report(Cli& cli, const Error& error) {
  const auto service =
      IsAboutKeys(cli) ? store::AwsService::kKms : store::AwsService::kSecretsManager;
  cli.terminal.WriteError(cli.json ? ErrorJson(error, service) : ErrorLine(cli, error));
  return ExitStatusOf(error.code);
}

// Where the text of a surplus argument may be a value that somebody typed in spite of everything.
constexpr std::array<std::string_view, 6> kTakesData = {
    "put", "key encrypt", "key sign", "key mac", "key decrypt", "key import material"};

// "key alias create"; empty if there is none.
std::string VerbOf(const CLI::App& app) {
  std::string verb;
  for (auto below = app.get_subcommands(); !below.empty();
       below = below.front()->get_subcommands()) {
    verb += (verb.empty() ? "" : " ") + below.front()->get_name();
  }
  return verb;
}

// What the parser did not like, in our words; such a text is never repeated.
Error UsageError(const CLI::App& app, const CLI::ParseError& error) {
  const auto verbs = app.get_subcommands();
  if (verbs.empty()) {
    const std::vector<std::string> surplus = app.remaining();
    return {Code::kInvalidArgument,
            (surplus.empty() ? "which command?" : "unknown command " + surplus.front()) +
                "; see: secretfs --help"};
  }
  const std::string verb = VerbOf(app);
  const bool takes_data = std::ranges::find(kTakesData, verb) != kTakesData.end();
  if (takes_data && dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    return {Code::kInvalidArgument,
            "one argument too many; a value is never taken from the command line, where every "
            "user can see it: pipe it in, or use --file"};
  }
  return {Code::kInvalidArgument,
          std::string(error.what()) + "; see: secretfs " + verb + " --help"};
}

void AddGlobalOptions(CLI::App& app, Cli& cli) {
  app.description("secretfs: a secrets manager whose interface is the filesystem");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.fallthrough();
  app.set_version_flag("--version", "secretfs " + std::string(BuildVersion()));
  app.add_option("--socket", cli.places.socket, "The daemon's socket")->type_name("PATH");
  app.add_option("--config", cli.places.config, "The config file")->type_name("FILE");
  app.add_flag("--json", cli.json, "Answers and errors as JSON");
  auto* version = app.add_subcommand("version", "Print the version");
  version->callback([&cli] {
    cli.subject = "version";
    cli.run = [&cli] {
      return cli.terminal.Write("secretfs " + std::string(BuildVersion()) + "\n");
    };
  });
}

int ParseAndRun(Cli& cli, int argc, const char* const* argv) {
  CLI::App app;
  app.name("secretfs");
  AddGlobalOptions(app, cli);
  AddStoreVerbs(app, cli);
  AddMountVerbs(app, cli);
  AddValueVerbs(app, cli);
  AddSecretVerbs(app, cli);
  AddKeyVerbs(app, cli);
  AddRekeyVerb(app, cli);
  AddAuditVerbs(app, cli);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return cli.terminal.Write(app.help()) ? kExitOk : kExitError;
  } catch (const CLI::CallForVersion& version) {
    return cli.terminal.Write(std::string(version.what()) + "\n") ? kExitOk : kExitError;
  } catch (const CLI::ParseError& error) {
    cli.verb = VerbOf(app);
    cli.subject = cli.verb.empty() ? "command line" : cli.verb;
    return Report(cli, UsageError(app, error));
  }
  const Status done = cli.run();
  return done ? kExitOk : Report(cli, done.error());
}

}  // namespace

Result<AwsClient> Cli::Client() const {
  TRY_ASSIGN(const Config config, Settings());
  if (config.socket.empty()) return std::unexpected(NoDefaultPlace("socket"));
  return AwsClient(config.socket, random);
}

Result<KmsClient> Cli::Kms() const {
  TRY_ASSIGN(const Config config, Settings());
  if (config.socket.empty()) return std::unexpected(NoDefaultPlace("socket"));
  return KmsClient(config.socket);
}

Status Cli::Print(const AwsAnswer& answer, const std::string& text) {
  if (!json) return terminal.Write(text);
  TRY(terminal.WriteBytes(answer.Reveal()));
  return answer.Reveal().back() == '\n' ? Status() : terminal.Write("\n");
}

void Cli::Note(const std::string& text) {
  if (terminal.error_is_terminal() && !json) terminal.WriteError("secretfs: note: " + text);
}

int RunCli(int argc, const char* const* argv, const CliStreams& streams,
           const Environment& environment) {
  Terminal terminal(streams.in, streams.out, streams.err);
  crypto::SystemRandom random;
  Cli cli{.terminal = terminal,
          .environment = environment,
          .random = random,
          .places = {},
          .subject = "command line",
          .verb = {},
          .run = {}};
  try {
    return ParseAndRun(cli, argc, argv);
  } catch (const std::exception& error) {
    return Report(cli, {Code::kInternal, std::string("unexpected failure: ") + error.what()});
  }
}

}  // namespace secretfs::mount
