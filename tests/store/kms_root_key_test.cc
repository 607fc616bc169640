// A new root key, and a store of format 1.

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <thread>

#include "store/lmdb_env.h"
#include "tests/store/kms_fixture.h"

namespace secretfs::store {
namespace {

// --- a new root key

class RewrapTest : public KmsTest {
 protected:
  std::string Rotate(const std::string& key) {
    return Outcome(kms().RotateKeyOnDemand(store_.caller, {key, ""}));
  }
  RewrapTest() {
    EXPECT_TRUE(crypto::CreateKeyFile(new_path_, store_.random));
    next_ = store_.OpenKey(new_path_);
  }
  Status Rewrap() {
    return kms().RewrapAll(store_.caller, next_, crypto::KeyFileSource{new_path_}, "");
  }
  bool Opens(crypto::RootKey& root_key) {
    SecretService::Options options;
    options.directory = store_.path();
    auto service = SecretService::Open(options, root_key, nullptr, store_.clock, store_.random);
    if (service) return true;
    EXPECT_EQ(service.error().code, Code::kSealed) << service.error().message;
    return false;
  }

  // `delay_ns` after it has begun.
  void KillWhileItRewraps(const std::string& store, long delay_ns) {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    std::vector<std::string> words{SECRETFS_REWRAP_STORE, store, store_.key_path(), new_path_};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_t child = 0;
    ASSERT_EQ(posix_spawn(&child, argv[0], &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    char begun = 0;
    EXPECT_EQ(read(ends[0], &begun, 1), 1);
    close(ends[0]);
    const timespec delay{0, delay_ns};
    ppoll(nullptr, 0, &delay, nullptr);
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status));
  }

