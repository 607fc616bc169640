#include "store/record.h"

#include <gtest/gtest.h>

#include "store/audit_event.h"
#include "store/store_header.h"

namespace secretfs::store {
namespace {

Secret ExampleSecret() {
  Secret secret;
  secret.path = 7;
  secret.name = "prod/db";
  secret.arn_suffix = "AbC123";
  secret.description = "the database";
  secret.tags = {{"team", "core"}, {"empty", ""}};
  secret.ever_tagged = true;
  secret.created_at = 1000;
  secret.changed_at = 2000;
  secret.deletion_at = 3000;
  secret.kms_key[3] = 9;
  secret.versions = {{1, "first", 1000, ValueKind::kString, 40, true},
                     {5, "second", 2000, ValueKind::kBinary, 3, false}};
  secret.labels = {{"AWSCURRENT", 5, 0, 2000}, {"blue", 1, 9, 1500}};
  return secret;
}

// Encodes what was decoded: equal bytes mean that no field was lost.
TEST(RecordTest, EveryRecordRoundTrips) {
  Bytes secret = EncodeSecret(ExampleSecret());
  EXPECT_EQ(EncodeSecret(*DecodeSecret(secret)), secret);
  EXPECT_EQ(DecodeSecret(secret)->labels[1].selector, 9u);
  EXPECT_EQ(DecodeSecret(secret)->versions[1].kind, ValueKind::kBinary);

  Bytes version = EncodeVersionRecord({7, {{1, 10}, {4, 20}}});
  EXPECT_EQ(EncodeVersionRecord(*DecodeVersionRecord(version)), version);
  EXPECT_EQ(DecodeVersionRecord(version)->FindKey(4)->size_bytes, 20u);
  EXPECT_EQ(DecodeVersionRecord(version)->FindKey(2), nullptr);

  Bytes path = EncodePathRecord({3, 1, "prod"});
  EXPECT_EQ(EncodePathRecord(*DecodePathRecord(path)), path);
  Bytes name = EncodeInternedName({3, 0, "password"});
  EXPECT_EQ(EncodeInternedName(*DecodeInternedName(name)), name);
  Bytes counters = EncodeCounters({1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(EncodeCounters(*DecodeCounters(counters)), counters);
  Bytes change = EncodeChange({1, 2, ChangeKind::kRemoved, 3});
  EXPECT_EQ(EncodeChange(*DecodeChange(change)), change);

  AuditEvent event;
  event.at = 5;
  event.action = Action::kDeleteSecret;
  event.principal_arn = "arn";
  event.error_message = "why";
  Bytes audit = EncodeAuditEvent(ViewOf(event));
  EXPECT_EQ(EncodeAuditEvent(ViewOf(*DecodeAuditEvent(audit))), audit);
}

TEST(RecordTest, TruncatedOrExtendedRecordsAreRefused) {
  Bytes secret = EncodeSecret(ExampleSecret());
  for (size_t size = 0; size < secret.size(); ++size) {
    ASSERT_EQ(DecodeSecret(ByteSpan(secret).first(size)).error().code, Code::kCorrupt) << size;
  }
  secret.push_back(0);
  EXPECT_EQ(DecodeSecret(secret).error().code, Code::kCorrupt);
}

TEST(RecordTest, ALabelOnAMissingVersionIsRefused) {
  Secret secret = ExampleSecret();
  secret.labels[0].version = 77;
  EXPECT_EQ(DecodeSecret(EncodeSecret(secret)).error().code, Code::kCorrupt);
}

StoreHeader ExampleHeader() {
  StoreHeader header;
  header.store_id = "id";
  header.owner_uid = 1000;
  header.root_key_source = crypto::KeyFileSource{"/key"};
  header.wrapped_store_key = {1, 2, 3};
  return header;
}

TEST(StoreHeaderTest, RoundTripsAndItsMacCoversEveryBit) {
  Bytes mac_key(32, 7);
  Bytes encoded = EncodeStoreHeader(ExampleHeader(), mac_key);
  ASSERT_TRUE(CheckStoreHeaderMac(encoded, mac_key));
  EXPECT_EQ(EncodeStoreHeader(*DecodeStoreHeader(encoded), mac_key), encoded);
  for (size_t bit = 0; bit < encoded.size() * 8; ++bit) {
    Bytes flipped = encoded;
    flipped[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_FALSE(CheckStoreHeaderMac(flipped, mac_key)) << bit;
  }
}

TEST(StoreHeaderTest, ANewerFormatIsNamed) {
  StoreHeader header = ExampleHeader();
  header.format_version = kFormatVersion + 1;
  auto decoded = DecodeStoreHeader(EncodeStoreHeader(header, Bytes(32, 7)));
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code, Code::kFailedPrecondition);
  EXPECT_NE(decoded.error().message.find("newer than the format 2"), std::string::npos);
}

}  // namespace
}  // namespace secretfs::store
