#include "store/kms_record.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <vector>

#include "store/record.h"

namespace secretfs::store {
namespace {

KmsKey ExampleKey() {
  KmsKey key;
  key.id.fill(1);
  key.description = "main";
  key.spec = crypto::KeySpec::kEccNistP384;
  key.usage = crypto::KeyUsage::kKeyAgreement;
  key.state = KeyState::kPendingDeletion;
  key.origin = KeyOrigin::kExternal;
  key.created_at = 5;
  key.deletion_at = 6;
  key.rotation_enabled = true;
  key.rotation_period_days = 90;
  key.next_rotation_at = 7;
  key.on_demand_rotations = 3;
  key.tags = {{"a", "1"}, {"b", ""}};
  key.policy = "{}";
  key.public_key = {1, 2};
  KeyMaterial material;
  material.id.fill(2);
  material.created_at = 8;
  material.state = MaterialState::kNonCurrent;
  material.wrapped = {3, 4};
  material.valid_to = 9;
  material.description = "old";
  key.materials.push_back(material);
  material.id.fill(3);
  material.state = MaterialState::kCurrent;
  material.rotation = RotationType::kOnDemand;
  material.rotated_at = 10;
  material.wrapped.clear();
  material.valid_to.reset();
  key.materials.push_back(material);
  return key;
}

Grant ExampleGrant() {
  Grant grant;
  grant.id.fill(1);
  grant.key.fill(2);
  grant.name = "web";
  grant.grantee_principal = "arn:a";
  grant.retiring_principal = "arn:b";
  grant.issued_by = "arn:c";
  grant.created_at = 5;
  grant.operations = {GrantOperation::kDecrypt, GrantOperation::kDeriveSharedSecret};
  grant.constraints.encryption_context_subset = ContextMap{{"a", "1"}, {"b", ""}};
  return grant;
}

// Encodes what was decoded: equal bytes mean that no field was lost. And nothing but the whole
// record is accepted.
template <typename Value, typename Encode, typename Decode>
void ExpectRoundTrip(const Value& value, const Encode& encode, const Decode& decode) {
  Bytes bytes = encode(value);
  const auto decoded = decode(bytes);
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(encode(*decoded), bytes);
  for (size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_EQ(decode(ByteSpan(bytes).first(size)).error().code, Code::kCorrupt) << size;
  }
  bytes.push_back(0);
  EXPECT_EQ(decode(bytes).error().code, Code::kCorrupt);
}

TEST(KmsRecordTest, EveryRecordRoundTrips) {
  ExpectRoundTrip(ExampleKey(), EncodeKmsKey, DecodeKmsKey);
  ExpectRoundTrip(ExampleGrant(), EncodeGrant, DecodeGrant);
  ExpectRoundTrip(Alias{"alias/web", ExampleKey().id, 1, 2}, EncodeAlias, DecodeAlias);
  ExpectRoundTrip(KeyUse{Action::kKmsVerifyMac, 7}, EncodeKeyUse, DecodeKeyUse);
  ExpectRoundTrip(KmsCounts{1, 2, 3}, EncodeKmsCounts, DecodeKmsCounts);
  const KmsKey key = DecodeKmsKey(EncodeKmsKey(ExampleKey())).value();
  EXPECT_EQ(key.deletion_at, 6);
  EXPECT_EQ(key.materials[0].valid_to, 9);
  EXPECT_EQ(key.Current()->rotated_at, 10);
  EXPECT_EQ(key.tags.at("a"), "1");
}

TEST(KmsRecordTest, AKeyWithoutASingleCurrentGenerationIsRefused) {
  KmsKey key = ExampleKey();
  key.materials[0].state = MaterialState::kCurrent;
  EXPECT_EQ(DecodeKmsKey(EncodeKmsKey(key)).error().code, Code::kCorrupt);
  key.materials.clear();
  EXPECT_TRUE(DecodeKmsKey(EncodeKmsKey(key)));
  key.origin = KeyOrigin::kAwsKms;
  EXPECT_EQ(DecodeKmsKey(EncodeKmsKey(key)).error().code, Code::kCorrupt);
}

TEST(KmsRecordTest, WhatNoKeyCanBeIsRefused) {
  const std::vector<std::function<void(KmsKey&)>> changes = {
      [](KmsKey& key) {
        key.state = KeyState::kUnavailable;
        key.deletion_at.reset();
      },
      [](KmsKey& key) { key.origin = KeyOrigin::kAwsCloudHsm; },
      [](KmsKey& key) { key.usage = crypto::KeyUsage::kEncryptDecrypt; },
      [](KmsKey& key) { key.rotation_period_days = 0; },
      [](KmsKey& key) { key.rotation_period_days = kRotationPeriodDaysMax + 1; },
      [](KmsKey& key) { key.materials[1].id = key.materials[0].id; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    KmsKey key = ExampleKey();
    changes[i](key);
    EXPECT_EQ(DecodeKmsKey(EncodeKmsKey(key)).error().code, Code::kCorrupt) << i;
  }
}

TEST(KmsRecordTest, TimesToWhichNoPeriodCanBeAddedAreRefused) {
  constexpr TimeMs kTooLate = std::numeric_limits<TimeMs>::max() - 2;
  KmsKey key = ExampleKey();
  key.created_at = kTooLate;
  EXPECT_EQ(DecodeKmsKey(EncodeKmsKey(key)).error().code, Code::kCorrupt);
  EXPECT_EQ(DecodeKmsKey(EncodeKmsKeyV1(key, "alias/x")).error().code, Code::kCorrupt);
  key.created_at = -1;
  EXPECT_EQ(DecodeKmsKey(EncodeKmsKeyV1(key, "alias/x")).error().code, Code::kCorrupt);
  Grant grant = ExampleGrant();
  grant.created_at = kTooLate;
  EXPECT_EQ(DecodeGrant(EncodeGrant(grant)).error().code, Code::kCorrupt);
  EXPECT_EQ(DecodeAlias(EncodeAlias({"alias/web", key.id, 1, kTooLate})).error().code,
            Code::kCorrupt);
  EXPECT_EQ(DecodeKeyUse(EncodeKeyUse({Action::kKmsVerifyMac, kTooLate})).error().code,
            Code::kCorrupt);
}

TEST(KmsRecordTest, WhatNoGrantCanBeIsRefused) {
  const std::vector<std::function<void(Grant&)>> changes = {
      [](Grant& grant) { std::ranges::reverse(grant.operations); },
      [](Grant& grant) { grant.operations.push_back(grant.operations.back()); },
      [](Grant& grant) { grant.operations.clear(); },
      [](Grant& grant) { grant.constraints.encryption_context_equals = ContextMap{{"a", "1"}}; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    Grant grant = ExampleGrant();
    changes[i](grant);
    EXPECT_EQ(DecodeGrant(EncodeGrant(grant)).error().code, Code::kCorrupt) << i;
  }
}

// The decoders accept one form of each record: a changed byte is refused or another record.
TEST(KmsRecordTest, EveryRecordHasOneForm) {
  const auto expect_one_form = [](const Bytes& bytes, const auto& encode, const auto& decode) {
    for (size_t i = 0; i < bytes.size(); ++i) {
      for (int value = 0; value < 256; ++value) {
        Bytes changed = bytes;
        changed[i] = static_cast<uint8_t>(value);
        const auto decoded = decode(changed);
        // A record of version 1 is not written any more.
        if (decoded && changed[0] == bytes[0]) {
          ASSERT_EQ(encode(*decoded), changed) << i << " " << value;
        }
      }
    }
  };
  expect_one_form(EncodeKmsKey(ExampleKey()), EncodeKmsKey, DecodeKmsKey);
  expect_one_form(EncodeGrant(ExampleGrant()), EncodeGrant, DecodeGrant);
}

TEST(KmsRecordTest, ADeletionDateComesWithTheState) {
  KmsKey key = ExampleKey();
  key.state = KeyState::kEnabled;
  EXPECT_EQ(DecodeKmsKey(EncodeKmsKey(key)).error().code, Code::kCorrupt);
  key.deletion_at.reset();
  EXPECT_TRUE(DecodeKmsKey(EncodeKmsKey(key)));
}

TEST(KmsRecordTest, TheKeyOfFormatOneBecomesTheKeyOfSecrets) {
  KmsKey key = ExampleKey();
  key.materials[1].wrapped = {5};
  const Bytes bytes = EncodeKmsKeyV1(key, kSecretsManagerAlias);
  const KmsKey decoded = DecodeKmsKey(bytes).value();
  EXPECT_EQ(decoded.id, key.id);
  EXPECT_EQ(decoded.manager, KeyManager::kAws);
  EXPECT_EQ(decoded.state, KeyState::kEnabled);
  EXPECT_TRUE(decoded.rotation_enabled);
  EXPECT_EQ(decoded.next_rotation_at, 5 + 365 * kMsPerDay);
  ASSERT_EQ(decoded.materials.size(), 2u);
  EXPECT_EQ(decoded.materials[0].state, MaterialState::kNonCurrent);
  EXPECT_EQ(decoded.Current()->id, key.materials[1].id);
  for (size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_EQ(DecodeKmsKey(ByteSpan(bytes).first(size)).error().code, Code::kCorrupt) << size;
  }
}

Secret ExampleSecret() {
  Secret secret;
  secret.name = "a";
  secret.kms_key.fill(1);
  secret.versions = {{1, "v1"}, {2, "v2"}};
  for (Version& version : secret.versions) version.kms_key = secret.kms_key;
  return secret;
}

TEST(KmsRecordTest, ASecretUnderOneUnnamedKeyIsOfVersionOne) {
  Secret secret = ExampleSecret();
  EXPECT_EQ(EncodeSecret(secret)[0], 1);
  EXPECT_EQ(DecodeSecret(EncodeSecret(secret))->versions[1].kms_key, secret.kms_key);
  secret.kms_key_id = "alias/web";
  EXPECT_EQ(EncodeSecret(secret)[0], 2);
  EXPECT_EQ(DecodeSecret(EncodeSecret(secret))->kms_key_id, "alias/web");
  secret = ExampleSecret();
  secret.versions[0].kms_key.fill(9);
  EXPECT_EQ(EncodeSecret(secret)[0], 2);
  EXPECT_EQ(DecodeSecret(EncodeSecret(secret))->versions[0].kms_key, secret.versions[0].kms_key);
  ExpectRoundTrip(secret, EncodeSecret, DecodeSecret);
}

}  // namespace
}  // namespace secretfs::store
