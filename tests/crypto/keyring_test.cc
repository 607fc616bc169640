#include "crypto/keyring.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/crypto/key_directory.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_random.h"

namespace secretfs::crypto {
namespace {

class KeyringTest : public ::testing::Test {
 protected:
  KeyringTest() {
    record_ = NewKeyRecord("alias/test", *root_key_, clock_.NowMs(), random_).value();
    EXPECT_TRUE(keyring_.Load(record_, *root_key_));
  }

  Bytes Encrypt(const EncryptionContext& context = {}) {
    return keyring_.Encrypt(record_.id, context, SecretBuffer::CopyOf(plaintext_), random_).value();
  }
  Code CodeOfDecrypt(ByteSpan blob, const EncryptionContext& context = {}) {
    const auto result = keyring_.Decrypt(blob, context);
    return result ? Code::kInternal : result.error().code;
  }

  testing::FakeRandom random_;
  testing::FakeClock clock_;
  const std::unique_ptr<RootKey> root_key_ = NewLocalRootKey(0x11, random_);
  const Bytes plaintext_ = Bytes(32, 0x5a);
  KeyRecord record_;
  Keyring keyring_;
};

TEST(UuidTest, IsFormattedAsRfc9562Says) {
  std::array<uint8_t, 16> uuid;
  for (size_t i = 0; i < uuid.size(); ++i) uuid[i] = static_cast<uint8_t>(i * 0x11);
  EXPECT_EQ(FormatUuid(uuid), "00112233-4455-6677-8899-aabbccddeeff");
}

TEST(UuidTest, NewOnesAreOfVersion4AndDiffer) {
  testing::FakeRandom random;
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const std::string text = FormatUuid(NewUuid(random));
    EXPECT_EQ(text[14], '4');
    EXPECT_NE(std::string("89ab").find(text[19]), std::string::npos);
    EXPECT_TRUE(seen.insert(text).second);
  }
}

TEST(EncryptionContextTest, IsOrderFreeAndSortedByBytes) {
  const EncryptionContext forth{{"a", "1"}, {"b", "2"}, {"\xff", "3"}};
  const EncryptionContext back{{"\xff", "3"}, {"b", "2"}, {"a", "1"}};
  EXPECT_EQ(EncodeEncryptionContext(forth), EncodeEncryptionContext(back));
  EXPECT_EQ(ToHex(EncodeEncryptionContext(forth)),
            "0003"
            "0000000161"
            "0000000131"
            "0000000162"
            "0000000132"
            "00000001ff"
            "0000000133");
}

TEST(EncryptionContextTest, LengthsKeepNamesAndValuesApart) {
  const EncryptionContext contexts[] = {
      {},
      {{"", ""}},
      {{"a", "bc"}},
      {{"ab", "c"}},
      {{"abc", ""}},
      {{"", "abc"}},
      {{"a", "b"}, {"c", ""}},
      {{"a", ""}, {"b", "c"}},
  };
  std::set<std::string> encodings;
  for (const EncryptionContext& context : contexts) {
    EXPECT_TRUE(encodings.insert(ToHex(EncodeEncryptionContext(context))).second);
  }
}

TEST_F(KeyringTest, RoundTrips) {
  const EncryptionContext context{{"SecretARN", "arn:1"}, {"SecretVersionId", "v1"}};
  const auto opened = keyring_.Decrypt(Encrypt(context), context);
  ASSERT_TRUE(opened);
  EXPECT_EQ(ToHex(opened->Reveal()), ToHex(plaintext_));
}

TEST_F(KeyringTest, NewKeyHasOneGeneration) {
  EXPECT_EQ(record_.alias, "alias/test");
  EXPECT_EQ(record_.created_at, clock_.NowMs());
  ASSERT_EQ(record_.materials.size(), 1u);
  EXPECT_EQ(record_.materials[0].created_at, clock_.NowMs());
  EXPECT_EQ(record_.materials[0].wrapped.size(), kAesKeyBytes + Aead::kOverheadBytes);
}

TEST_F(KeyringTest, DecryptFailsForEveryFlippedBit) {
  const EncryptionContext context{{"name", "value"}};
  Bytes blob = Encrypt(context);
  constexpr size_t kIdsEnd = 1 + 16 + 32;
  for (size_t bit = 0; bit < blob.size() * 8; ++bit) {
    blob[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    const bool in_ids = bit / 8 >= 1 && bit / 8 < kIdsEnd;
    EXPECT_EQ(CodeOfDecrypt(blob, context), in_ids ? Code::kKeyUnavailable : Code::kCorrupt) << bit;
    blob[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
}

TEST_F(KeyringTest, DecryptFailsWhenCutShortAnywhere) {
  const Bytes blob = Encrypt();
  for (size_t size = 0; size < blob.size(); ++size) {
    EXPECT_EQ(CodeOfDecrypt(ByteSpan(blob).first(size)), Code::kCorrupt) << size;
  }
}

TEST_F(KeyringTest, DecryptFailsWithAnotherContext) {
  const Bytes blob = Encrypt({{"a", "bc"}});
  for (const EncryptionContext& context :
       {EncryptionContext{}, {{"ab", "c"}}, {{"a", "bd"}}, {{"a", "bc"}, {"d", ""}}}) {
    EXPECT_EQ(CodeOfDecrypt(blob, context), Code::kCorrupt);
  }
}

TEST_F(KeyringTest, UnknownKeyIsUnavailable) {
  const auto result =
      keyring_.Encrypt(NewUuid(random_), {}, SecretBuffer::CopyOf(plaintext_), random_);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kKeyUnavailable);
  EXPECT_EQ(Keyring().Decrypt(Encrypt(), {}).error().code, Code::kKeyUnavailable);
}

TEST_F(KeyringTest, OlderGenerationsStillDecryptAndTheNewestEncrypts) {
  const Bytes old_blob = Encrypt();
  clock_.Advance(kMsPerDay);
  ASSERT_TRUE(AddGeneration(record_, *root_key_, clock_.NowMs(), random_));
  ASSERT_TRUE(keyring_.Load(record_, *root_key_));
  ASSERT_EQ(record_.materials.size(), 2u);
  EXPECT_EQ(record_.materials[1].created_at, clock_.NowMs());

  const Bytes new_blob = Encrypt();
  EXPECT_EQ(ToHex(ByteSpan(old_blob).subspan(17, 32)), ToHex(record_.materials[0].id));
  EXPECT_EQ(ToHex(ByteSpan(new_blob).subspan(17, 32)), ToHex(record_.materials[1].id));
  EXPECT_TRUE(keyring_.Decrypt(old_blob, {}));
  EXPECT_TRUE(keyring_.Decrypt(new_blob, {}));
}

TEST_F(KeyringTest, HoldsSeveralKeys) {
  const KeyRecord second = NewKeyRecord("alias/second", *root_key_, 0, random_).value();
  ASSERT_TRUE(keyring_.Load(second, *root_key_));
  const Bytes blob =
      keyring_.Encrypt(second.id, {}, SecretBuffer::CopyOf(plaintext_), random_).value();
  EXPECT_TRUE(keyring_.Decrypt(blob, {}));
  EXPECT_TRUE(keyring_.Decrypt(Encrypt(), {}));
}

TEST_F(KeyringTest, LoadFailsWithTheWrongRootKey) {
  const auto other = NewLocalRootKey(0x22, random_);
  Keyring keyring;
  const Status status = keyring.Load(record_, *other);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kCorrupt);
  EXPECT_NE(status.error().message.find(FormatUuid(record_.id)), std::string::npos);
}

TEST_F(KeyringTest, LoadFailsWhenRecordsAreExchanged) {
  Keyring keyring;
  KeyRecord renamed = record_;
  renamed.id[0] ^= 1;
  EXPECT_EQ(keyring.Load(renamed, *root_key_).error().code, Code::kCorrupt);
  KeyRecord relabelled = record_;
  relabelled.materials[0].id[0] ^= 1;
  EXPECT_EQ(keyring.Load(relabelled, *root_key_).error().code, Code::kCorrupt);
  KeyRecord damaged = record_;
  damaged.materials[0].wrapped.back() ^= 1;
  EXPECT_EQ(keyring.Load(damaged, *root_key_).error().code, Code::kCorrupt);
  KeyRecord empty = record_;
  empty.materials.clear();
  EXPECT_EQ(keyring.Load(empty, *root_key_).error().code, Code::kCorrupt);
}

TEST_F(KeyringTest, AFailedLoadLeavesTheKeyAsItWas) {
  const Bytes blob = Encrypt();
  KeyRecord damaged = record_;
  damaged.materials[0].wrapped.back() ^= 1;
  EXPECT_FALSE(keyring_.Load(damaged, *root_key_));
  EXPECT_TRUE(keyring_.Decrypt(blob, {}));
}

}  // namespace
}  // namespace secretfs::crypto
