// Stores of every released format open for ever. Never change or remove a fixture; add one for
// each new format.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>

#include "tests/support/temp_store.h"

namespace secretfs::store {
namespace {

using testing::Text;

class FixtureTest : public ::testing::Test {
 protected:
  // A private copy: opening a store adds to its audit trail.
  std::unique_ptr<SecretService> OpenCopy(const std::string& name) {
    std::filesystem::copy(SECRETFS_SOURCE_DIR "/tests/fixtures/" + name, directory_ / name,
                          std::filesystem::copy_options::recursive);
    EXPECT_EQ(chmod((directory_ / name).c_str(), 0700), 0);
    std::string key = directory_ / name + "/root-key";
    EXPECT_EQ(chmod(key.c_str(), 0400), 0);
    root_key_ = crypto::OpenRootKey(crypto::KeyFileSource{key}, {}, random_).value();
    SecretService::Options options;
    options.directory = directory_ / name;
    auto service = SecretService::Open(options, *root_key_, std::make_unique<OwnerAuthorizer>(0),
                                       clock_, random_);
    EXPECT_TRUE(service) << service.error().message;
    return std::move(*service);
  }

  testing::TempDirectory directory_;
  testing::FakeClock clock_;
  crypto::SystemRandom random_;
  std::unique_ptr<crypto::RootKey> root_key_;
  Principal owner_{"arn:aws:iam::000000000000:root", 0, 0};
  Caller caller_{owner_, Door::kInternal, 0};
};

TEST_F(FixtureTest, FormatOneOpens) {
  auto service = OpenCopy("v1");
  auto get = [&](const std::string& name, const VersionSelector& selector = {}) {
    auto value = service->GetSecretValue(caller_, name, selector, "");
    return value ? Text(value->bytes) : value.error().message;
  };
  EXPECT_EQ(get("prod/db"), R"({"username":"app","password":"n3w"})");
  EXPECT_EQ(get("prod/db", {{}, "AWSPREVIOUS"}),
            R"({"username":"app","password":"s3cr3t","port":5432})");
  EXPECT_EQ(get("prod", {{}, "blue"}), "plain");
  EXPECT_EQ(get("large"), std::string(65536, 'z'));
  EXPECT_EQ(get("binary"), std::string("\0\xff\x80", 3));
  SecretPtr secret = service->DescribeSecret(caller_, "prod/db", "").value();
  EXPECT_EQ(secret->tags, (std::map<std::string, std::string>{{"team", "core"}}));
  EXPECT_EQ(secret->description, "the database");
  EXPECT_TRUE(service->DescribeSecret(caller_, "gone", "").value()->deletion_at);
  KeySlot slot = *service->PeekKeySlot("password").value();
  EXPECT_EQ(service->PeekKeySize(secret->FindVersionByLabel(kCurrent)->number, slot).value(), 3u);
  uint64_t events = 0;
  auto report = service->ReadAudit(
      caller_,
      [&](uint64_t, const AuditEvent&) {
        ++events;
        return true;
      },
      "");
  EXPECT_EQ(report->problem, "");
  EXPECT_GT(events, 20u);
}

}  // namespace
}  // namespace secretfs::store
