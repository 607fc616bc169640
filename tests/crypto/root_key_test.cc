#include "crypto/root_key.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/crypto/key_directory.h"
#include "tests/support/fake_random.h"

namespace secretfs::crypto {
namespace {

class RootKeyTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<RootKey>> Open(const RootKeySource& source) {
    return OpenRootKey(source, environment_, random_);
  }
  // The error of opening `source`, which must fail.
  Error ErrorOf(const RootKeySource& source) {
    const auto key = Open(source);
    if (!key) return key.error();
    ADD_FAILURE() << DescribeRootKeySource(source) << " opened";
    return {Code::kInternal, ""};
  }
  static Result<SecretBuffer> Passphrase(std::string_view text) {
    return SecretBuffer::CopyOf(AsBytes(text));
  }

  const std::string secret_ = std::string(32, 's');
  const Argon2Params cheap_{8192, 1, 1};
  testing::FakeRandom random_;
  KeyDirectory directory_;
  RootKeyEnvironment environment_{
      directory_.path(), [] { return Passphrase("correct horse"); }, {}};
};

bool Contains(const Error& error, std::string_view text) {
  return error.message.find(text) != std::string::npos;
}

// What every provider must do, whatever keeps its secret.
void ExpectWraps(RootKey& key) {
  const SecretBuffer material = SecretBuffer::CopyOf(Bytes(32, 0x77));
  const auto wrapped = key.Wrap(material, AsBytes("purpose"));
  ASSERT_TRUE(wrapped);
  const auto unwrapped = key.Unwrap(*wrapped, AsBytes("purpose"));
  ASSERT_TRUE(unwrapped);
  EXPECT_TRUE(unwrapped->Equals(material));

  EXPECT_EQ(key.Unwrap(*wrapped, AsBytes("another")).error().code, Code::kCorrupt);
  EXPECT_EQ(key.Unwrap({}, AsBytes("purpose")).error().code, Code::kCorrupt);
  Bytes damaged = *wrapped;
  for (size_t bit = 0; bit < damaged.size() * 8; ++bit) {
    damaged[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_FALSE(key.Unwrap(damaged, AsBytes("purpose"))) << bit;
    damaged[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
}

TEST_F(RootKeyTest, EveryProviderWraps) {
  const std::string path = directory_.Write("key", secret_);
  const RootKeySource sources[] = {KeyFileSource{path}, CredentialSource{"key"},
                                   PassphraseSource{cheap_, Bytes(16, 1)}};
  for (const RootKeySource& source : sources) {
    SCOPED_TRACE(DescribeRootKeySource(source));
    const auto key = Open(source);
    ASSERT_TRUE(key) << key.error().message;
    ExpectWraps(**key);
  }
}

TEST_F(RootKeyTest, TheSameSecretGivesTheSameKeyAndAnotherDoesNot) {
  directory_.Write("key", secret_);
  directory_.Write("same", secret_);
  directory_.Write("other", secret_ + "\n");
  const auto key = Open(CredentialSource{"key"});
  const auto same = Open(KeyFileSource{directory_.Path("same")});
  const auto other = Open(CredentialSource{"other"});
  ASSERT_TRUE(key && same && other);
  const Bytes wrapped = (*key)->Wrap(SecretBuffer(32), {}).value();
  EXPECT_TRUE((*same)->Unwrap(wrapped, {}));
  const auto failed = (*other)->Unwrap(wrapped, {});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::kCorrupt);
  EXPECT_TRUE(Contains(failed.error(), "wrong root key"));
}

TEST_F(RootKeyTest, KeyFileMustExist) {
  const Error error = ErrorOf(KeyFileSource{directory_.Path("absent")});
  EXPECT_EQ(error.code, Code::kNotFound);
  EXPECT_TRUE(Contains(error, directory_.Path("absent")));
}

TEST_F(RootKeyTest, KeyFileMayBeBehindASymlink) {
  directory_.Write("key", secret_);
  ASSERT_EQ(symlink("key", directory_.Path("link").c_str()), 0);
  EXPECT_TRUE(Open(KeyFileSource{directory_.Path("link")}));
}

TEST_F(RootKeyTest, KeyFileMustBeClosedToGroupAndOthers) {
  for (mode_t mode : {0644, 0640, 0604, 0620, 0602, 0610, 0601, 0440}) {
    const Error error = ErrorOf(KeyFileSource{directory_.Write("key", secret_, mode)});
    EXPECT_EQ(error.code, Code::kPermissionDenied) << mode;
    EXPECT_TRUE(Contains(error, "run: chmod 600 " + directory_.Path("key"))) << error.message;
  }
  EXPECT_TRUE(
      Contains(ErrorOf(KeyFileSource{directory_.Write("key", secret_, 0644)}), "mode 0644"));
  EXPECT_TRUE(Open(KeyFileSource{directory_.Write("key", secret_, 0400)}));
}

TEST_F(RootKeyTest, KeyFileMustBeARegularFile) {
  EXPECT_EQ(ErrorOf(KeyFileSource{directory_.path()}).code, Code::kInvalidArgument);
  ASSERT_EQ(mkfifo(directory_.Path("fifo").c_str(), 0600), 0);
  EXPECT_EQ(ErrorOf(KeyFileSource{directory_.Path("fifo")}).code, Code::kInvalidArgument);
  EXPECT_EQ(ErrorOf(KeyFileSource{"/dev/zero"}).code, Code::kInvalidArgument);
}

TEST_F(RootKeyTest, KeyFileHolds32To4096Bytes) {
  for (size_t size : {0, 1, 31, 4097, 100'000}) {
    const Error error = ErrorOf(KeyFileSource{directory_.Write("key", std::string(size, 'x'))});
    EXPECT_EQ(error.code, Code::kInvalidArgument) << size;
    EXPECT_TRUE(Contains(error, "32 to 4096 bytes"));
  }
  for (size_t size : {32, 4096}) {
    EXPECT_TRUE(Open(KeyFileSource{directory_.Write("key", std::string(size, 'x'))})) << size;
  }
}

// Only root can give a file away, so elsewhere the check is that of a foreign file which everybody
// has.
TEST_F(RootKeyTest, KeyFileMustBelongToRootOrToUs) {
  const std::string path = directory_.Write("key", secret_);
  if (geteuid() != 0) {
    EXPECT_TRUE(Open(KeyFileSource{path}));
    return;
  }
  ASSERT_EQ(chown(path.c_str(), 12345, 0), 0);
  const Error error = ErrorOf(KeyFileSource{path});
  EXPECT_EQ(error.code, Code::kPermissionDenied);
  EXPECT_TRUE(Contains(error, "owned by uid 12345"));
  EXPECT_TRUE(Contains(error, "chown 0 " + path));
}

TEST_F(RootKeyTest, CredentialMayBeReadableByItsGroupOnly) {
  directory_.Write("credential", secret_, 0440);
  EXPECT_TRUE(Open(CredentialSource{"credential"}));
  for (mode_t mode : {0444, 0460, 0450, 0404}) {
    directory_.Write("credential", secret_, mode);
    EXPECT_EQ(ErrorOf(CredentialSource{"credential"}).code, Code::kPermissionDenied) << mode;
  }
}

TEST_F(RootKeyTest, AMissingCredentialSaysWhatToAddToTheUnit) {
  Error error = ErrorOf(CredentialSource{"root-key"});
  EXPECT_EQ(error.code, Code::kNotFound);
  EXPECT_TRUE(Contains(error, "LoadCredentialEncrypted=root-key"));

  environment_.credentials_directory.clear();
  error = ErrorOf(CredentialSource{"root-key"});
  EXPECT_EQ(error.code, Code::kNotFound);
  EXPECT_TRUE(Contains(error, "$CREDENTIALS_DIRECTORY"));
  EXPECT_TRUE(Contains(error, "LoadCredentialEncrypted=root-key"));
}

TEST_F(RootKeyTest, PassphraseMustNotBeEmpty) {
  environment_.prompt = [] { return Passphrase(""); };
  EXPECT_EQ(ErrorOf(PassphraseSource{cheap_, Bytes(16)}).code, Code::kInvalidArgument);
}

TEST_F(RootKeyTest, PassphraseAndSaltBothMatter) {
  const auto key = Open(PassphraseSource{cheap_, Bytes(16, 1)});
  ASSERT_TRUE(key);
  const Bytes wrapped = (*key)->Wrap(SecretBuffer(32), {}).value();
  EXPECT_TRUE((*Open(PassphraseSource{cheap_, Bytes(16, 1)}))->Unwrap(wrapped, {}));
  EXPECT_FALSE((*Open(PassphraseSource{cheap_, Bytes(16, 2)}))->Unwrap(wrapped, {}));
  environment_.prompt = [] { return Passphrase("correct horse "); };
  EXPECT_FALSE((*Open(PassphraseSource{cheap_, Bytes(16, 1)}))->Unwrap(wrapped, {}));
}

TEST_F(RootKeyTest, PassphraseErrorsAreHandedOn) {
  environment_.prompt = []() -> Result<SecretBuffer> { return Fail(Code::kStale, "cancelled"); };
  EXPECT_EQ(ErrorOf(PassphraseSource{cheap_, Bytes(16)}).code, Code::kStale);
  environment_.prompt = nullptr;
  EXPECT_EQ(ErrorOf(PassphraseSource{cheap_, Bytes(16)}).code, Code::kUnavailable);
}

TEST_F(RootKeyTest, OnlyAPassphraseSourcePrompts) {
  environment_.prompt = []() -> Result<SecretBuffer> {
    ADD_FAILURE() << "asked";
    return Passphrase("x");
  };
  EXPECT_TRUE(Open(KeyFileSource{directory_.Write("key", secret_)}));
}

TEST_F(RootKeyTest, HostileParametersAreRefusedBeforeAnythingIsAllocated) {
  EXPECT_EQ(ErrorOf(PassphraseSource{{0xffffffff, 3, 1}, Bytes(16)}).code, Code::kInvalidArgument);
}

TEST_F(RootKeyTest, CreateKeyFileWritesHexadecimalDigitsForTheOwnerAlone) {
  const std::string path = directory_.Path("key");
  ASSERT_TRUE(CreateKeyFile(path, random_));
  struct stat info{};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0400u);
  std::ifstream file(path);
  const std::string content((std::istreambuf_iterator<char>(file)), {});
  ASSERT_EQ(content.size(), 65u);
  EXPECT_EQ(content.back(), '\n');
  EXPECT_EQ(content.find_first_not_of("0123456789abcdef"), 64u);
  Bytes expected(32);
  testing::FakeRandom().Fill(expected);
  EXPECT_EQ(content.substr(0, 64), ToHex(expected));
  EXPECT_TRUE(Open(KeyFileSource{path}));
}

TEST_F(RootKeyTest, CreateKeyFileDoesNotDependOnTheUmask) {
  const mode_t old_umask = umask(0777);
  const Status status = CreateKeyFile(directory_.Path("key"), random_);
  umask(old_umask);
  ASSERT_TRUE(status);
  struct stat info{};
  ASSERT_EQ(stat(directory_.Path("key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0400u);
}

TEST_F(RootKeyTest, CreateKeyFileNeverTouchesWhatExists) {
  const std::string path = directory_.Write("key", "precious");
  ASSERT_EQ(symlink("nowhere", directory_.Path("link").c_str()), 0);
  EXPECT_EQ(CreateKeyFile(path, random_).error().code, Code::kAlreadyExists);
  EXPECT_EQ(CreateKeyFile(directory_.Path("link"), random_).error().code, Code::kAlreadyExists);
  EXPECT_EQ(std::filesystem::file_size(path), 8u);
  EXPECT_FALSE(std::filesystem::exists(directory_.Path("nowhere")));
}

TEST_F(RootKeyTest, CreateKeyFileNeedsTheDirectory) {
  const Status status = CreateKeyFile(directory_.Path("absent/key"), random_);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kUnavailable);
}

TEST_F(RootKeyTest, CreateKeyFileLeavesNothingWhenTheWriteFails) {
  // A file size limit of 10 bytes is the disk that fills up in the middle of the key.
  rlimit old_limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{10, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const Status status = CreateKeyFile(directory_.Path("key"), random_);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kUnavailable);
  EXPECT_FALSE(std::filesystem::exists(directory_.Path("key")));
}

}  // namespace
}  // namespace secretfs::crypto
