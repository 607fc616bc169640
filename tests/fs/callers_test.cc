#include "fs/callers.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/fake_clock.h"
#include "tests/support/temp_directory.h"

namespace secretfs::fs {
namespace {

class CallersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Write(
        "root:x:0:0:root:/root:/bin/sh\n"
        "web:x:33:33::/:/bin/sh\n"
        "alice.b:x:1001:1001::/:/bin/sh\n"
        "uid-33:x:1002:1002::/:/bin/sh\n"
        "unknown:x:1003:1003::/:/bin/sh\n"
        "dollar$:x:1004:1004::/:/bin/sh\n");
  }

  void Write(const std::string& text) { std::ofstream(directory_ / "passwd") << text; }
  std::string ArnOf(uint32_t uid, uint32_t gid = 7) { return callers_.PrincipalOf(uid, gid)->arn; }

  secretfs::testing::TempDirectory directory_;
  secretfs::testing::FakeClock clock_;
  Callers callers_{{.realm = {"local-1", "123456789012"},
                    .owner_uid = 1001,
                    .password_file = directory_ / "passwd"},
                   clock_};
};

TEST_F(CallersTest, TheOwnerIsTheAccountRoot) {
  EXPECT_EQ(ArnOf(1001), "arn:aws:iam::123456789012:root");
}

TEST_F(CallersTest, OthersAreUsersByTheirLoginName) {
  EXPECT_EQ(ArnOf(33), "arn:aws:iam::123456789012:user/web");
  EXPECT_EQ(ArnOf(0), "arn:aws:iam::123456789012:user/root");
}

TEST_F(CallersTest, AUidWithoutLoginNameIsAUserByItsNumber) {
  EXPECT_EQ(ArnOf(4242), "arn:aws:iam::123456789012:user/uid-4242");
}

TEST_F(CallersTest, ALoginNameCannotPassForAnotherCaller) {
  EXPECT_EQ(ArnOf(1002), "arn:aws:iam::123456789012:user/uid-1002");
  EXPECT_EQ(ArnOf(1003), "arn:aws:iam::123456789012:user/uid-1003");
  EXPECT_EQ(ArnOf(1004), "arn:aws:iam::123456789012:user/uid-1004");
}

TEST_F(CallersTest, AnUnmappedUidIsAnonymousEvenIfItIsTheOwner) {
  Callers callers({.realm = {}, .owner_uid = UINT32_MAX, .password_file = directory_ / "passwd"},
                  clock_);
  EXPECT_EQ(callers.PrincipalOf(UINT32_MAX, 0)->arn, "arn:aws:iam::000000000000:user/unknown");
}

TEST_F(CallersTest, TheGroupOfEachRequestIsKept) {
  EXPECT_EQ(callers_.PrincipalOf(33, 1)->gid, 1u);
  EXPECT_EQ(callers_.PrincipalOf(33, 2)->gid, 2u);
  EXPECT_EQ(callers_.PrincipalOf(33, 1)->uid, 33u);
}

TEST_F(CallersTest, AResultIsKeptForAMinute) {
  EXPECT_EQ(ArnOf(33), "arn:aws:iam::123456789012:user/web");
  Write("httpd:x:33:33::/:/bin/sh\n");
  clock_.Advance(59'999);
  EXPECT_EQ(ArnOf(33), "arn:aws:iam::123456789012:user/web");
  clock_.Advance(1);
  EXPECT_EQ(ArnOf(33), "arn:aws:iam::123456789012:user/httpd");
}

TEST_F(CallersTest, AClockThatJumpsBackKeepsNothing) {
  EXPECT_EQ(ArnOf(33), "arn:aws:iam::123456789012:user/web");
  Write("httpd:x:33:33::/:/bin/sh\n");
  clock_.Advance(-3'600'000);
  EXPECT_EQ(ArnOf(33), "arn:aws:iam::123456789012:user/httpd");
}

TEST_F(CallersTest, AMissingPasswordFileLeavesNumbers) {
  Callers callers({.realm = {}, .owner_uid = 5, .password_file = directory_ / "none"}, clock_);
  EXPECT_EQ(callers.PrincipalOf(33, 33)->arn, "arn:aws:iam::000000000000:user/uid-33");
  EXPECT_EQ(callers.PrincipalOf(5, 5)->arn, "arn:aws:iam::000000000000:root");
}

TEST_F(CallersTest, APrincipalOutlivesItsEntry) {
  const auto held = callers_.PrincipalOf(33, 33);
  for (uint32_t uid = 100'000; uid < 110'000; ++uid) callers_.PrincipalOf(uid, uid);
  EXPECT_EQ(held->arn, "arn:aws:iam::123456789012:user/web");
}

}  // namespace
}  // namespace secretfs::fs
