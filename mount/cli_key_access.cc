// secretfs key alias, grant, policy: who may call a key what, and who may use it.

#include <CLI/CLI.hpp>
#include <memory>

#include "mount/cli_key.h"

namespace secretfs::mount {
namespace {

using Rows = std::vector<std::vector<std::string>>;

struct AliasOptions {
  std::string key;  // What the verb is about: the alias.
  std::string target;
};

Status WriteAlias(Cli& cli, const char* operation, const AliasOptions& options) {
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  KmsRequest request(operation);
  request.Text("AliasName", KmsKeyReference(options.key));
  if (!options.target.empty()) {
    TRY_ASSIGN(const std::string target, client.WithoutAlias(KmsKeyReference(options.target)));
    request.Text("TargetKeyId", target);
  }
  TRY_ASSIGN(const AwsAnswer answer, client.Call(request));
  return cli.Print(answer, "");
}

Status ListAliases(Cli& cli, const std::string& key) {
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  KmsRequest request("ListAliases");
  if (!key.empty()) {
    TRY_ASSIGN(const std::string id, client.WithoutAlias(KmsKeyReference(key)));
    request.Text("KeyId", id);
  }
  TRY_ASSIGN(const AwsAnswer answer, client.CallAll(request, "Aliases"));
  TRY_ASSIGN(const std::vector<KmsAliasSummary> aliases, ParseAliases(answer));
  Rows rows;
  for (const KmsAliasSummary& alias : aliases) {
    rows.push_back({alias.name, alias.target_id.empty() ? "-" : alias.target_id});
  }
  return cli.Print(answer, FormatTable({"ALIAS", "KEY"}, rows, cli.terminal.output_is_terminal()));
}

void AddAliases(const KeyVerbs& verbs) {
  const KeyVerbs group = verbs.AddGroup({"alias", "Names for KMS keys"});
  Cli& cli = verbs.cli();
  const auto add = [&](const KeyVerbs::Text& text, const char* operation, bool has_target) {
    auto options = std::make_shared<AliasOptions>();
    CLI::App& sub = group.Add(text, KeyOf(options), [&cli, options, operation] {
      return WriteAlias(cli, operation, *options);
    });
    sub.add_option("ALIAS", options->key, "With or without alias/")->required();
    if (has_target) AddKeyArgument(sub, options->target);
  };
  add({"create", "Give a key a new alias"}, "CreateAlias", true);
  add({"update", "Make an alias point to another key"}, "UpdateAlias", true);
  add({"rm", "Remove an alias; its key stays"}, "DeleteAlias", false);
  auto list = std::make_shared<AliasOptions>();
  CLI::App& listing = group.Add({"ls", "List aliases, of one key or all"}, KeyOf(list),
                                [&cli, list] { return ListAliases(cli, list->key); });
  AddKeyArgument(listing, list->key, /*required=*/false);
}

struct GrantOptions {
  std::string key;
  std::string grantee;
  std::string retiring;
  std::string name;
  std::vector<std::string> operations;
  std::vector<std::string> context;
  std::vector<std::string> context_subset;
  std::vector<std::string> grant_tokens;
};

Status CreateGrant(Cli& cli, const GrantOptions& options) {
  TRY_ASSIGN(const auto equals, ParsePairs(options.context, "context", "with --context"));
  TRY_ASSIGN(const auto subset,
             ParsePairs(options.context_subset, "context", "with --context-subset"));
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  TRY_ASSIGN(const std::string id, client.WithoutAlias(KmsKeyReference(options.key)));
  KmsRequest constraints("");
  constraints.Map("EncryptionContextEquals", equals).Map("EncryptionContextSubset", subset);
  TRY_ASSIGN(const AwsAnswer answer, client.Call(KmsRequest("CreateGrant")
                                                     .Text("KeyId", id)
                                                     .Text("GranteePrincipal", options.grantee)
                                                     .Text("RetiringPrincipal", options.retiring)
                                                     .Texts("Operations", options.operations)
                                                     .Object("Constraints", constraints)
                                                     .Texts("GrantTokens", options.grant_tokens)
                                                     .Text("Name", options.name)));
  TRY_ASSIGN(const std::string grant_id, ParseTextMember(answer, "GrantId"));
  return cli.Print(answer, grant_id + "\n");
}

struct ListGrantsOptions {
  std::string key;
  std::string grantee;
  std::string retirable_by;
};

Status ListGrants(Cli& cli, const ListGrantsOptions& options) {
  if (options.key.empty() == options.retirable_by.empty()) {
    return Fail(Code::kInvalidArgument, "say either KEY, or --retirable-by PRINCIPAL");
  }
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  KmsRequest request(options.key.empty() ? "ListRetirableGrants" : "ListGrants");
  request.Text("RetiringPrincipal", options.retirable_by);
  if (!options.key.empty()) {
    TRY_ASSIGN(const std::string id, client.WithoutAlias(KmsKeyReference(options.key)));
    request.Text("KeyId", id).Text("GranteePrincipal", options.grantee);
  }
  TRY_ASSIGN(const AwsAnswer answer, client.CallAll(request, "Grants"));
  TRY_ASSIGN(const std::vector<KmsGrantSummary> grants, ParseGrants(answer));
  Rows rows;
  for (const KmsGrantSummary& grant : grants) {
    rows.push_back({grant.id, grant.grantee, JoinWords(grant.operations), grant.name,
                    grant.retiring, grant.constraints, grant.key});
  }
  return cli.Print(answer, FormatTable({"GRANT", "GRANTEE", "OPERATIONS", "NAME", "RETIRED BY",
                                        "CONSTRAINTS", "KEY"},
                                       rows, cli.terminal.output_is_terminal()));
}

struct EndGrantOptions {
  std::string key;
  std::string grant_id;
  std::string token;
};

Status EndGrant(Cli& cli, const char* operation, const EndGrantOptions& options) {
  const bool by_id = !options.key.empty() && !options.grant_id.empty();
  if (by_id != options.token.empty()) {
    return Fail(Code::kInvalidArgument, "say either KEY and GRANT, or --token TOKEN");
  }
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  KmsRequest request(operation);
  if (by_id) {
    TRY_ASSIGN(const std::string id, client.WithoutAlias(KmsKeyReference(options.key)));
    request.Text("KeyId", id).Text("GrantId", options.grant_id);
  }
  TRY_ASSIGN(const AwsAnswer answer, client.Call(request.Text("GrantToken", options.token)));
  return cli.Print(answer, "");
}

void AddCreateGrant(const KeyVerbs& group) {
  auto options = std::make_shared<GrantOptions>();
  CLI::App& sub = group.Add(
      {"create", "Let a principal use a key, and print the grant's id",
       "secretfs key grant create web --to arn:aws:iam::000000000000:user/ann --allow Decrypt"},
      KeyOf(options), [&cli = group.cli(), options] { return CreateGrant(cli, *options); });
  AddKeyArgument(sub, options->key);
  sub.add_option("--to", options->grantee, "Who gets it")->type_name("PRINCIPAL")->required();
  sub.add_option("--allow", options->operations, "An operation, as AWS names it; repeatable")
      ->type_name("OPERATION")
      ->allow_extra_args(false)
      ->required();
  sub.add_option("--retirable-by", options->retiring, "Who may give it up")->type_name("PRINCIPAL");
  sub.add_option("--name", options->name, "The same request with a name makes no second grant");
  auto* equals = sub.add_option("-c,--context", options->context,
                                "Only with exactly these pairs of encryption context; repeatable");
  equals->type_name("NAME=VALUE")->allow_extra_args(false);
  sub.add_option("--context-subset", options->context_subset,
                 "Only with these pairs among others; repeatable")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false)
      ->excludes(equals);
  sub.add_option("--grant-token", options->grant_tokens, "Of a grant that is new; repeatable")
      ->type_name("TOKEN")
      ->allow_extra_args(false);
}

void AddGrants(const KeyVerbs& verbs) {
  const KeyVerbs group =
      verbs.AddGroup({"grant", "Permissions to use a KMS key (kept, not enforced yet)"});
  Cli& cli = verbs.cli();
  AddCreateGrant(group);
  auto list = std::make_shared<ListGrantsOptions>();
  CLI::App& listing = group.Add({"ls", "List the grants of a key, or those that one may retire"},
                                KeyOf(list), [&cli, list] { return ListGrants(cli, *list); });
  AddKeyArgument(listing, list->key, /*required=*/false);
  listing.add_option("--to", list->grantee, "Only this grantee's")->type_name("PRINCIPAL");
  listing.add_option("--retirable-by", list->retirable_by, "Instead: of all keys, those of one")
      ->type_name("PRINCIPAL");

  auto retire = std::make_shared<EndGrantOptions>();
  CLI::App& retiring =
      group.Add({"retire", "Give up a grant that you no longer need"}, KeyOf(retire),
                [&cli, retire] { return EndGrant(cli, "RetireGrant", *retire); });
  AddKeyArgument(retiring, retire->key, /*required=*/false);
  retiring.add_option("GRANT", retire->grant_id, "The grant's id");
  retiring.add_option("--token", retire->token, "The grant's token, instead of both");

  auto revoke = std::make_shared<EndGrantOptions>();
  CLI::App& revoking = group.Add({"revoke", "Take a grant away"}, KeyOf(revoke),
                                 [&cli, revoke] { return EndGrant(cli, "RevokeGrant", *revoke); });
  AddKeyArgument(revoking, revoke->key);
  revoking.add_option("GRANT", revoke->grant_id, "The grant's id")->required();
}

struct PolicyOptions {
  std::string key;
  std::string file;
  bool bypass = false;
};

Status GetPolicy(Cli& cli, const PolicyOptions& options) {
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  TRY_ASSIGN(const std::string id, client.WithoutAlias(KmsKeyReference(options.key)));
  TRY_ASSIGN(const AwsAnswer answer, client.Call(KmsRequest("GetKeyPolicy").Text("KeyId", id)));
  TRY_ASSIGN(const std::string policy, ParseTextMember(answer, "Policy"));
  return cli.Print(answer, policy + (policy.ends_with('\n') ? "" : "\n"));
}

Status SetPolicy(Cli& cli, const PolicyOptions& options) {
  TRY_ASSIGN(const crypto::SecretBuffer policy,
             ReadData(cli, {options.file, "the policy", kPolicyBytesMax}));
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  TRY_ASSIGN(const std::string id, client.WithoutAlias(KmsKeyReference(options.key)));
  TRY_ASSIGN(const AwsAnswer answer,
             client.Call(KmsRequest("PutKeyPolicy")
                             .Text("KeyId", id)
                             .Text("Policy", AsText(policy.Reveal()))
                             .Flag("BypassPolicyLockoutSafetyCheck", options.bypass)));
  return cli.Print(answer, "");
}

void AddPolicies(const KeyVerbs& verbs) {
  const KeyVerbs group =
      verbs.AddGroup({"policy", "The policy document of a KMS key (kept, not enforced yet)"});
  Cli& cli = verbs.cli();
  auto get = std::make_shared<PolicyOptions>();
  AddKeyArgument(group.Add({"get", "Write a key's policy to standard output"}, KeyOf(get),
                           [&cli, get] { return GetPolicy(cli, *get); }),
                 get->key);
  auto set = std::make_shared<PolicyOptions>();
  CLI::App& setting =
      group.Add({"set", "Replace a key's policy", "secretfs key policy set web --file policy.json"},
                KeyOf(set), [&cli, set] { return SetPolicy(cli, *set); });
  AddKeyArgument(setting, set->key);
  setting.add_option("--file", set->file, "Take it from PATH (default: standard input)")
      ->type_name("PATH");
  setting.add_flag("--bypass-lockout-check", set->bypass,
                   "Even if it does not let you change the policy again");
}

}  // namespace

void AddKeyAccess(const KeyVerbs& verbs) {
  AddAliases(verbs);
  AddGrants(verbs);
  AddPolicies(verbs);
}

}  // namespace secretfs::mount
