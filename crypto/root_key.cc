#include "crypto/root_key.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <string_view>
#include <utility>

#include "crypto/aead.h"
#include "crypto/base/unique_fd.h"
#include "crypto/root_key_deposit.h"

namespace secretfs::crypto {
namespace {

constexpr std::string_view kWrappingKeyInfo = "secretfs root key v1";

static_assert(kRootKeyBytesMax <= kDepositBytesMax);

// A root key whose secret this process knows. Every provider that can export its secret ends here.
class LocalRootKey final : public RootKey {
 public:
  LocalRootKey(const SecretBuffer& secret, RandomSource& random)
      : aead_(Hkdf(secret.Reveal(), {}, AsBytes(kWrappingKeyInfo), kAesKeyBytes)),
        random_(random) {}

  Result<Bytes> Wrap(const SecretBuffer& material, ByteSpan purpose) override {
    return aead_.Seal(material.Reveal(), purpose, random_);
  }

  Result<SecretBuffer> Unwrap(ByteSpan wrapped, ByteSpan purpose) override {
    auto material = aead_.Open(wrapped, purpose);
    if (material) return material;
    return Fail(Code::kCorrupt, "wrong root key, or damaged wrapped key");
  }

 private:
  const Aead aead_;
  RandomSource& random_;
};

// What a secret in a file is called in messages, and what its mode may be.
struct SecretFile {
  std::string path;
  std::string what;  // "root key file /x/key"
  // systemd grants a unit its credentials through an ACL, whose mask shows as the group's
  // permission bits.
  bool group_may_read = false;
};

std::string OctalMode(mode_t mode) {
  std::array<char, 8> text{};
  std::snprintf(text.data(), text.size(), "%04o", static_cast<unsigned>(mode & 07777));
  return text.data();
}

Code CodeOfOpenError(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return Code::kNotFound;
    case EACCES:
    case EPERM:
      return Code::kPermissionDenied;
    default:
      return Code::kUnavailable;
  }
}

Status CheckSecretFile(const SecretFile& file, const struct stat& info) {
  if (!S_ISREG(info.st_mode)) {
    return Fail(Code::kInvalidArgument, file.what + ": not a regular file");
  }
  if (info.st_uid != 0 && info.st_uid != geteuid()) {
    return Fail(Code::kPermissionDenied, file.what + ": owned by uid " +
                                             std::to_string(info.st_uid) +
                                             ", who could change it; run: chown " +
                                             std::to_string(geteuid()) + " " + file.path);
  }
  const mode_t allowed_mode = file.group_may_read ? mode_t{0740} : mode_t{0700};
  if ((info.st_mode & 0777 & ~allowed_mode) != 0) {
    return Fail(Code::kPermissionDenied,
                file.what + ": readable or writable by group or others (mode " +
                    OctalMode(info.st_mode) + "); run: chmod 600 " + file.path);
  }
  return {};
}

// The file's whole content, read straight into locked memory.
Result<SecretBuffer> ReadSecretFile(const SecretFile& file) {
  // Without O_NONBLOCK a FIFO would hold the caller up before fstat() can refuse it.
  const UniqueFd fd(open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.valid()) return FailErrno(CodeOfOpenError(errno), file.what, errno);
  struct stat info{};
  if (fstat(fd.get(), &info) != 0) return FailErrno(Code::kUnavailable, file.what, errno);
  TRY(CheckSecretFile(file, info));

  // One byte more than the maximum, to notice a longer file.
  SecretBuffer content(kRootKeyBytesMax + 1);
  size_t size = 0;
  while (size < content.size()) {
    const ssize_t got = read(fd.get(), content.Writable().data() + size, content.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno(Code::kUnavailable, file.what, errno);
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  content.Truncate(size);
  if (size < kRootKeyBytesMin || size > kRootKeyBytesMax) {
    return Fail(Code::kInvalidArgument,
                file.what + ": must hold " + std::to_string(kRootKeyBytesMin) + " to " +
                    std::to_string(kRootKeyBytesMax) + " bytes, and has " +
                    (size > kRootKeyBytesMax ? "more" : std::to_string(size)));
  }
  return content;
}

// Obtains the secret that each kind of source leads to.
struct SecretOpener {
  const RootKeyEnvironment& environment;

  Result<SecretBuffer> operator()(const KeyFileSource& source) const {
    return ReadSecretFile({source.path, "root key file " + source.path});
  }

  Result<SecretBuffer> operator()(const CredentialSource& source) const {
    if (environment.credentials_directory.empty()) {
      return Fail(Code::kNotFound, "root key credential " + source.name +
                                       ": $CREDENTIALS_DIRECTORY is not set; add "
                                       "LoadCredentialEncrypted=" +
                                       source.name + " to the systemd unit");
    }
    const std::string path = environment.credentials_directory + "/" + source.name;
    auto secret = ReadSecretFile({path, "root key credential " + path, true});
    if (!secret && secret.error().code == Code::kNotFound) {
      return Fail(Code::kNotFound, secret.error().message + "; add LoadCredentialEncrypted=" +
                                       source.name + " to the systemd unit");
    }
    return secret;
  }

  Result<SecretBuffer> operator()(const PassphraseSource& source) const {
    if (!environment.prompt) {
      return Fail(Code::kUnavailable, "root key passphrase: there is no terminal or pipe to ask");
    }
    TRY_ASSIGN(const SecretBuffer passphrase, environment.prompt());
    if (passphrase.empty()) {
      return Fail(Code::kInvalidArgument, "root key passphrase: must not be empty");
    }
    return Argon2id(passphrase.Reveal(), source.salt, source.params);
  }
};

// 32 random bytes as hexadecimal digits, so that the file can be printed and typed; made in locked
// memory.
SecretBuffer NewKeyFileContent(RandomSource& random) {
  static constexpr char kDigits[] = "0123456789abcdef";
  SecretBuffer key(kAesKeyBytes);
  random.Fill(key.Writable());
  SecretBuffer text(2 * kAesKeyBytes + 1);
  std::span<uint8_t> out = text.Writable();
  for (uint8_t byte : key.Reveal()) {
    out[0] = static_cast<uint8_t>(kDigits[byte >> 4]);
    out[1] = static_cast<uint8_t>(kDigits[byte & 15]);
    out = out.subspan(2);
  }
  out[0] = '\n';
  return text;
}

Status WriteDurably(int fd, ByteSpan bytes, const std::string& what) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FailErrno(Code::kUnavailable, "write " + what, errno);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  // The umask may have taken bits away from the mode that open() was given.
  if (fchmod(fd, 0400) != 0) return FailErrno(Code::kUnavailable, "chmod " + what, errno);
  if (fsync(fd) != 0) return FailErrno(Code::kUnavailable, "fsync " + what, errno);
  return {};
}

Status SyncDirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "."
                                : slash == 0               ? "/"
                                                           : path.substr(0, slash);
  const UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || fsync(fd.get()) != 0) {
    return FailErrno(Code::kUnavailable, "fsync directory " + directory, errno);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<RootKey>> OpenRootKey(const RootKeySource& source,
                                             const RootKeyEnvironment& environment,
                                             RandomSource& random) {
  const auto opens = [&](RootKey& key) { return !environment.opens || environment.opens(key); };
  const int deposit = environment.deposit;
  if (deposit >= 0) {
    TRY_ASSIGN(const auto left, TakeFromDeposit(deposit));
    for (const auto& [place, secret] : left) {
      auto key = MakeRootKey(secret, random);
      if (!opens(*key)) continue;
      TRY(KeepInDeposit(deposit, place));
      return key;
    }
  }
  TRY_ASSIGN(const SecretBuffer secret, ObtainRootKeySecret(source, environment));
  auto key = MakeRootKey(secret, random);
  if (deposit >= 0 && opens(*key)) {
    TRY(EmptyDeposit(deposit));
    TRY(LeaveInDeposit(deposit, secret));
  }
  return key;
}

Result<SecretBuffer> ObtainRootKeySecret(const RootKeySource& source,
                                         const RootKeyEnvironment& environment) {
  return std::visit(SecretOpener{environment}, source);
}

std::unique_ptr<RootKey> MakeRootKey(const SecretBuffer& secret, RandomSource& random) {
  return std::make_unique<LocalRootKey>(secret, random);
}

Status CreateKeyFile(const std::string& path, RandomSource& random) {
  const std::string what = "root key file " + path;
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400));
  if (!fd.valid()) {
    const Code code = errno == EEXIST ? Code::kAlreadyExists : Code::kUnavailable;
    return FailErrno(code, "create " + what, errno);
  }
  const SecretBuffer content = NewKeyFileContent(random);
  Status status = WriteDurably(fd.get(), content.Reveal(), what);
  if (status) status = SyncDirectoryOf(path);
  // Half a key must not be taken for one later.
  if (!status) unlink(path.c_str());
  return status;
}

}  // namespace secretfs::crypto
