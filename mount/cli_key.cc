#include "mount/cli_key.h"

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cerrno>

#include "crypto/base/unique_fd.h"
#include "crypto/base64.h"
#include "store/secret_name.h"

namespace secretfs::mount {
namespace {

Result<UniqueFd> OpenDataFile(const std::string& path, const char* what) {
  UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.valid()) return file;
  Code code = Code::kUnavailable;
  if (errno == ENOENT || errno == ENOTDIR) code = Code::kNotFound;
  if (errno == EACCES) code = Code::kPermissionDenied;
  return FailErrno(code, std::string(what) + " in " + path, errno);
}

Result<crypto::SecretBuffer> ReadRaw(Cli& cli, const DataInput& input, size_t limit) {
  if (!input.file.empty() && input.file != "-") {
    TRY_ASSIGN(const UniqueFd file, OpenDataFile(input.file, input.what));
    return Terminal::ReadAll(file.get(), limit, input.what + (" in " + input.file));
  }
  if (cli.terminal.input_is_terminal() && input.file.empty()) {
    std::string prompt = input.what;
    if (prompt.starts_with("the ")) prompt = prompt.substr(4);
    prompt[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(prompt[0])));
    return cli.terminal.ReadSecretLine(prompt + ": ", limit);
  }
  return cli.terminal.ReadInput(limit, std::string(input.what) + " on standard input");
}

// base64(1) and e-mail break lines.
crypto::SecretBuffer WithoutSpace(const crypto::SecretBuffer& text) {
  crypto::SecretBuffer dense(text.size());
  size_t size = 0;
  for (const uint8_t byte : text.Reveal()) {
    if (std::isspace(byte) == 0) dense.Writable()[size++] = byte;
  }
  dense.Truncate(size);
  return dense;
}

crypto::SecretBuffer Encoded(ByteSpan bytes, bool base64) {
  if (!base64) return crypto::SecretBuffer::CopyOf(bytes);
  crypto::SecretBuffer text = crypto::Base64Encode(bytes);
  text.Append(AsBytes("\n"));
  return text;
}

}  // namespace

KeyVerbs::KeyVerbs(CLI::App& app, Cli& cli, std::string words)
    : app_(app), cli_(cli), words_(std::move(words)) {
  app_.require_subcommand(1);
}

CLI::App& KeyVerbs::Add(const Text& text, std::shared_ptr<const std::string> about,
                        std::function<Status()> run) const {
  CLI::App* sub = app_.add_subcommand(text.name, text.description);
  if (*text.example != '\0') sub->footer(std::string("Example: ") + text.example);
  const std::string verb = words_ + " " + text.name;
  sub->callback([&cli = cli_, verb, about = std::move(about), run = std::move(run)] {
    cli.verb = verb;
    cli.subject = verb + (about->empty() ? "" : " " + *about);
    cli.run = run;
  });
  return *sub;
}

KeyVerbs KeyVerbs::AddGroup(const Text& text) const {
  CLI::App* sub = app_.add_subcommand(text.name, text.description);
  return {*sub, cli_, words_ + " " + text.name};
}

void AddKeyArgument(CLI::App& app, std::string& key, bool required) {
  app.add_option("KEY", key, "Key id, ARN or alias (with or without alias/)")->required(required);
}

void AddInputOptions(CLI::App& app, DataOptions& options, const char* what) {
  app.add_option("--file", options.file,
                 "Take " + std::string(what) + " from PATH (default: standard input)")
      ->type_name("PATH");
}

void AddOutputOptions(CLI::App& app, DataOptions& options) {
  app.add_flag("--base64", options.base64,
               "Ciphertexts, signatures, MACs and keys as base64 text, in and out");
  app.add_flag("--force", options.force, "Write raw bytes even to a terminal");
}

Result<crypto::SecretBuffer> ReadData(Cli& cli, const DataInput& input) {
  // Four characters for three bytes, and line breaks.
  const size_t limit = input.base64 ? 2 * input.bytes_max : input.bytes_max;
  TRY_ASSIGN(crypto::SecretBuffer data, ReadRaw(cli, input, limit));
  if (input.base64) {
    auto decoded = crypto::Base64Decode(WithoutSpace(data).Reveal());
    if (!decoded) {
      return Fail(Code::kInvalidArgument,
                  std::string(input.what) + " is not base64; leave --base64 out for raw bytes");
    }
    data = *std::move(decoded);
  }
  if (data.empty()) {
    return Fail(Code::kInvalidArgument,
                std::string(input.what) + " is empty; pipe it in, or name it with --file");
  }
  if (data.size() > input.bytes_max) {
    return Fail(Code::kInvalidArgument, std::string(input.what) + " is longer than " +
                                            std::to_string(input.bytes_max) + " bytes");
  }
  return data;
}

