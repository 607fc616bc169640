#include <fcntl.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <memory>

#include "crypto/base/unique_fd.h"
#include "mount/aws_kms_client.h"
#include "mount/cli_verbs.h"
#include "mount/json_splice.h"
#include "store/json_object.h"
#include "store/secret_name.h"

namespace secretfs::mount {
namespace {

constexpr std::string_view kNoVersion = "none";

struct PutOptions {
  std::string name;
  std::string file;
  std::string key;
  std::vector<std::string> labels;
  std::optional<std::string> if_version;
  bool binary = false;
  std::string description;
  std::string kms_key;
  std::vector<std::string> tags;

  store::ValueKind kind() const {
    return binary ? store::ValueKind::kBinary : store::ValueKind::kString;
  }
};

Result<UniqueFd> OpenValueFile(const std::string& path) {
  UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.valid()) return file;
  Code code = Code::kUnavailable;
  if (errno == ENOENT || errno == ENOTDIR) code = Code::kNotFound;
  if (errno == EACCES) code = Code::kPermissionDenied;
  return FailErrno(code, "value file " + path, errno);
}

// The value, exactly as it comes, or why it can be none. `where` is for people.
Result<crypto::SecretBuffer> ReadValue(Cli& cli, const PutOptions& options, std::string& where) {
  Result<crypto::SecretBuffer> value;
  if (!options.file.empty() && options.file != "-") {
    where = "the value in " + options.file;
    TRY_ASSIGN(const UniqueFd file, OpenValueFile(options.file));
    value = Terminal::ReadAll(file.get(), store::kSecretValueBytesMax, where);
  } else if (cli.terminal.input_is_terminal() && options.file.empty()) {
    where = "the value";
    value = cli.terminal.ReadSecretLine("Value of " + Printable(options.name) + ": ",
                                        store::kSecretValueBytesMax);
  } else {
    where = "the value on standard input";
    value = cli.terminal.ReadInput(store::kSecretValueBytesMax, where);
  }
  if (!value && value.error().code == Code::kInvalidArgument) {
    return Fail(Code::kInvalidArgument, value.error().message +
                                            "; keep what is larger elsewhere, "
                                            "and its key here");
  }
  return value;
}

Status CheckValue(const crypto::SecretBuffer& value, bool binary, const std::string& where) {
  if (value.empty()) {
    return Fail(Code::kInvalidArgument, where + " is empty; a value has at least one byte");
  }
  if (!binary && !store::IsValidUtf8(AsText(value.Reveal()))) {
    return Fail(Code::kInvalidArgument, where + " is not UTF-8 text; store it with --binary");
  }
  return {};
}

// Makes the secret. CreateSecret takes no labels: with labels the secret is made empty and the
// version follows, which gives the first version AWSCURRENT besides.
Result<AwsAnswer> Create(const AwsClient& client, const PutOptions& options, ByteSpan value) {
  TRY_ASSIGN(auto tags, ParsePairs(options.tags, "tag", "with --tag"));
  AwsClient::NewSecret secret{.name = options.name,
                              .description = options.description,
                              .kms_key = KmsKeyReference(options.kms_key),
                              .tags = std::move(tags),
                              .kind = std::nullopt,
                              .value = value};
  if (options.labels.empty()) {
    secret.kind = options.kind();
    return client.CreateSecret(secret);
  }
  TRY(client.CreateSecret(secret));
  return client.PutSecretValue({options.name, options.labels, "", options.kind(), value});
}

// Adds a version, or makes the secret if there is none. `if_version` as in NewVersion.
Result<AwsAnswer> Write(const AwsClient& client, const PutOptions& options,
                        const std::optional<std::string>& if_version, ByteSpan value) {
  const AwsClient::NewVersion version{options.name, options.labels, if_version, options.kind(),
                                      value};
  const bool for_creation =
      !options.description.empty() || !options.tags.empty() || !options.kms_key.empty();
  if (for_creation) {
    auto created = Create(client, options, value);
    if (created || created.error().code != Code::kAlreadyExists) return created;
    return Fail(Code::kAlreadyExists,
                "the secret exists already, and --description, --kms-key and --tag are for making "
                "one; put the value without them, and change the others with: secretfs update " +
                    options.name);
  }
  auto put = client.PutSecretValue(version);
  const bool is_absent = !put && put.error().code == Code::kNotFound;
  if (!is_absent || !if_version.value_or("").empty()) return put;
  auto created = Create(client, options, value);
  if (created || created.error().code != Code::kAlreadyExists) return created;
  // Somebody made it since.
  return client.PutSecretValue(version);
}

// The read-modify-write of one key: the version that was read is named, so nobody's change in
// between is lost.
Result<AwsAnswer> WriteKey(const AwsClient& client, const PutOptions& options, ByteSpan value) {
  auto current = client.GetSecretValue(options.name, {});
  if (!current && current.error().code != Code::kNotFound) return current;
  crypto::SecretBuffer text = crypto::SecretBuffer::CopyOf(AsBytes("{}"));
  std::string version_id;
  if (current) {
    TRY_ASSIGN(FetchedValue fetched, ParseValue(*current));
    if (fetched.kind == store::ValueKind::kBinary) fetched.bytes.Truncate(0);
    text = std::move(fetched.bytes);
    version_id = fetched.version_id;
  }
  if (options.if_version && *options.if_version != version_id) {
    return Fail(Code::kConflict, "the secret is at version " +
                                     (version_id.empty() ? "none" : version_id) +
                                     "; read it again and retry");
  }
  auto whole = SetJsonMember(text.Reveal(), options.key, value);
  if (!whole) {
    return Fail(Code::kInvalidArgument,
                "the current value is not a JSON object; put a whole value, without --key");
  }
  if (whole->size() > store::kSecretValueBytesMax) {
    return Fail(Code::kInvalidArgument,
                "the value with this key would be longer than 65536 bytes; keep what is larger "
                "elsewhere, and its key here");
  }
  return Write(client, options, version_id, whole->Reveal());
}

Status Put(Cli& cli, PutOptions options) {
  if (options.binary && !options.key.empty()) {
    return Fail(Code::kInvalidArgument, "--key is for JSON text; leave --binary out");
  }
  if (options.if_version == kNoVersion) options.if_version = "";
  TRY(ParsePairs(options.tags, "tag", "with --tag"));
  // Nobody types a secret only to learn that its name is wrong.
  if (!options.name.starts_with("arn:")) TRY(store::SecretName::Parse(options.name));
  TRY_ASSIGN(const AwsClient client, cli.Client());
  std::string where;
  TRY_ASSIGN(const crypto::SecretBuffer value, ReadValue(cli, options, where));
  TRY(CheckValue(value, options.binary, where));
  if (value.Reveal().back() == '\n') {
    cli.Note(where + " ends with a newline, which is stored as part of it");
  }
  TRY_ASSIGN(const AwsAnswer answer,
             options.key.empty() ? Write(client, options, options.if_version, value.Reveal())
                                 : WriteKey(client, options, value.Reveal()));
  TRY_ASSIGN(const std::string version_id, ParseVersionId(answer));
  return cli.Print(answer, version_id + "\n");
}

struct GetOptions {
  std::string name;
  std::optional<std::string> key;
  store::VersionSelector selector;
};

Result<crypto::SecretBuffer> KeyContent(const FetchedValue& value, const std::string& key) {
  const auto members = value.kind == store::ValueKind::kString
                           ? store::ScanJsonObject(value.bytes.Reveal())
                           : std::nullopt;
  if (!members) {
    return Fail(Code::kInvalidArgument,
                "the value is not a JSON object; get it whole, without "
                "--key");
  }
  const auto found = std::ranges::find(*members, key, &store::JsonMember::key);
  if (found == members->end()) {
    return Fail(Code::kNotFound, "the value has no key " + key +
                                     "; see its keys in the directory _keys of the mount");
  }
  return store::JsonMemberContent(value.bytes.Reveal(), *found);
}

Status Get(Cli& cli, const GetOptions& options) {
  TRY_ASSIGN(const AwsClient client, cli.Client());
  TRY_ASSIGN(const AwsAnswer answer, client.GetSecretValue(options.name, options.selector));
  if (cli.json && !options.key) return cli.Print(answer, "");
  TRY_ASSIGN(const FetchedValue value, ParseValue(answer));
  if (options.key) {
    TRY_ASSIGN(const crypto::SecretBuffer content, KeyContent(value, *options.key));
    return cli.terminal.WriteBytes(content.Reveal());
  }
  if (value.kind == store::ValueKind::kBinary && cli.terminal.output_is_terminal()) {
    return Fail(Code::kInvalidArgument,
                "the value is binary and would garble the terminal; send it to a file with: "
                "secretfs get " +
                    options.name + " > FILE");
  }
  return cli.terminal.WriteBytes(value.bytes.Reveal());
}

void AddPut(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<PutOptions>();
  CLI::App* sub = app.add_subcommand("put", "Store a new value: from standard input, or typed");
  sub->add_option("NAME", options->name, "The secret; made if there is none")->required();
  sub->add_option("--file", options->file, "Take the value from PATH (-: standard input)")
      ->type_name("PATH");
  sub->add_option("-k,--key", options->key,
                  "Replace only this top-level key of a JSON value, by the value as a string")
      ->type_name("KEY");
  sub->add_option("-l,--label", options->labels,
                  "Staging label of the new version; repeatable (default AWSCURRENT)")
      ->type_name("LABEL")
      ->allow_extra_args(false);
  sub->add_option("--if-version", options->if_version,
                  "Only if this is the current version (none: only if there is none)")
      ->type_name("ID");
  sub->add_flag("--binary", options->binary, "The value is bytes, not UTF-8 text");
  sub->add_option("--description", options->description, "Of a secret that this makes");
  sub->add_option("--kms-key", options->kms_key,
                  "The KMS key of a secret that this makes: id, ARN or alias (default "
                  "alias/aws/secretsmanager)")
      ->type_name("KEY");
  sub->add_option("--tag", options->tags, "Of a secret that this makes; repeatable")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  sub->callback([&cli, options] {
    cli.subject = "put " + options->name;
    cli.run = [&cli, options] { return Put(cli, *options); };
  });
}

void AddGet(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<GetOptions>();
  CLI::App* sub = app.add_subcommand("get", "Write a value to standard output, byte for byte");
  sub->add_option("NAME", options->name, "The secret's name or ARN")->required();
  sub->add_option("-k,--key", options->key, "Only this top-level key of a JSON value")
      ->type_name("KEY");
  auto* label = sub->add_option("-l,--label", options->selector.version_stage,
                                "The version with this staging label (default AWSCURRENT)");
  label->type_name("LABEL");
  sub->add_option("-V,--version-id", options->selector.version_id, "This version")
      ->type_name("ID")
      ->excludes(label);
  sub->callback([&cli, options] {
    cli.subject = "get " + options->name;
    cli.run = [&cli, options] { return Get(cli, *options); };
  });
}

}  // namespace

Result<std::map<std::string, std::string>> ParsePairs(const std::vector<std::string>& texts,
                                                      const std::string& what,
                                                      const std::string& how) {
  std::map<std::string, std::string> pairs;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Fail(
          Code::kInvalidArgument,
          what + " " + text + " is not of the form NAME=VALUE; give it " + how + " NAME=VALUE");
    }
    pairs[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return pairs;
}

void AddValueVerbs(CLI::App& app, Cli& cli) {
  AddPut(app, cli);
  AddGet(app, cli);
}

}  // namespace secretfs::mount
