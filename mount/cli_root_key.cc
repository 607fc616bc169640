#include "mount/cli_root_key.h"

#include <sys/stat.h>

namespace secretfs::mount {
namespace {

constexpr std::string_view kFilePrefix = "file:";

// Asked twice by a terminal: a slip would lock the store for ever.
Result<crypto::SecretBuffer> NewPassphrase(Terminal& terminal) {
  TRY_ASSIGN(crypto::SecretBuffer first,
             terminal.ReadSecretLine("New passphrase: ", kPassphraseBytesMax));
  if (!terminal.input_is_terminal()) return first;
  TRY_ASSIGN(const crypto::SecretBuffer second,
             terminal.ReadSecretLine("The same again: ", kPassphraseBytesMax));
  if (!first.Equals(second)) {
    return Fail(Code::kInvalidArgument, "the two passphrases differ; nothing was changed");
  }
  return first;
}

}  // namespace

std::string AbsoluteSource(const std::string& text) {
  if (!text.starts_with(kFilePrefix)) return text;
  return std::string(kFilePrefix) + AbsolutePath(text.substr(kFilePrefix.size()));
}

Result<bool> EnsureKeyFile(const crypto::RootKeySource& source, crypto::RandomSource& random) {
  const auto* file = std::get_if<crypto::KeyFileSource>(&source);
  struct stat found{};
  if (file == nullptr || stat(file->path.c_str(), &found) == 0) return false;
  auto created = crypto::CreateKeyFile(file->path, random);
  if (!created) return std::unexpected(std::move(created).error());
  return true;
}

crypto::RootKeyEnvironment NewRootKeyEnvironment(Cli& cli) {
  return {.credentials_directory = cli.environment.Get("CREDENTIALS_DIRECTORY"),
          .prompt = [&cli] { return NewPassphrase(cli.terminal); },
          .opens = {}};
}

crypto::RootKeyEnvironment CurrentRootKeyEnvironment(Cli& cli) {
  return {
      .credentials_directory = cli.environment.Get("CREDENTIALS_DIRECTORY"),
      .prompt = [&cli] { return cli.terminal.ReadSecretLine("Passphrase: ", kPassphraseBytesMax); },
      .opens = {}};
}

}  // namespace secretfs::mount
