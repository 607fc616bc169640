#include "crypto/keyring.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <utility>

#include "tests/crypto/key_directory.h"
#include "tests/crypto/memory_key_source.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_random.h"

namespace secretfs::crypto {
namespace {

class KeyringTest : public ::testing::Test {
 protected:
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
  MemoryKeySource source_{*root_key_};
  MemoryKeySource::Key& record_ = source_.Add(random_);
  Keyring keyring_{source_, clock_};
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
  MemoryKeySource nothing(*root_key_);
  Keyring other(nothing, clock_);
  EXPECT_EQ(other.Decrypt(Encrypt(), {}).error().code, Code::kKeyUnavailable);
}

TEST_F(KeyringTest, OlderGenerationsStillDecryptAndTheNewestEncrypts) {
  const Bytes old_blob = Encrypt();
  source_.AddGeneration(record_, random_);
  keyring_.Forget(record_.id);
  const Bytes new_blob = Encrypt();
  EXPECT_EQ(ReadBlobOrigin(old_blob)->material, record_.materials[0].id);
  EXPECT_EQ(ReadBlobOrigin(new_blob)->material, record_.materials[1].id);
  EXPECT_EQ(ReadBlobOrigin(new_blob)->key, record_.id);
  EXPECT_TRUE(keyring_.Decrypt(old_blob, {}));
  EXPECT_TRUE(keyring_.Decrypt(new_blob, {}));
}

TEST_F(KeyringTest, HoldsSeveralKeys) {
  const KeyId second = source_.Add(random_).id;
  const Bytes blob =
      keyring_.Encrypt(second, {}, SecretBuffer::CopyOf(plaintext_), random_).value();
  EXPECT_TRUE(keyring_.Decrypt(blob, {}));
  EXPECT_TRUE(keyring_.Decrypt(Encrypt(), {}));
}

TEST_F(KeyringTest, UnwrapsOnceUntilItForgets) {
  const Bytes blob = Encrypt();
  const int loads = source_.loads;
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(keyring_.Decrypt(blob, {}));
    EXPECT_TRUE(keyring_.Check(record_.id));
  }
  EXPECT_EQ(source_.loads, loads);
  keyring_.Forget(record_.id);
  EXPECT_TRUE(keyring_.Decrypt(blob, {}));
  EXPECT_EQ(source_.loads, loads + 1);
}

TEST_F(KeyringTest, AForgottenKeyThatMayNotBeUsedIsUnavailable) {
  const Bytes blob = Encrypt();
  record_.usable = false;
  keyring_.Forget(record_.id);
  EXPECT_EQ(CodeOfDecrypt(blob), Code::kKeyUnavailable);
  EXPECT_EQ(keyring_.Check(record_.id).error().code, Code::kKeyUnavailable);
  record_.usable = true;
  EXPECT_TRUE(keyring_.Decrypt(blob, {}));
}

TEST_F(KeyringTest, MaterialIsNotUsedBeyondItsEnd) {
  record_.valid_to = clock_.NowMs() + 1000;
  const Bytes blob = Encrypt();
  EXPECT_TRUE(keyring_.Decrypt(blob, {}));
  clock_.Advance(999);
  EXPECT_TRUE(keyring_.Decrypt(blob, {}));
  record_.usable = false;
  EXPECT_TRUE(keyring_.Decrypt(blob, {}));  // Held.
  clock_.Advance(1);
  EXPECT_EQ(CodeOfDecrypt(blob), Code::kKeyUnavailable);
}

TEST_F(KeyringTest, HoldsNoMoreThanItsCapacity) {
  Keyring small(source_, clock_, 4);
  std::vector<Bytes> blobs;
  for (int i = 0; i < 20; ++i) {
    const KeyId key = source_.Add(random_).id;
    blobs.push_back(small.Encrypt(key, {}, SecretBuffer::CopyOf(plaintext_), random_).value());
    EXPECT_LE(small.size(), 4u);
  }
  for (const Bytes& blob : blobs) EXPECT_TRUE(small.Decrypt(blob, {}));
  // The one used last stays.
  const int loads = source_.loads;
  EXPECT_TRUE(small.Decrypt(blobs.back(), {}));
  EXPECT_EQ(source_.loads, loads);
}

TEST_F(KeyringTest, AGenerationIsHeldOnceHoweverItIsFound) {
  const Bytes old_blob = Encrypt();
  EXPECT_TRUE(keyring_.Decrypt(old_blob, {}));
  EXPECT_EQ(keyring_.size(), 1u);
  EXPECT_EQ(source_.loads, 1);
  source_.AddGeneration(record_, random_);
  keyring_.Forget(record_.id);
  EXPECT_TRUE(keyring_.Decrypt(Encrypt(), {}));
  EXPECT_TRUE(keyring_.Decrypt(old_blob, {}));
  EXPECT_EQ(keyring_.size(), 2u);
  EXPECT_EQ(source_.loads, 3);
}

TEST_F(KeyringTest, TheGenerationUsedLongestAgoMakesRoom) {
  Keyring small(source_, clock_, 3);
  std::vector<KeyId> keys;
  for (int i = 0; i < 4; ++i) keys.push_back(source_.Add(random_).id);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(small.Check(keys[i]));
  ASSERT_TRUE(small.Check(keys[0]));
  ASSERT_TRUE(small.Check(keys[3]));  // In the place of the second.
  const int loads = source_.loads;
  for (const int i : {0, 2, 3}) ASSERT_TRUE(small.Check(keys[i]));
  EXPECT_EQ(source_.loads, loads);
  ASSERT_TRUE(small.Check(keys[1]));
  EXPECT_EQ(source_.loads, loads + 1);
  EXPECT_EQ(small.size(), 3u);
}

// A source that changes while it is asked.
class ChangingSource final : public KeySource {
 public:
  explicit ChangingSource(KeySource& source) : source_(source) {}
  Result<Material> Load(const KeyId& key, const MaterialId* material) override {
    auto loaded = source_.Load(key, material);
    if (change) std::exchange(change, nullptr)();
    return loaded;
  }
  std::function<void()> change;

