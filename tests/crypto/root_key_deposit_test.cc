#include "crypto/root_key_deposit.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "crypto/root_key.h"
#include "tests/crypto/key_directory.h"
#include "tests/support/fake_random.h"

namespace secretfs::crypto {
namespace {

TEST(RootKeyDepositTest, GivesBackWhatWasLeft) {
  const UniqueFd fd = CreateDeposit().value();
  EXPECT_FALSE(TakeFromDeposit(fd.get()).value());
  const auto secret = SecretBuffer::CopyOf(Bytes(kDepositBytesMax, 0x5A));
  ASSERT_TRUE(LeaveInDeposit(fd.get(), secret));
  EXPECT_TRUE(TakeFromDeposit(fd.get()).value()->Equals(secret));
  EXPECT_TRUE(TakeFromDeposit(fd.get()).value()->Equals(secret)) << "for every successor";
}

// What makes the keeper's part harmless: without mapping it, the descriptor gives nothing.
TEST(RootKeyDepositTest, CannotBeReadAsAFile) {
  const UniqueFd fd = CreateDeposit().value();
  ASSERT_TRUE(LeaveInDeposit(fd.get(), SecretBuffer::CopyOf(Bytes(32, 0x5A))));
  char byte = 0;
  EXPECT_LT(pread(fd.get(), &byte, 1, 0), 0);
}

TEST(RootKeyDepositTest, AnythingElseIsNoDeposit) {
  EXPECT_FALSE(TakeFromDeposit(-1));
  EXPECT_FALSE(LeaveInDeposit(-1, {}));
}

TEST(RootKeyDepositTest, ARootKeyIsOpenedAgainWithoutItsSource) {
  KeyDirectory directory;
  const std::string path = directory.Path("key");
  testing::FakeRandom random;
  ASSERT_TRUE(CreateKeyFile(path, random));
  const UniqueFd fd = CreateDeposit().value();
  const RootKeyEnvironment environment{
      .credentials_directory = "", .prompt = {}, .deposit = fd.get()};
  const auto first = OpenRootKey(KeyFileSource{path}, environment, random);
  ASSERT_TRUE(first);
  const auto material = SecretBuffer::CopyOf(Bytes(32, 7));
  const Bytes wrapped = (*first)->Wrap(material, AsBytes("p")).value();
  ASSERT_EQ(unlink(path.c_str()), 0);
  const auto second = OpenRootKey(KeyFileSource{path}, environment, random);
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_TRUE((*second)->Unwrap(wrapped, AsBytes("p")).value().Equals(material));
}

}  // namespace
}  // namespace secretfs::crypto
