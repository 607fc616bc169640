// secretfs key: the verbs that make, show and change KMS keys.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <utility>

#include "mount/cli_key.h"

namespace secretfs::mount {
namespace {

struct CreateOptions {
  std::string key;  // None: the alias, if there is one.
  std::string description;
  std::string spec = "SYMMETRIC_DEFAULT";
  std::string usage;
  std::string policy_file;
  std::vector<std::string> tags;
  bool external = false;
};

// AWS wants it said for all but symmetric keys; where a spec has one usage there is nothing to say.
std::string UsageOf(const std::string& spec, const std::string& usage) {
  if (!usage.empty()) return AwsWord(usage);
  if (spec.starts_with("HMAC_")) return "GENERATE_VERIFY_MAC";
  const bool only_signs =
      spec.starts_with("ML_DSA_") || spec == "ECC_SECG_P256K1" || spec == "ECC_NIST_EDWARDS25519";
  return only_signs ? "SIGN_VERIFY" : "";
}

Status Create(Cli& cli, const CreateOptions& options) {
  TRY_ASSIGN(const auto tags, ParsePairs(options.tags, "tag", "with --tag"));
  const std::string spec = AwsWord(options.spec);
  KmsRequest request("CreateKey");
  request.Text("Description", options.description)
      .Text("KeySpec", spec)
      .Text("KeyUsage", UsageOf(spec, options.usage))
      .Text("Origin", options.external ? "EXTERNAL" : "")
      .Tags("Tags", tags);
  if (!options.policy_file.empty()) {
    TRY_ASSIGN(const crypto::SecretBuffer policy,
               ReadData(cli, {options.policy_file, "the policy", kPolicyBytesMax}));
    request.Text("Policy", AsText(policy.Reveal()));
  }
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  TRY_ASSIGN(const AwsAnswer answer, client.Call(request));
  TRY_ASSIGN(const KmsKeySummary key, ParseKeyMetadata(answer));
  if (!options.key.empty()) {
    const auto named = client.Call(KmsRequest("CreateAlias")
                                       .Text("AliasName", KmsKeyReference(options.key))
                                       .Text("TargetKeyId", key.id));
    if (!named) {
      return Fail(named.error().code,
                  "the key " + key.id + " was made, but not its alias: " + named.error().message +
                      "; name it with: secretfs key alias create ALIAS " + key.id);
    }
  }
  return cli.Print(answer, key.id + "\n");
}

struct ListOptions {
  std::string key;
  bool long_format = false;
};

Status List(Cli& cli, const ListOptions& options) {
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  TRY_ASSIGN(const AwsAnswer answer, client.CallAll(KmsRequest("ListKeys"), "Keys"));
  if (cli.json) return cli.Print(answer, "");
  TRY_ASSIGN(const std::vector<std::string> ids, ParseKeyIds(answer));
  TRY_ASSIGN(const AwsAnswer named, client.CallAll(KmsRequest("ListAliases"), "Aliases"));
  TRY_ASSIGN(const std::vector<KmsAliasSummary> aliases, ParseAliases(named));
  std::vector<std::vector<std::string>> rows;
  for (const std::string& id : ids) {
    std::vector<std::string> names;
    for (const KmsAliasSummary& alias : aliases) {
      if (alias.target_id == id) names.push_back(alias.name);
    }
    rows.push_back({id, JoinWords(names)});
    if (!options.long_format) continue;
    TRY_ASSIGN(const AwsAnswer described, client.Call(KmsRequest("DescribeKey").Text("KeyId", id)));
    TRY_ASSIGN(const KmsKeySummary key, ParseKeyMetadata(described));
    for (const std::string& cell : {key.state, key.spec, key.usage, key.description}) {
      rows.back().push_back(cell);
    }
  }
  // Those that have names by their names, which are the second column.
  std::ranges::sort(rows, {}, [](const auto& row) { return std::pair(row[1].empty(), row[1]); });
  std::vector<std::string> header = {"KEY", "ALIASES"};
  if (options.long_format) {
    header.insert(header.end(), {"STATE", "SPEC", "USAGE", "DESCRIPTION"});
  }
  return cli.terminal.Write(FormatTable(header, rows, cli.terminal.output_is_terminal()));
}

struct KeyOptions {
  std::string key;
};
using Rows = std::vector<std::vector<std::string>>;

// What other operations say of the key. Who may not ask them sees less.
void AppendMore(const KmsClient& client, const KmsKeySummary& key, Rows& rows) {
  const auto ask = [&](const char* operation, const char* list) {
    KmsRequest request(operation);
    request.Text("KeyId", key.arn);
    return *list == '\0' ? client.Call(request) : client.CallAll(request, list);
  };
  if (const auto answer = ask("ListAliases", "Aliases")) {
    if (const auto aliases = ParseAliases(*answer)) {
      for (const KmsAliasSummary& alias : *aliases) rows.push_back({"alias", alias.name});
    }
  }
  if (const auto answer = ask("ListResourceTags", "Tags")) {
    if (const auto tags = ParseKeyTags(*answer)) {
      for (const auto& [name, value] : *tags) rows.push_back({"tag", name + "=" + value});
    }
  }
  if (key.spec != "SYMMETRIC_DEFAULT") return;
  if (const auto answer = ask("GetKeyRotationStatus", "")) {
    const auto status = ParseRotationStatus(*answer);
    if (status && status->enabled) {
      rows.push_back({"rotation", "every " + std::to_string(status->period_days) + " days, next " +
                                      FormatTime(status->next_at)});
    }
  }
}

Status Describe(Cli& cli, const KeyOptions& options) {
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  TRY_ASSIGN(const AwsAnswer answer,
             client.Call(KmsRequest("DescribeKey").Text("KeyId", KmsKeyReference(options.key))));
  if (cli.json) return cli.Print(answer, "");
  TRY_ASSIGN(const KmsKeySummary key, ParseKeyMetadata(answer));
  Rows rows = {
      {"id", key.id},         {"arn", key.arn},         {"state", key.state},
      {"spec", key.spec},     {"usage", key.usage},     {"algorithms", JoinWords(key.algorithms)},
      {"origin", key.origin}, {"manager", key.manager}, {"created", FormatTime(key.created_at)}};
  if (key.deletion_at) rows.push_back({"deletion", FormatTime(*key.deletion_at)});
  if (key.valid_to) rows.push_back({"expires", FormatTime(*key.valid_to)});
  if (!key.material_id.empty()) rows.push_back({"material", key.material_id});
  if (!key.description.empty()) rows.push_back({"description", key.description});
  AppendMore(client, key, rows);
  return cli.terminal.Write(
      FormatTable({"FIELD", "VALUE"}, rows, cli.terminal.output_is_terminal()));
}

// An operation that names a key and has nothing to say.
Status ChangeKey(Cli& cli, KmsRequest& request, const std::string& key) {
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  TRY_ASSIGN(const std::string id, client.WithoutAlias(KmsKeyReference(key)));
  TRY_ASSIGN(const AwsAnswer answer, client.Call(request.Text("KeyId", id)));
  return cli.Print(answer, "");
}

Status Enable(Cli& cli, const KeyOptions& options) {
  KmsRequest request("EnableKey");
  return ChangeKey(cli, request, options.key);
}

Status Disable(Cli& cli, const KeyOptions& options) {
  KmsRequest request("DisableKey");
  TRY(ChangeKey(cli, request, options.key));
  cli.Note("nothing under the key can be read until: secretfs key enable " + options.key);
  return {};
}

Status CancelDeletion(Cli& cli, const KeyOptions& options) {
  KmsRequest request("CancelKeyDeletion");
  TRY(ChangeKey(cli, request, options.key));
  cli.Note("the key is disabled now; enable it with: secretfs key enable " + options.key);
  return {};
}

struct UpdateOptions {
  std::string key;
  std::string description;
};

Status Update(Cli& cli, const UpdateOptions& options) {
  KmsRequest request("UpdateKeyDescription");
  return ChangeKey(cli, request.TextOrEmpty("Description", options.description), options.key);
}

struct RotateOptions {
  std::string key;
  std::optional<int64_t> every_days;
  bool never = false;
  bool history = false;
};

Status ShowRotations(Cli& cli, const std::string& key) {
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  TRY_ASSIGN(const std::string id, client.WithoutAlias(KmsKeyReference(key)));
  TRY_ASSIGN(const AwsAnswer answer,
             client.CallAll(KmsRequest("ListKeyRotations")
                                .Text("KeyId", id)
                                .Text("IncludeKeyMaterial", "ALL_KEY_MATERIAL"),
                            "Rotations"));
  TRY_ASSIGN(const std::vector<KmsRotationSummary> rotations, ParseRotations(answer));
  Rows rows;
  for (const KmsRotationSummary& rotation : rotations) {
    rows.push_back({rotation.rotated_at == 0 ? "-" : FormatTime(rotation.rotated_at),
                    rotation.type.empty() ? "-" : rotation.type, rotation.state,
                    rotation.material_id});
  }
  return cli.Print(answer, FormatTable({"ROTATED", "TYPE", "STATE", "MATERIAL"}, rows,
                                       cli.terminal.output_is_terminal()));
}

Status Rotate(Cli& cli, const RotateOptions& options) {
  if (options.history) return ShowRotations(cli, options.key);
  KmsRequest request(options.every_days ? "EnableKeyRotation"
                     : options.never    ? "DisableKeyRotation"
                                        : "RotateKeyOnDemand");
  request.Number("RotationPeriodInDays", options.every_days);
  return ChangeKey(cli, request, options.key);
}

struct DeletionOptions {
  std::string key;
  std::optional<int64_t> days;
  bool yes = false;
};

Status ScheduleDeletion(Cli& cli, const DeletionOptions& options) {
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  TRY_ASSIGN(const std::string id, client.WithoutAlias(KmsKeyReference(options.key)));
  auto answer = client.Call(KmsRequest("ScheduleKeyDeletion")
                                .Text("KeyId", id)
                                .Number("PendingWindowInDays", options.days)
                                .Flag("Confirm", options.yes));
  if (!answer && answer.error().code == Code::kConflict && !options.yes) {
    std::string message = answer.error().message;
    if (message.ends_with('.')) message.pop_back();
    return Fail(Code::kConflict, message +
                                     "; move them to another key with secretfs update NAME "
                                     "--kms-key KEY, or give --yes to make them unreadable");
  }
  if (!answer) return std::unexpected(std::move(answer).error());
  TRY_ASSIGN(const TimeMs deletion_at, ParseTimeMember(*answer, "DeletionDate"));
  cli.Note("the key is destroyed at " + FormatTime(deletion_at) +
           ", and unusable until then; undo it with: secretfs key cancel-deletion " + options.key);
  return cli.Print(*answer, FormatTime(deletion_at) + "\n");
}

struct TagOptions {
  std::string key;
  std::vector<std::string> tags;
};

Status Tag(Cli& cli, const TagOptions& options) {
  TRY_ASSIGN(const auto tags, ParsePairs(options.tags, "tag", "as"));
  KmsRequest request("TagResource");
  return ChangeKey(cli, request.Tags("Tags", tags), options.key);
}

Status Untag(Cli& cli, const TagOptions& options) {
  KmsRequest request("UntagResource");
  return ChangeKey(cli, request.Texts("TagKeys", options.tags), options.key);
}

void AddCreate(const KeyVerbs& verbs) {
  auto options = std::make_shared<CreateOptions>();
  CLI::App& sub =
      verbs.Add({"create", "Make a KMS key, and print its id",
                 "secretfs key create --alias signing --spec ecc-nist-p256 --usage sign-verify"},
                KeyOf(options), [&cli = verbs.cli(), options] { return Create(cli, *options); });
  sub.add_option("--alias", options->key, "Its first alias")->type_name("ALIAS");
  sub.add_option("--spec", options->spec,
                 "symmetric-default (default), rsa-2048, rsa-3072, rsa-4096, ecc-nist-p256, "
                 "ecc-nist-p384, ecc-nist-p521, ecc-secg-p256k1, ecc-nist-edwards25519, hmac-224, "
                 "hmac-256, hmac-384, hmac-512");
  sub.add_option("--usage", options->usage,
                 "encrypt-decrypt, sign-verify, key-agreement, generate-verify-mac; needed where "
                 "the spec leaves a choice");
  sub.add_option("--description", options->description, "What it is for");
  sub.add_option("--tag", options->tags, "A tag; repeatable")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  sub.add_option("--policy", options->policy_file,
                 "The key policy, a JSON file (default: the account decides)")
      ->type_name("PATH");
  sub.add_flag("--external", options->external, "Without key material, which you will import");
}

template <typename Options>
CLI::App& AddSimple(const KeyVerbs& verbs, const KeyVerbs::Text& text,
                    const std::shared_ptr<Options>& options, Status (*run)(Cli&, const Options&)) {
  CLI::App& sub = verbs.Add(text, KeyOf(options),
                            [&cli = verbs.cli(), options, run] { return run(cli, *options); });
  AddKeyArgument(sub, options->key);
  return sub;
}

void AddRotateAndDeletion(const KeyVerbs& verbs) {
  auto rotate = std::make_shared<RotateOptions>();
  CLI::App& rotating =
      AddSimple(verbs,
                {"rotate", "Give a key new material now; what was encrypted stays readable",
                 "secretfs key rotate web --every 90"},
                rotate, &Rotate);
  auto* every = rotating.add_option("--every", rotate->every_days,
                                    "Instead: by itself every so many days, 90 to 2560");
  every->type_name("DAYS");
  auto* never = rotating.add_flag("--never", rotate->never, "Instead: no longer by itself");
  never->excludes(every);
  rotating.add_flag("--history", rotate->history, "Instead: list its materials and rotations")
      ->excludes(every)
      ->excludes(never);

  auto deletion = std::make_shared<DeletionOptions>();
  CLI::App& deleting = AddSimple(
      verbs,
      {"schedule-deletion", "Make a key unusable now, and destroy it after a waiting period"},
      deletion, &ScheduleDeletion);
  deleting.add_option("--days", deletion->days, "The waiting period, 7 to 30 (default 30)")
      ->type_name("DAYS");
  deleting.add_flag("-y,--yes", deletion->yes, "Even if secrets are encrypted under it");
  AddSimple(verbs, {"cancel-deletion", "Take back a key's deletion; it is disabled then"},
            std::make_shared<KeyOptions>(), &CancelDeletion);
}

}  // namespace

void AddKeyManagement(const KeyVerbs& verbs) {
  AddCreate(verbs);
  auto list = std::make_shared<ListOptions>();
  CLI::App& listing = verbs.Add({"ls", "List the KMS keys and their aliases"}, KeyOf(list),
                                [&cli = verbs.cli(), list] { return List(cli, *list); });
  listing.add_flag("-l,--long", list->long_format, "Also state, spec, usage, description");
  AddSimple(verbs, {"describe", "Show a key's metadata"}, std::make_shared<KeyOptions>(),
            &Describe);
  AddSimple(verbs, {"enable", "Make a disabled key usable again"}, std::make_shared<KeyOptions>(),
            &Enable);
  AddSimple(verbs, {"disable", "Make a key, and all that is encrypted under it, unusable"},
            std::make_shared<KeyOptions>(), &Disable);
  auto update = std::make_shared<UpdateOptions>();
  AddSimple(verbs, {"update", "Change a key's description"}, update, &Update)
      .add_option("--description", update->description, "The description from now on")
      ->required();
  AddRotateAndDeletion(verbs);
  auto tag = std::make_shared<TagOptions>();
  AddSimple(verbs, {"tag", "Put tags on a key", "secretfs key tag web team=payments"}, tag, &Tag)
      .add_option("TAG", tag->tags, "NAME=VALUE")
      ->required();
  auto untag = std::make_shared<TagOptions>();
  AddSimple(verbs, {"untag", "Take tags off a key", "secretfs key untag web team"}, untag, &Untag)
      .add_option("NAME", untag->tags, "Names of tags")
      ->required();
}

}  // namespace secretfs::mount