 private:
  KeySource& source_;
};

TEST_F(KeyringTest, WhatWasLoadedBeforeAChangeIsNotHeldAfterIt) {
  ChangingSource changing(source_);
  Keyring keyring(changing, clock_);
  const Bytes blob = Encrypt();
  changing.change = [&] {
    record_.usable = false;
    keyring.Forget(record_.id);
  };
  EXPECT_TRUE(keyring.Decrypt(blob, {}));  // Began before the change.
  EXPECT_EQ(keyring.Decrypt(blob, {}).error().code, Code::kKeyUnavailable);
}

TEST_F(KeyringTest, UnwrapFailsWithTheWrongRootKey) {
  const auto other = NewLocalRootKey(0x22, random_);
  const WrappedMaterial& material = record_.materials[0];
  const auto unwrapped = UnwrapMaterial(*other, record_.id, material.id, material.wrapped);
  ASSERT_FALSE(unwrapped);
  EXPECT_EQ(unwrapped.error().code, Code::kCorrupt);
  EXPECT_NE(unwrapped.error().message.find(FormatUuid(record_.id)), std::string::npos);
}

TEST_F(KeyringTest, UnwrapFailsWhenMaterialIsExchanged) {
  const WrappedMaterial& material = record_.materials[0];
  const auto code = [&](const KeyId& key, const MaterialId& id, ByteSpan wrapped) {
    const auto unwrapped = UnwrapMaterial(*root_key_, key, id, wrapped);
    return unwrapped ? Code::kInternal : unwrapped.error().code;
  };
  KeyId key = record_.id;
  key[0] ^= 1;
  EXPECT_EQ(code(key, material.id, material.wrapped), Code::kCorrupt);
  MaterialId id = material.id;
  id[0] ^= 1;
  EXPECT_EQ(code(record_.id, id, material.wrapped), Code::kCorrupt);
  Bytes damaged = material.wrapped;
  damaged.back() ^= 1;
  EXPECT_EQ(code(record_.id, material.id, damaged), Code::kCorrupt);
  EXPECT_EQ(code(record_.id, material.id, material.wrapped), Code::kInternal);
}

}  // namespace
}  // namespace secretfs::crypto
