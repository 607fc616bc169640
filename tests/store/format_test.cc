// The worked examples of store/FORMAT.md, made again and compared byte for byte.

#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "store/kms_record.h"
#include "store/record.h"
#include "store/secret_store.h"
#include "store/store_header.h"
#include "store/table_key.h"
#include "tests/support/temp_directory.h"

namespace secretfs::store {
namespace {

// 00 01 02 ..., as the page says.
class CountingRandom final : public crypto::RandomSource {
 public:
  void Fill(std::span<uint8_t> out) override {
    for (uint8_t& byte : out) byte = next_++;
  }

 private:
  uint8_t next_ = 0;
};

// The blocks "```hex NAME", without white space and "# ..." remarks.
std::map<std::string, std::string> ReadExamples() {
  std::ifstream page(SECRETFS_SOURCE_DIR "/store/FORMAT.md");
  EXPECT_TRUE(page.is_open());
  std::map<std::string, std::string> examples;
  std::string* current = nullptr;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("```hex ")) {
      current = &examples[line.substr(7)];
    } else if (line.starts_with("```")) {
      current = nullptr;
    } else if (current != nullptr) {
      for (char c : line.substr(0, line.find('#'))) {
        if (!std::isspace(static_cast<unsigned char>(c))) current->push_back(c);
      }
    }
  }
  return examples;
}

StoreKeys ExampleKeys() {
  return StoreKeys(crypto::SecretBuffer::CopyOf(Bytes(32, 0x22)));
}

class StoreFormatTest : public ::testing::Test {
 protected:
  void Expect(const std::string& name, ByteSpan bytes) {
    EXPECT_EQ(ToHex(bytes), examples_[name]) << name;
  }
  std::map<std::string, std::string> examples_ = ReadExamples();
};

TEST_F(StoreFormatTest, Header) {
  StoreHeader header;
  header.store_id = "00010203-0405-4607-8809-0a0b0c0d0e0f";
  header.owner_uid = 1000;
  header.created_at = 1'704'067'200'000;
  header.root_key_source = crypto::KeyFileSource{"/k"};
  header.wrapped_store_key = {0xaa, 0xbb};
  Expect("header", EncodeStoreHeader(header, ExampleKeys().header.Reveal()));
}

TEST_F(StoreFormatTest, SecretRecord) {
  Secret secret;
  secret.path = 3;
  secret.name = "prod/db";
  secret.arn_suffix = "AbC123";
  secret.description = "main";
  secret.tags = {{"team", "core"}};
  secret.ever_tagged = true;
  secret.created_at = 1;
  secret.changed_at = 2;
  secret.kms_key.fill(0x33);
  secret.versions = {{1, "v1", 1, ValueKind::kString, 40, true}};
  secret.versions[0].kms_key = secret.kms_key;
  secret.labels = {{"AWSCURRENT", 1, 0, 1}};
  Expect("secret", EncodeSecret(secret));
}

TEST_F(StoreFormatTest, KmsKeyRecord) {
  KmsKey key;
  key.id.fill(0x33);
  key.created_at = 1;
  key.rotation_enabled = true;
  key.next_rotation_at = 2;
  key.description = "main";
  key.tags = {{"team", "core"}};
  KeyMaterial material;
  material.id.fill(0x44);
  material.created_at = 1;
  material.wrapped = {0xaa, 0xbb};
  key.materials.push_back(material);
  Expect("kms-key", EncodeKmsKey(key));
}

TEST_F(StoreFormatTest, GrantRecord) {
  Grant grant;
  grant.id.fill(0x55);
  grant.key.fill(0x33);
  grant.name = "web";
  grant.grantee_principal = "arn:aws:iam::000000000000:role/web";
  grant.issued_by = "arn:aws:iam::000000000000:root";
  grant.created_at = 1;
  grant.operations = {GrantOperation::kDecrypt, GrantOperation::kRetireGrant};
  grant.constraints.encryption_context_subset = ContextMap{{"app", "web"}};
  Expect("grant", EncodeGrant(grant));
}

// The page's sealed dirent is what the store writes: found under its key, opened, and equal byte
// for byte.
TEST_F(StoreFormatTest, DirentAsStored) {
  testing::TempDirectory directory;
  auto env = Env::Open(directory.path(), Env::Mode::kCreate).value();
  CountingRandom random;
  SecretStore store(*env, ExampleKeys(), {}, random);
  auto mutation = store.Begin().value();
  ASSERT_TRUE(mutation->EnsurePath(*SecretName::Parse("prod")));
  ASSERT_TRUE(mutation->Commit());
  Bytes key;
  Bytes value;
  ReadTxn txn(*env);
  ASSERT_TRUE(txn.Scan(Table::kDirents, {}, [&](ByteSpan k, ByteSpan v) -> Result<bool> {
    key.assign(k.begin(), k.end());
    value.assign(v.begin(), v.end());
    return true;
  }));
  Expect("dirent-key", key);
  Expect("dirent-value", value);
}

TEST_F(StoreFormatTest, AuditSegment) {
  testing::TempDirectory directory;
  CountingRandom random;
  {
    auto trail =
        AuditTrail::Open({directory / "audit", 4096},
                         crypto::SecretBuffer::CopyOf(ExampleKeys().audit.Reveal()), {}, 0, random)
            .value();
    AuditEvent event;
    event.at = 1;
    event.action = Action::kGetSecretValue;
    event.door = Door::kMount;
    event.principal_arn = "p";
    event.uid = 1000;
    event.gid = 1000;
    event.pid = 7;
    event.secret_id = "prod/db";
    ASSERT_TRUE(trail->Append(event, 0));
  }
  std::ifstream file(directory / "audit/00000001.segment", std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  Expect("audit-segment", AsBytes(bytes));
}

}  // namespace
}  // namespace secretfs::store