Status WriteData(Cli& cli, ByteSpan bytes, const DataOptions& options) {
  if (!options.base64 && !options.force && cli.terminal.output_is_terminal()) {
    return Fail(Code::kInvalidArgument,
                "the output is raw bytes and would garble the terminal; send it to a file, or give "
                "--base64 (or --force)");
  }
  return cli.terminal.WriteBytes(Encoded(bytes, options.base64).Reveal());
}

bool IsPrintable(ByteSpan bytes) {
  return store::IsValidUtf8(AsText(bytes)) && std::ranges::all_of(bytes, [](uint8_t byte) {
           return byte == '\n' || byte == '\t' || (byte >= 0x20 && byte != 0x7F);
         });
}

Result<crypto::SecretBuffer> PublicKeyDer(const crypto::SecretBuffer& text) {
  constexpr std::string_view kBegin = "-----BEGIN PUBLIC KEY-----";
  constexpr std::string_view kEnd = "-----END PUBLIC KEY-----";
  const std::string_view pem = AsText(text.Reveal());
  if (!pem.starts_with("-----BEGIN ")) return crypto::SecretBuffer::CopyOf(text.Reveal());
  const size_t end = pem.find(kEnd);
  std::optional<crypto::SecretBuffer> der;
  if (pem.starts_with(kBegin) && end != std::string_view::npos) {
    const auto lines =
        crypto::SecretBuffer::CopyOf(AsBytes(pem.substr(kBegin.size(), end - kBegin.size())));
    der = crypto::Base64Decode(WithoutSpace(lines).Reveal());
  }
  if (der) return *std::move(der);
  return Fail(Code::kInvalidArgument,
              "the public key is PEM, but no PUBLIC KEY; convert it with: openssl pkey -pubin");
}

Status WriteDataFile(const std::string& path, ByteSpan bytes, bool base64, mode_t mode) {
  const UniqueFd file(
      open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, mode));
  if (!file.valid()) {
    const Code code = errno == EACCES ? Code::kPermissionDenied : Code::kUnavailable;
    return FailErrno(code, "write " + path, errno);
  }
  const crypto::SecretBuffer text = Encoded(bytes, base64);
  return Terminal(-1, file.get(), -1).WriteBytes(text.Reveal());
}

void AddUseOptions(CLI::App& app, UseOptions& options, bool with_context) {
  if (with_context) {
    app.add_option("-c,--context", options.context,
                   "A pair of the encryption context; repeatable. The same pairs must be given "
                   "to decrypt. Not secret")
        ->type_name("NAME=VALUE")
        ->allow_extra_args(false);
  }
  app.add_option("--grant-token", options.grant_tokens, "Of a grant that is new; repeatable")
      ->type_name("TOKEN")
      ->allow_extra_args(false);
  app.add_flag("--dry-run", options.dry_run, "Only say whether it would be allowed and possible");
}

Status AddUseMembers(KmsRequest& request, const UseOptions& options) {
  TRY_ASSIGN(const auto context, ParsePairs(options.context, "context", "with --context"));
  request.Map("EncryptionContext", context)
      .Texts("GrantTokens", options.grant_tokens)
      .Flag("DryRun", options.dry_run);
  return {};
}

Result<std::optional<AwsAnswer>> UseKey(Cli& cli, const KmsRequest& request,
                                        const UseOptions& options) {
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  auto answer = client.Call(request);
  if (options.dry_run && !answer && answer.error().code == Code::kDryRun) {
    cli.Note("it would succeed");
    return std::nullopt;
  }
  if (!answer) return std::unexpected(std::move(answer).error());
  return *std::move(answer);
}

std::string AwsWord(std::string_view text) {
  std::string word(text);
  std::ranges::transform(word, word.begin(), [](unsigned char c) {
    return static_cast<char>(c == '-' ? '_' : std::toupper(c));
  });
  return word;
}

std::string JoinWords(const std::vector<std::string>& texts) {
  std::string joined;
  for (const std::string& text : texts) joined += (joined.empty() ? "" : ",") + text;
  return joined;
}

void AddKeyVerbs(CLI::App& app, Cli& cli) {
  CLI::App* key = app.add_subcommand("key", "Manage and use KMS keys");
  key->footer(
      "KEY is a key id, an ARN or an alias; \"web\" is alias/web. Data comes from standard\n"
      "input and goes to standard output, raw, or as text with --base64.");
  const KeyVerbs verbs(*key, cli, "key");
  AddKeyManagement(verbs);
  AddKeyAccess(verbs);
  AddKeyCrypto(verbs);
  AddKeySigning(verbs);
  AddKeyImport(verbs);
}

}  // namespace secretfs::mount
