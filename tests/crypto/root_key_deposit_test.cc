#include "crypto/root_key_deposit.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>

#include "crypto/root_key.h"
#include "tests/crypto/key_directory.h"
#include "tests/support/fake_random.h"

namespace secretfs::crypto {
namespace {

SecretBuffer Secret(uint8_t byte, size_t size = 32) {
  return SecretBuffer::CopyOf(Bytes(size, byte));
}

TEST(RootKeyDepositTest, GivesBackWhatWasLeft) {
  const UniqueFd fd = CreateDeposit().value();
  EXPECT_TRUE(TakeFromDeposit(fd.get()).value().empty());
  const auto secret = Secret(0x5A, kDepositBytesMax);
  ASSERT_TRUE(LeaveInDeposit(fd.get(), secret));
  for (int successor = 0; successor < 2; ++successor) {
    const auto left = TakeFromDeposit(fd.get()).value();
    ASSERT_EQ(left.size(), 1U);
    EXPECT_TRUE(left[0].secret.Equals(secret));
  }
}

TEST(RootKeyDepositTest, HoldsTwoAndKeepsTheOneThatIsNamed) {
  const UniqueFd fd = CreateDeposit().value();
  const int old_place = LeaveInDeposit(fd.get(), Secret(1)).value();
  const int new_place = LeaveInDeposit(fd.get(), Secret(2, kDepositBytesMax)).value();
  EXPECT_NE(old_place, new_place);
  EXPECT_EQ(TakeFromDeposit(fd.get()).value().size(), 2U);
  EXPECT_EQ(LeaveInDeposit(fd.get(), Secret(3)).error().code, Code::kFailedPrecondition);
  ASSERT_TRUE(KeepInDeposit(fd.get(), new_place));
  const auto left = TakeFromDeposit(fd.get()).value();
  ASSERT_EQ(left.size(), 1U);
  EXPECT_EQ(left[0].place, new_place);
  EXPECT_TRUE(left[0].secret.Equals(Secret(2, kDepositBytesMax)));
  EXPECT_EQ(LeaveInDeposit(fd.get(), Secret(3)).value(), old_place);
  ASSERT_TRUE(EmptyDeposit(fd.get()));
  EXPECT_TRUE(TakeFromDeposit(fd.get()).value().empty());
}

// A keeper of an older program goes on when the daemon is upgraded.
TEST(RootKeyDepositTest, OneOfAnOlderProgramHasOnePlace) {
  const UniqueFd fd(static_cast<int>(syscall(SYS_memfd_secret, O_CLOEXEC)));
  ASSERT_EQ(ftruncate(fd.get(), 4 + kDepositBytesMax), 0);
  ASSERT_TRUE(LeaveInDeposit(fd.get(), Secret(1, kDepositBytesMax)));
  EXPECT_EQ(TakeFromDeposit(fd.get()).value().size(), 1U);
  EXPECT_EQ(LeaveInDeposit(fd.get(), Secret(2)).error().code, Code::kFailedPrecondition);
  ASSERT_TRUE(KeepInDeposit(fd.get(), 0));
  EXPECT_TRUE(TakeFromDeposit(fd.get()).value().at(0).secret.Equals(Secret(1, kDepositBytesMax)));
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
      .credentials_directory = "", .prompt = {}, .opens = {}, .deposit = fd.get()};
  const auto first = OpenRootKey(KeyFileSource{path}, environment, random);
  ASSERT_TRUE(first);
  const auto material = SecretBuffer::CopyOf(Bytes(32, 7));
  const Bytes wrapped = (*first)->Wrap(material, AsBytes("p")).value();
  ASSERT_EQ(unlink(path.c_str()), 0);
  const auto second = OpenRootKey(KeyFileSource{path}, environment, random);
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_TRUE((*second)->Unwrap(wrapped, AsBytes("p")).value().Equals(material));
}

// A daemon that died while the store went over to another root key left both.
TEST(RootKeyDepositTest, TheOneThatOpensTheStoreIsTaken) {
  KeyDirectory directory;
  testing::FakeRandom random;
  const auto material = Secret(7);
  for (const bool is_new : {false, true}) {
    const UniqueFd fd = CreateDeposit().value();
    ASSERT_TRUE(LeaveInDeposit(fd.get(), Secret(1)));
    ASSERT_TRUE(LeaveInDeposit(fd.get(), Secret(2)));
    const auto right = MakeRootKey(Secret(is_new ? 2 : 1), random);
    const Bytes wrapped = right->Wrap(material, AsBytes("p")).value();
    const RootKeyEnvironment environment{
        .credentials_directory = "",
        .prompt = {},
        .opens = [&](RootKey& key) { return key.Unwrap(wrapped, AsBytes("p")).has_value(); },
        .deposit = fd.get()};
    const auto opened = OpenRootKey(KeyFileSource{"/nonexistent"}, environment, random);
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_TRUE((*opened)->Unwrap(wrapped, AsBytes("p")).value().Equals(material));
    EXPECT_EQ(TakeFromDeposit(fd.get()).value().size(), 1U) << "the other one is wiped";
  }
}

TEST(RootKeyDepositTest, WhatDoesNotOpenTheStoreIsReplacedByItsSource) {
  KeyDirectory directory;
  const std::string path = directory.Path("key");
  testing::FakeRandom random;
  ASSERT_TRUE(CreateKeyFile(path, random));
  const auto right = OpenRootKey(KeyFileSource{path}, {}, random).value();
  const Bytes wrapped = right->Wrap(Secret(7), AsBytes("p")).value();
  const UniqueFd fd = CreateDeposit().value();
  ASSERT_TRUE(LeaveInDeposit(fd.get(), Secret(1)));
  const RootKeyEnvironment environment{
      .credentials_directory = "",
      .prompt = {},
      .opens = [&](RootKey& key) { return key.Unwrap(wrapped, AsBytes("p")).has_value(); },
      .deposit = fd.get()};
  ASSERT_TRUE(OpenRootKey(KeyFileSource{path}, environment, random));
  ASSERT_EQ(unlink(path.c_str()), 0);
  const auto again = OpenRootKey(KeyFileSource{path}, environment, random);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE((*again)->Unwrap(wrapped, AsBytes("p")));
}

}  // namespace
}  // namespace secretfs::crypto
