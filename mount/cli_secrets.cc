#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <ranges>

#include "mount/aws_kms_client.h"
#include "mount/cli_verbs.h"
#include "mount/status.h"
#include "store/kms_key.h"

namespace secretfs::mount {
namespace {

std::string Joined(const std::vector<std::string>& texts) {
  std::string joined;
  for (const std::string& text : texts) joined += (joined.empty() ? "" : ",") + text;
  return joined;
}

struct ListOptions {
  std::string prefix;
  bool long_format = false;
  bool include_deleted = false;
};

Status List(Cli& cli, const ListOptions& options) {
  TRY_ASSIGN(const AwsClient client, cli.Client());
  TRY_ASSIGN(const AwsAnswer answer, client.ListSecrets(options.prefix, options.include_deleted));
  TRY_ASSIGN(std::vector<SecretSummary> secrets, ParseSecretList(answer));
  std::ranges::sort(secrets, {}, &SecretSummary::name);
  if (!options.long_format) {
    std::string names;
    for (const SecretSummary& secret : secrets) names += secret.name + "\n";
    return cli.Print(answer, names);
  }
  std::vector<std::vector<std::string>> rows;
  for (const SecretSummary& secret : secrets) {
    const std::string state =
        secret.deletion_at ? "deleted " + FormatTime(*secret.deletion_at) : "active";
    rows.push_back({secret.name, FormatTime(secret.changed_at), secret.HolderOf(store::kCurrent),
                    state, secret.description});
  }
  return cli.Print(answer,
                   FormatTable({"NAME", "CHANGED", "CURRENT VERSION", "STATE", "DESCRIPTION"}, rows,
                               cli.terminal.output_is_terminal()));
}

Status Describe(Cli& cli, const std::string& name) {
  TRY_ASSIGN(const AwsClient client, cli.Client());
  TRY_ASSIGN(const AwsAnswer answer, client.DescribeSecret(name));
  TRY_ASSIGN(const SecretSummary secret, ParseDescription(answer));
  std::vector<std::vector<std::string>> rows = {{"name", secret.name},
                                                {"arn", secret.arn},
                                                {"created", FormatTime(secret.created_at)},
                                                {"changed", FormatTime(secret.changed_at)}};
  rows.push_back({"kms key", secret.kms_key.empty() ? std::string(store::kSecretsManagerAlias)
                                                    : secret.kms_key});
  if (!secret.description.empty()) rows.push_back({"description", secret.description});
  if (secret.deletion_at) rows.push_back({"deleted", FormatTime(*secret.deletion_at)});
  for (const auto& [key, value] : secret.tags) rows.push_back({"tag", key + "=" + value});
  for (const VersionSummary& version : secret.versions) {
    rows.push_back({"version", version.id + " " + Joined(version.labels)});
  }
  return cli.Print(answer,
                   FormatTable({"FIELD", "VALUE"}, rows, cli.terminal.output_is_terminal()));
}

Status History(Cli& cli, const std::string& name) {
  TRY_ASSIGN(const AwsClient client, cli.Client());
  TRY_ASSIGN(const AwsAnswer answer, client.ListSecretVersionIds(name));
  TRY_ASSIGN(const std::vector<VersionSummary> versions, ParseVersions(answer));
  std::vector<std::vector<std::string>> rows;
  for (const VersionSummary& version : versions | std::views::reverse) {
    rows.push_back({version.id, FormatTime(version.created_at), Joined(version.labels)});
  }
  return cli.Print(answer, FormatTable({"VERSION", "CREATED", "LABELS"}, rows,
                                       cli.terminal.output_is_terminal()));
}

struct LabelOptions {
  std::string name;
  std::string label;
  std::string to;
  std::string from;
  bool remove = false;
};

Status Label(Cli& cli, const LabelOptions& options) {
  if (options.to.empty() && !options.remove) {
    return Fail(Code::kInvalidArgument, "say --to ID, or --remove");
  }
  TRY_ASSIGN(const AwsClient client, cli.Client());
  std::string from = options.from;
  if (from.empty()) {
    TRY_ASSIGN(const AwsAnswer described, client.DescribeSecret(options.name));
    TRY_ASSIGN(const SecretSummary secret, ParseDescription(described));
    from = secret.HolderOf(options.label);
  }
  if (options.remove && from.empty()) {
    return Fail(Code::kNotFound, "no version has the label " + options.label +
                                     "; see the labels with: secretfs history " + options.name);
  }
  // AWS wants the holder only when the label moves.
  if (from == options.to) from.clear();
  TRY_ASSIGN(const AwsAnswer answer,
             client.UpdateSecretVersionStage({options.name, options.label, from, options.to}));
  return cli.Print(answer, "");
}

Status RollBack(Cli& cli, const std::string& name) {
  TRY_ASSIGN(const AwsClient client, cli.Client());
  TRY_ASSIGN(const AwsAnswer described, client.DescribeSecret(name));
  TRY_ASSIGN(const SecretSummary secret, ParseDescription(described));
  const std::string previous = secret.HolderOf(store::kPrevious);
  if (previous.empty()) {
    return Fail(Code::kNotFound,
                "no version is labelled AWSPREVIOUS, so there is nothing to go "
                "back to; choose a version with: secretfs history " +
                    name);
  }
  // The version that was current is named, so a change in between makes this fail instead of being
  // rolled back too.
  TRY_ASSIGN(const AwsAnswer answer,
             client.UpdateSecretVersionStage(
                 {name, std::string(store::kCurrent), secret.HolderOf(store::kCurrent), previous}));
  return cli.Print(answer, previous + "\n");
}

struct RemoveOptions {
  std::string name;
  std::optional<int64_t> recovery_window_days;
  bool force = false;
};

Status Remove(Cli& cli, const RemoveOptions& options) {
  TRY_ASSIGN(const AwsClient client, cli.Client());
  TRY_ASSIGN(const AwsAnswer answer,
             client.DeleteSecret(options.name, options.recovery_window_days, options.force));
  TRY_ASSIGN(const TimeMs deletion_at, ParseDeletionDate(answer));
  if (options.force) {
    cli.Note(options.name + " is destroyed");
  } else {
    cli.Note(options.name + " will be destroyed at " + FormatTime(deletion_at) +
             "; undo it with: secretfs restore " + options.name);
  }
  return cli.Print(answer, "");
}

Status Restore(Cli& cli, const std::string& name) {
  TRY_ASSIGN(const AwsClient client, cli.Client());
  TRY_ASSIGN(const AwsAnswer answer, client.RestoreSecret(name));
  return cli.Print(answer, "");
}

struct UpdateOptions {
  std::string name;
  std::optional<std::string> description;
  std::optional<std::string> kms_key;
};

Status Update(Cli& cli, const UpdateOptions& options) {
  if (!options.description && !options.kms_key) {
    return Fail(Code::kInvalidArgument, "say --kms-key KEY or --description TEXT");
  }
  AwsClient::SecretUpdate update{options.name, options.description, std::nullopt};
  if (options.kms_key) update.kms_key = KmsKeyReference(*options.kms_key);
  TRY_ASSIGN(const AwsClient client, cli.Client());
  TRY_ASSIGN(const AwsAnswer answer, client.UpdateSecret(update));
  return cli.Print(answer, "");
}

// A verb whose only argument is a name.
void AddNameVerb(CLI::App& app, Cli& cli, const std::string& verb, const std::string& description,
                 Status (*run)(Cli&, const std::string&)) {
  auto name = std::make_shared<std::string>();
  CLI::App* sub = app.add_subcommand(verb, description);
  sub->add_option("NAME", *name, "The secret's name or ARN")->required();
  sub->callback([&cli, name, verb, run] {
    cli.subject = verb + " " + *name;
    cli.run = [&cli, name, run] { return run(cli, *name); };
  });
}

void AddList(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<ListOptions>();
  CLI::App* sub = app.add_subcommand("ls", "List the secrets whose names begin with PREFIX");
  sub->alias("list");
  sub->add_option("PREFIX", options->prefix, "All if left out");
  sub->add_flag("-l,--long", options->long_format,
                "Also when changed, version, state, description");
  sub->add_flag("--deleted", options->include_deleted, "Also those marked for deletion");
  sub->callback([&cli, options] {
    cli.subject = "ls" + (options->prefix.empty() ? "" : " " + options->prefix);
    cli.run = [&cli, options] { return List(cli, *options); };
  });
}

void AddLabel(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<LabelOptions>();
  CLI::App* sub = app.add_subcommand("label", "Put a staging label on a version, or take it off");
  sub->add_option("NAME", options->name, "The secret's name or ARN")->required();
  sub->add_option("LABEL", options->label, "The staging label")->required();
  auto* to = sub->add_option("--to", options->to, "The version that gets it")->type_name("ID");
  sub->add_flag("--remove", options->remove, "Take it off")->excludes(to);
  sub->add_option("--from", options->from,
                  "The version that has it (fails if another one does; default: whichever has it)")
      ->type_name("ID");
  sub->callback([&cli, options] {
    cli.subject = "label " + options->name + " " + options->label;
    cli.run = [&cli, options] { return Label(cli, *options); };
  });
}

void AddUpdate(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<UpdateOptions>();
  CLI::App* sub = app.add_subcommand("update", "Change a secret's KMS key or description");
  sub->add_option("NAME", options->name, "The secret's name or ARN")->required();
  sub->add_option("--kms-key", options->kms_key,
                  "The KMS key from now on: id, ARN or alias; what AWSCURRENT, AWSPREVIOUS and "
                  "AWSPENDING label is encrypted again under it")
      ->type_name("KEY");
  sub->add_option("--description", options->description, "The description from now on");
  sub->callback([&cli, options] {
    cli.subject = "update " + options->name;
    cli.run = [&cli, options] { return Update(cli, *options); };
  });
}

void AddRemove(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<RemoveOptions>();
  CLI::App* sub = app.add_subcommand("rm", "Mark a secret for deletion, or destroy it at once");
  sub->add_option("NAME", options->name, "The secret's name or ARN")->required();
  auto* window = sub->add_option("--recovery-window", options->recovery_window_days,
                                 "Days in which it can be restored, 7 to 30 (default 30)");
  window->type_name("DAYS");
  sub->add_flag("--force", options->force, "Destroy it now, for good")->excludes(window);
  sub->callback([&cli, options] {
    cli.subject = "rm " + options->name;
    cli.run = [&cli, options] { return Remove(cli, *options); };
  });
}

}  // namespace

void AddSecretVerbs(CLI::App& app, Cli& cli) {
  AddList(app, cli);
  AddNameVerb(app, cli, "describe", "Show a secret's metadata", &Describe);
  AddNameVerb(app, cli, "history", "List a secret's versions, newest first", &History);
  AddLabel(app, cli);
  AddNameVerb(app, cli, "rollback", "Make the AWSPREVIOUS version current again", &RollBack);
  AddUpdate(app, cli);
  AddRemove(app, cli);
  AddNameVerb(app, cli, "restore", "Take back the deletion of a secret", &Restore);
}

}  // namespace secretfs::mount
