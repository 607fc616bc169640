// Stores of every released format open for ever. Never change or remove a fixture; add one for
// each new format.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>

#include "crypto/base64.h"
#include "store/error_name.h"
#include "store/kms_service.h"
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

// What clients kept that the store of fixture v2 made for them.
constexpr std::string_view kCiphertext =
    "ARhczP2raEobl2feXKtLdTZUvrJWRxi6/xhW+dnq9dsNlRa39Yycq2hKOrZlyFp/E3EN4GZFWhCAgNLz"
    "SuuofGgYfCkaQQQReiT4oBjYCHIsQa8R3R68NeNZ9QBeOTighPWknGi38Vs=";
constexpr std::string_view kSignature =
    "MEYCIQDYWI0zdYvUpJjRsvSwQYgqPfGD4ncRY8fDuisSFi9jCQIhAPipmviAzQBEfDDQBJYd3louJ3nn"
    "KdFPu9soe8IlMtPK";
constexpr std::string_view kGrantToken =
    "v1OskQzBcBgbKBOfslTRsGLhHKg3x7AVKLxjuIvy2rTZOlhkDsDIJ6WJGbFu/u8uBzYUVT806TnAbI/x"
    "HS+p3E2eJn7uhyHqrYJC8tThUzD7BVIwQqO/Gw==";

Bytes Decoded(std::string_view base64) {
  const auto bytes = crypto::Base64Decode(AsBytes(base64)).value();
  return Bytes(bytes.Reveal().begin(), bytes.Reveal().end());
}

TEST_F(FixtureTest, FormatTwoOpens) {
  auto service = OpenCopy("v2");
  auto get = [&](const std::string& name) {
    auto value = service->GetSecretValue(caller_, name, {}, "");
    return value ? Text(value->bytes) : std::string(AwsErrorName(value.error().code));
  };
  EXPECT_EQ(get("default"), "one");
  EXPECT_EQ(get("named"), "two");
  EXPECT_EQ(get("imported"), "three");
  EXPECT_EQ(get("gone"), "DecryptionFailure");
  EXPECT_EQ(get("moved"), "five");
  KmsService& kms = service->kms();
  auto describe = [&](const std::string& key) {
    return *kms.DescribeKey(caller_, {key, {}, ""}).value();
  };
  const KmsKey main = describe("alias/main");
  EXPECT_EQ(main.description, "main");
  EXPECT_EQ(main.tags.at("team"), "core");
  EXPECT_EQ(main.materials.size(), 2u);
  EXPECT_EQ(main.rotation_period_days, 90);
  EXPECT_EQ(describe("alias/imported").origin, KeyOrigin::kExternal);
  EXPECT_EQ(describe("alias/doomed").state, KeyState::kPendingDeletion);
  DecryptRequest decrypt;
  decrypt.ciphertext_blob = Decoded(kCiphertext);
  decrypt.encryption_context = {{"app", "web"}};
  decrypt.options.grant_tokens = {std::string(kGrantToken)};
  EXPECT_EQ(Text(kms.Decrypt(caller_, decrypt)->plaintext), "before rotation");
  VerifyRequest verify;
  verify.signed_message = {"alias/sign",
                           {1, 2, 3},
                           crypto::MessageType::kRaw,
                           crypto::SigningAlgorithm::kEcdsaSha256,
                           {}};
  verify.signature = Decoded(kSignature);
  EXPECT_TRUE(kms.Verify(caller_, verify));
  EXPECT_TRUE(
      kms.GenerateMac(caller_, {"alias/mac", {1}, crypto::MacAlgorithm::kHmacSha256, {}, {}}));
  const auto grants =
      kms.ListRetirableGrants(caller_, {"arn:aws:iam::000000000000:role/ops", {}, ""}).value();
  ASSERT_EQ(grants.entries.size(), 1u);
  EXPECT_EQ(ToHex(grants.entries[0].id),
            "8da2bfac4c4353ac8b6c3a42ac606254a835578f772b3626904ca3560bf61a0e");
  EXPECT_EQ(kms.ListAliases(caller_, {"", {}, ""})->entries.size(), 6u);
  auto report = service->ReadAudit(caller_, [](uint64_t, const AuditEvent&) { return true; }, "");
  EXPECT_EQ(report->problem, "");
}

}  // namespace
}  // namespace secretfs::store
