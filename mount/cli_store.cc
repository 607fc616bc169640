#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cerrno>
#include <filesystem>
#include <memory>

#include "crypto/root_key.h"
#include "mount/cli_root_key.h"
#include "mount/cli_verbs.h"
#include "store/secret_service.h"

namespace secretfs::mount {
namespace {

constexpr std::string_view kFilePrefix = "file:";
constexpr size_t kAccountDigits = 12;
constexpr size_t kRegionBytesMax = 64;

struct InitOptions {
  std::string root_key;
  store::Realm realm;
};

Status CheckRealm(const store::Realm& realm) {
  const bool is_region = !realm.region.empty() && realm.region.size() <= kRegionBytesMax &&
                         std::ranges::all_of(realm.region, [](unsigned char c) {
                           return std::islower(c) != 0 || std::isdigit(c) != 0 || c == '-';
                         });
  if (!is_region) {
    return Fail(Code::kInvalidArgument, "region " + realm.region +
                                            " is not made of lower-case letters, digits and -; "
                                            "give one such as local-1");
  }
  const bool is_account =
      realm.account.size() == kAccountDigits &&
      std::ranges::all_of(realm.account, [](unsigned char c) { return std::isdigit(c) != 0; });
  if (!is_account) {
    return Fail(Code::kInvalidArgument,
                "account " + realm.account + " is not 12 digits; give one such as 000000000000");
  }
  return {};
}

// Checked before a key file is made, so that an error names the store and nothing has to be undone.
Status CheckParent(const std::string& store) {
  const std::string parent = std::filesystem::path(store).parent_path().string();
  const std::string& made_in = access(store.c_str(), F_OK) == 0 ? store : parent;
  if (access(made_in.c_str(), W_OK | X_OK) == 0) return {};
  const Code code = errno == ENOENT ? Code::kNotFound : Code::kPermissionDenied;
  auto failure = FailErrno(code, "directory " + made_in, errno);
  failure.error().message += code == Code::kNotFound
                                 ? "; create it first"
                                 : "; name one that you may write to with --store";
  return failure;
}

Status CreateStore(Cli& cli, const std::string& directory, const store::Realm& realm,
                   const crypto::RootKeySource& source) {
  TRY_ASSIGN(const auto root_key,
             crypto::OpenRootKey(source, NewRootKeyEnvironment(cli), cli.random));
  SystemClock clock;
  return store::SecretService::Create(directory, realm, cli.environment.uid, source, *root_key,
                                      clock, cli.random);
}

std::string InitReport(const std::string& directory, const crypto::RootKeySource& source,
                       bool made_key_file) {
  std::string text =
      "store     " + directory + "\nroot key  " + crypto::DescribeRootKeySource(source) + "\n";
  if (made_key_file) {
    text +=
        "Move the root key file to other media, and keep a copy: who has it and the store has "
        "every secret,\nand without it the store cannot be opened. Then mount with --root-key "
        "file:PATH.\n";
  }
  return text;
}

Status Init(Cli& cli, const InitOptions& options) {
  TRY(CheckRealm(options.realm));
  TRY_ASSIGN(const Config config, cli.Settings());
  if (config.store.empty()) {
    return Fail(Code::kInvalidArgument,
                "no place for the store: HOME is not set; name a "
                "directory with --store");
  }
  cli.subject = "init " + config.store;
  if (access((config.store + "/data.mdb").c_str(), F_OK) == 0) {
    return Fail(Code::kAlreadyExists,
                "there is a store already; mount it with: secretfs mount "
                "--store " +
                    config.store);
  }
  const std::string text = options.root_key.empty()
                               ? std::string(kFilePrefix) + config.store + ".root-key"
                               : AbsoluteSource(options.root_key);
  TRY_ASSIGN(const crypto::RootKeySource source, crypto::ParseRootKeySource(text, cli.random));
  const bool is_default = config.store == DefaultConfig(cli.environment).store;
  if (is_default) {
    std::error_code ignored;  // What is missing then, Create() names.
    std::filesystem::create_directories(std::filesystem::path(config.store).parent_path(), ignored);
  }
  TRY(CheckParent(config.store));
  TRY_ASSIGN(const bool made_key_file, EnsureKeyFile(source, cli.random));
  const Status created = CreateStore(cli, config.store, options.realm, source);
  if (!created && made_key_file) unlink(std::get<crypto::KeyFileSource>(source).path.c_str());
  TRY(created);
  if (cli.json) {
    return cli.terminal.Write(
        FieldsJson({{"Store", config.store}, {"RootKey", crypto::DescribeRootKeySource(source)}}) +
        "\n");
  }
  return cli.terminal.Write(InitReport(config.store, source, made_key_file));
}

Status ShowStatus(Cli& cli) {
  TRY_ASSIGN(const AwsClient client, cli.Client());
  TRY_ASSIGN(const AwsAnswer answer, client.Status());
  TRY_ASSIGN(const auto fields, ParseFields(answer));
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, value] : fields) rows.push_back({name, value});
  return cli.Print(answer,
                   FormatTable({"FIELD", "VALUE"}, rows, cli.terminal.output_is_terminal()));
}

}  // namespace

void AddStoreVerbs(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<InitOptions>();
  CLI::App* init = app.add_subcommand("init", "Make a new store");
  init->add_option("--store", cli.places.store, "The directory of the store")->type_name("DIR");
  init->add_option("--root-key", options->root_key,
                   "file:PATH (made if it does not exist), passphrase, or credential:NAME (of "
                   "systemd); default: file:DIR.root-key");
  init->add_option("--region", options->realm.region, "For the ARNs; default local-1");
  init->add_option("--account", options->realm.account, "For the ARNs; default 000000000000")
      ->type_name("12DIGITS");
  init->callback([&cli, options] {
    cli.subject = "init";
    cli.run = [&cli, options] { return Init(cli, *options); };
  });

  CLI::App* status = app.add_subcommand("status", "Show how the daemon is");
  status->callback([&cli] {
    cli.subject = "status";
    cli.run = [&cli] { return ShowStatus(cli); };
  });
}

}  // namespace secretfs::mount