  const std::string new_path_ = store_.directory / "new-root-key";
  std::shared_ptr<crypto::RootKey> next_;
};

TEST_F(RewrapTest, AllKeysAndTheStoreGoOverToTheNewRootKey) {
  const std::string key = CreateKey();
  const std::string signs = CreateKey(crypto::KeySpec::kEccNistP256, crypto::KeyUsage::kSignVerify);
  ASSERT_EQ(Rotate(key), "ok");
  const Bytes blob = Encrypt(key, "text")->ciphertext_blob;
  ASSERT_TRUE(CreateUnder("a", "v1", "one", key));
  ASSERT_TRUE(Create("b", "v1", "two"));
  EXPECT_EQ(kms().RewrapAll(eve_, next_, crypto::KeyFileSource{new_path_}, "").error().code,
            Code::kPermissionDenied);
  ASSERT_TRUE(Rewrap());
  const auto works = [&] {
    EXPECT_EQ(DecryptText(blob), "text");
    EXPECT_EQ(Get("a"), "one");
    EXPECT_EQ(Get("b"), "two");
    EXPECT_TRUE(kms().Sign(
        store_.caller,
        {signs, {1}, crypto::MessageType::kRaw, crypto::SigningAlgorithm::kEcdsaSha256, {}}));
    EXPECT_TRUE(Put("a", crypto::FormatUuid(crypto::NewUuid(store_.random)).substr(0, 6), "one"));
    EXPECT_EQ(Rotate(key), "ok");
  };
  works();
  service_.reset();
  EXPECT_FALSE(Opens(*store_.root_key));
  service_.reset();
  EXPECT_TRUE(Opens(*next_));
  SecretService::Options options;
  options.directory = store_.path();
  service_ = SecretService::Open(options, *next_, nullptr, store_.clock, store_.random).value();
  EXPECT_EQ(std::get<crypto::KeyFileSource>(service_->header().root_key_source).path, new_path_);
  works();
}

TEST_F(RewrapTest, KeysAreUsedAndMadeWhileItGoesOn) {
  const std::string key = CreateKey();
  ASSERT_TRUE(CreateUnder("a", "v1", "one", key));
  std::atomic<bool> stop = false;
  std::thread reader([&] {
    while (!stop) {
      EXPECT_EQ(Get("a"), "one");
      // Forgets what the ring holds.
      EXPECT_TRUE(kms().UpdateKeyDescription(store_.caller, {key, "x", ""}));
    }
  });
  std::thread maker([&] {
    while (!stop) {
      auto made = kms().CreateKey(store_.caller, {});
      EXPECT_TRUE(made || made.error().code == Code::kUnavailable) << made.error().message;
    }
  });
  const auto old = std::shared_ptr<crypto::RootKey>(store_.OpenKey(store_.key_path()));
  const std::string old_path = store_.key_path();
  for (int i = 0; i < 4; ++i) {
    const bool there = i % 2 == 0;
    const Status done = kms().RewrapAll(store_.caller, there ? next_ : old,
                                        crypto::KeyFileSource{there ? new_path_ : old_path}, "");
    EXPECT_TRUE(done || done.error().code == Code::kConflict) << done.error().message;
  }
  stop = true;
  reader.join();
  maker.join();
  EXPECT_EQ(Get("a"), "one");
}

// SIGKILL at any point leaves a store that exactly one of the two root keys opens.
TEST_F(RewrapTest, AKilledChangeLeavesOneRootKeyThatOpensTheStore) {
  std::vector<std::pair<Bytes, std::string>> blobs;
  for (int i = 0; i < 20; ++i) {
    const std::string key = CreateKey();
    blobs.emplace_back(Encrypt(key, "text")->ciphertext_blob, key);
  }
  ASSERT_TRUE(Create("a", "v1", "one"));
  service_.reset();
  int by_new = 0;
  constexpr int kKills = 30;
  for (int i = 0; i < kKills; ++i) {
    std::filesystem::remove_all(store_.directory / "copy");
    std::filesystem::copy(store_.path(), store_.directory / "copy",
                          std::filesystem::copy_options::recursive);
    ASSERT_EQ(chmod((store_.directory / "copy").c_str(), 0700), 0);
    SecretService::Options options;
    options.directory = store_.directory / "copy";
    KillWhileItRewraps(options.directory, i * 300'000L);
    auto by_old =
        SecretService::Open(options, *store_.root_key, nullptr, store_.clock, store_.random);
    const bool old_opens = by_old.has_value();
    if (by_old) by_old->reset();
    auto opened = SecretService::Open(options, *next_, nullptr, store_.clock, store_.random);
    EXPECT_NE(old_opens, opened.has_value());
    by_new += opened.has_value();
    if (!opened) {
      opened = SecretService::Open(options, *store_.root_key, nullptr, store_.clock, store_.random);
    }
    ASSERT_TRUE(opened);
    service_ = *std::move(opened);
    EXPECT_EQ(Get("a"), "one");
    for (const auto& [blob, key] : blobs) EXPECT_EQ(DecryptText(blob), "text");
    service_.reset();
  }
  service_ = store_.Open();
  RecordProperty("opened_by_the_new_key", by_new);
}

// --- a store of format 1

class FormatOneTest : public KmsTest {
 protected:
  // The fixture of the first release, in place of the store.
  FormatOneTest() {
    service_.reset();
    std::filesystem::remove_all(store_.path());
    std::filesystem::copy(SECRETFS_SOURCE_DIR "/tests/fixtures/v1", store_.path(),
                          std::filesystem::copy_options::recursive);
    EXPECT_EQ(chmod(store_.path().c_str(), 0700), 0);
    const std::string key = store_.path() + "/root-key";
    EXPECT_EQ(chmod(key.c_str(), 0400), 0);
    store_.root_key = store_.OpenKey(key);
    OpenAsRoot();
  }
  void OpenAsRoot() {
    SecretService::Options options;
    options.directory = store_.path();
    service_ =
        SecretService::Open(options, *store_.root_key, std::make_unique<OwnerAuthorizer>(getuid()),
                            store_.clock, store_.random)
            .value();
  }
  uint32_t FormatOnDisk() {
    service_.reset();
    const uint32_t format = SecretService::ReadHeader(store_.path())->format_version;
    OpenAsRoot();
    return format;
  }
};

TEST_F(FormatOneTest, StaysFormatOneUntilKmsIsUsed) {
  ASSERT_TRUE(Create("new", "v1", "one"));
  EXPECT_EQ(Get("prod/db"), R"({"username":"app","password":"n3w"})");
  ASSERT_TRUE(service_->PurgeExpired());
  EXPECT_EQ(FormatOnDisk(), 1u);
  EXPECT_EQ(Describe("alias/aws/secretsmanager").manager, KeyManager::kAws);
  EXPECT_EQ(FormatOnDisk(), 2u);
  EXPECT_EQ(Get("prod/db"), R"({"username":"app","password":"n3w"})");
  EXPECT_EQ(Get("new"), "one");
}

TEST_F(FormatOneTest, ADeniedCallLeavesItAsItWas) {
  const std::string name(kSecretsManagerAlias);
  EXPECT_EQ(kms().DescribeKey(eve_, {name, {}, ""}).error().code, Code::kPermissionDenied);
  EXPECT_EQ(kms().CreateKey(eve_, {}).error().code, Code::kPermissionDenied);
  EXPECT_EQ(kms().CreateAlias(eve_, {"alias/eve", name, ""}).error().code, Code::kPermissionDenied);
  EXPECT_EQ(kms().RetireGrant(eve_, {name, std::string(64, 'a'), "", false, ""}).error().code,
            Code::kPermissionDenied);
  EXPECT_FALSE(kms().ListKeys(eve_, {}));
  EXPECT_EQ(FormatOnDisk(), 1u);
  size_t denials = 0;
  for (const AuditEvent& event : Events()) denials += event.principal_arn == stranger_.arn;
  EXPECT_EQ(denials, 5u);
}

TEST_F(FormatOneTest, TakesKeysAliasesGrantsAndSecretsUnderThem) {
  const std::string key = CreateKey();
  ASSERT_EQ(Alias("alias/web", key), "ok");
  ASSERT_TRUE(CreateUnder("web", "v1", "one", "alias/web"));
  UpdateRequest move;
  move.secret_id = "prod/db";
  move.kms_key_id = key;
  ASSERT_TRUE(service_->UpdateSecret(store_.caller, std::move(move)));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Get("web"), "one");
    EXPECT_EQ(Get("prod/db"), R"({"username":"app","password":"n3w"})");
    EXPECT_EQ(kms().ListKeys(store_.caller, {})->entries.size(), 2u);
    EXPECT_EQ(kms().ListAliases(store_.caller, {"", {}, ""})->entries.size(), 2u);
    EXPECT_EQ(FormatOnDisk(), 2u);
  }
}

TEST_F(FormatOneTest, ItsKeyRotatesWhenItsYearIsOver) {
  ASSERT_TRUE(Create("a", "v1", "one"));
  store_.clock.Set(4'102'444'800'000);  // 2100
  ASSERT_TRUE(service_->PurgeExpired());
  EXPECT_EQ(FormatOnDisk(), 2u);
  EXPECT_EQ(kms()
                .ListKeyRotations(
                    store_.caller,
                    {crypto::FormatUuid(Describe("alias/aws/secretsmanager").id), false, {}, ""})
                ->entries.size(),
            1u);
  EXPECT_EQ(Get("a"), "one");
  EXPECT_EQ(Get("large"), std::string(65536, 'z'));
}

TEST_F(FormatOneTest, AFailedUpgradeLeavesItAsItWas) {
  // A mutation that creates the tables and is given up.
  service_.reset();
  {
    auto env = Env::Open(store_.path(), Env::Mode::kOpen).value();
    auto txn = WriteTxn::Begin(*env).value();
    ASSERT_TRUE(txn->CreateTables());
    ASSERT_TRUE(txn->Put(Table::kKmsUse, AsBytes("x"), AsBytes("y")));
    txn.reset();
    EXPECT_FALSE(ReadTxn(*env).Get(Table::kKmsUse, AsBytes("x")).value());
    auto again = WriteTxn::Begin(*env).value();
    EXPECT_FALSE(again->Delete(Table::kKmsUse, AsBytes("x")).value());
  }
  OpenAsRoot();
  EXPECT_EQ(FormatOnDisk(), 1u);
  CreateKey();
  EXPECT_EQ(FormatOnDisk(), 2u);
}

}  // namespace
}  // namespace secretfs::store
