#include "mount/root_key_changer.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/root_key_deposit.h"
#include "tests/support/temp_store.h"

namespace secretfs::mount {
namespace {

class RootKeyChangerTest : public ::testing::Test {
 protected:
  RootKeyChangerTest() {
    CHECK(crypto::CreateKeyFile(next_path_, store_.random));
    CHECK(crypto::LeaveInDeposit(deposit_.get(), SecretIn(store_.key_path())));
  }

  static crypto::SecretBuffer SecretIn(const std::string& path) {
    auto secret = crypto::ObtainRootKeySecret(crypto::KeyFileSource{path}, {});
    CHECK(secret);
    return std::move(*secret);
  }

  Result<crypto::RootKeySource> Change(const store::Caller& caller, const std::string& path,
                                       bool is_this_user = false) {
    RootKeyChanger changer(*service_, {deposit_.get(), is_this_user}, store_.random);
    return changer.Change(caller, {crypto::KeyFileSource{path}, SecretIn(next_path_)}, "");
  }

  // What a successor would find.
  std::vector<crypto::LeftSecret> Left() { return crypto::TakeFromDeposit(deposit_.get()).value(); }

  bool OpensWith(const std::string& path) {
    service_.reset();
    store_.root_key = store_.OpenKey(path);
    return store_.TryOpen().has_value();
  }

  testing::TempStore store_;
  const std::string next_path_ = store_.directory / "next-key";
  const UniqueFd deposit_ = crypto::CreateDeposit().value();
  std::unique_ptr<store::SecretService> service_ = store_.Open();
};

TEST_F(RootKeyChangerTest, TheStoreAndTheDepositGoOverToTheNewOne) {
  const auto previous = Change(store_.caller, next_path_);
  ASSERT_TRUE(previous) << previous.error().message;
  EXPECT_EQ(crypto::DescribeRootKeySource(*previous), "file:" + store_.key_path());
  ASSERT_EQ(Left().size(), 1U);
  EXPECT_TRUE(Left()[0].secret.Equals(SecretIn(next_path_)));
  EXPECT_FALSE(OpensWith(store_.key_path()));
  EXPECT_TRUE(OpensWith(next_path_));
  const auto header = store::SecretService::ReadHeader(store_.path()).value();
  EXPECT_EQ(crypto::DescribeRootKeySource(header.root_key_source), "file:" + next_path_);
}

TEST_F(RootKeyChangerTest, WhoMayNotChangesNothingAndLeavesNothing) {
  const store::Principal eve{"arn:aws:iam::000000000000:user/eve", getuid() + 1, getgid() + 1};
  const auto refused = Change({eve, store::Door::kSocket, 1}, next_path_);
  EXPECT_EQ(refused.error().code, Code::kPermissionDenied);
  ASSERT_EQ(Left().size(), 1U);
  EXPECT_TRUE(Left()[0].secret.Equals(SecretIn(store_.key_path())));
  EXPECT_TRUE(OpensWith(store_.key_path()));
}

TEST_F(RootKeyChangerTest, AKeyFileThatASuccessorCouldNotUseIsRefused) {
  const std::string other = store_.directory / "other-key";
  EXPECT_EQ(Change(store_.caller, other, true).error().code, Code::kNotFound);
  ASSERT_TRUE(crypto::CreateKeyFile(other, store_.random));
  EXPECT_EQ(Change(store_.caller, other, true).error().code, Code::kInvalidArgument);
  ASSERT_EQ(chmod(next_path_.c_str(), 0644), 0);
  RootKeyChanger changer(*service_, {deposit_.get(), true}, store_.random);
  EXPECT_EQ(changer
                .Change(store_.caller,
                        {crypto::KeyFileSource{next_path_},
                         crypto::SecretBuffer::CopyOf(Bytes(crypto::kRootKeyBytesMin, 1))},
                        "")
                .error()
                .code,
            Code::kPermissionDenied);
  EXPECT_EQ(Left().size(), 1U);
  EXPECT_TRUE(OpensWith(store_.key_path()));
}

TEST_F(RootKeyChangerTest, ToAndFroWithOneDeposit) {
  RootKeyChanger changer(*service_, {deposit_.get(), true}, store_.random);
  for (int i = 0; i < 3; ++i) {
    for (const std::string& path : {next_path_, store_.key_path()}) {
      ASSERT_TRUE(changer.Change(store_.caller, {crypto::KeyFileSource{path}, SecretIn(path)}, ""));
      ASSERT_EQ(Left().size(), 1U);
      EXPECT_TRUE(Left()[0].secret.Equals(SecretIn(path)));
    }
  }
  EXPECT_TRUE(OpensWith(store_.key_path()));
}

TEST_F(RootKeyChangerTest, ASecretOfAnImpossibleLengthIsRefused) {
  RootKeyChanger changer(*service_, {}, store_.random);
  for (const size_t size : {crypto::kRootKeyBytesMin - 1, crypto::kRootKeyBytesMax + 1}) {
    EXPECT_EQ(changer
                  .Change(store_.caller,
                          {crypto::KeyFileSource{next_path_}, crypto::SecretBuffer(size)}, "")
                  .error()
                  .code,
              Code::kInvalidArgument);
  }
}

}  // namespace
}  // namespace secretfs::mount
