#include "crypto/envelope.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "crypto/secret_memory.h"
#include "tests/crypto/key_directory.h"
#include "tests/crypto/memory_key_source.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_random.h"

namespace secretfs::crypto {
namespace {

class EnvelopeTest : public ::testing::Test {
 protected:
  Bytes Seal(std::string_view text) {
    return SealEnvelope(keyring_, record_.id, context_, AsBytes(place_),
                        SecretBuffer::CopyOf(AsBytes(text)), random_)
        .value();
  }
  Result<SecretBuffer> Open(ByteSpan envelope) {
    return OpenEnvelope(keyring_, context_, AsBytes(place_), envelope);
  }

  testing::FakeRandom random_;
  testing::FakeClock clock_;
  const std::unique_ptr<RootKey> root_key_ = NewLocalRootKey(0x11, random_);
  const EncryptionContext context_{{"SecretARN", "arn:1"}, {"SecretVersionId", "v1"}};
  const std::string place_ = "versions/1";
  MemoryKeySource source_{*root_key_};
  MemoryKeySource::Key& record_ = source_.Add(random_);
  Keyring keyring_{source_, clock_};
};

TEST_F(EnvelopeTest, RoundTripsEverySizeOfASecret) {
  for (size_t size : {0, 1, 15, 16, 17, 64, 4096, 65'536}) {
    const std::string text(size, 's');
    const auto opened = Open(Seal(text));
    ASSERT_TRUE(opened) << size;
    EXPECT_EQ(AsText(opened->Reveal()), text);
  }
}

TEST_F(EnvelopeTest, OpenFailsForEveryFlippedBit) {
  Bytes envelope = Seal("a secret value");
  constexpr size_t kIdsBegin = 1 + 2 + 1;
  constexpr size_t kIdsEnd = kIdsBegin + 16 + 32;
  for (size_t bit = 0; bit < envelope.size() * 8; ++bit) {
    envelope[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    const auto opened = Open(envelope);
    ASSERT_FALSE(opened) << bit;
    const bool in_ids = bit / 8 >= kIdsBegin && bit / 8 < kIdsEnd;
    EXPECT_EQ(opened.error().code, in_ids ? Code::kKeyUnavailable : Code::kCorrupt) << bit;
    envelope[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
  EXPECT_TRUE(Open(envelope));
}

TEST_F(EnvelopeTest, OpenFailsWhenCutShortOrExtended) {
  Bytes envelope = Seal("a secret value");
  for (size_t size = 0; size < envelope.size(); ++size) {
    const auto opened = Open(ByteSpan(envelope).first(size));
    ASSERT_FALSE(opened) << size;
    EXPECT_EQ(opened.error().code, Code::kCorrupt) << size;
  }
  envelope.push_back(0);
  EXPECT_FALSE(Open(envelope));
}

TEST_F(EnvelopeTest, OpenFailsInAnotherPlace) {
  const Bytes envelope = Seal("a secret value");
  const auto opened = OpenEnvelope(keyring_, context_, AsBytes("versions/2"), envelope);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::kCorrupt);
}

TEST_F(EnvelopeTest, OpenFailsWithAnotherContext) {
  const auto opened = OpenEnvelope(keyring_, {{"SecretARN", "arn:2"}, {"SecretVersionId", "v1"}},
                                   AsBytes(place_), Seal("a secret value"));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::kCorrupt);
}

TEST_F(EnvelopeTest, TheDataKeyOfOneEnvelopeDoesNotOpenAnother) {
  Bytes first = Seal("a secret value");
  const Bytes second = Seal("a secret value");
  const size_t value_offset = first.size() - (kGcmNonceBytes + 14 + kGcmTagBytes);
  std::copy_n(second.begin(), value_offset, first.begin());
  EXPECT_FALSE(Open(first));
}

TEST_F(EnvelopeTest, UnknownKeyIsUnavailable) {
  const auto sealed =
      SealEnvelope(keyring_, NewUuid(random_), context_, AsBytes(place_), SecretBuffer(1), random_);
  ASSERT_FALSE(sealed);
  EXPECT_EQ(sealed.error().code, Code::kKeyUnavailable);
  MemoryKeySource nothing(*root_key_);
  Keyring other(nothing, clock_);
  const auto opened = OpenEnvelope(other, context_, AsBytes(place_), Seal("value"));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::kKeyUnavailable);
}

TEST_F(EnvelopeTest, ADataKeyOfAnotherSizeIsRefused) {
  const Bytes blob = keyring_.Encrypt(record_.id, context_, SecretBuffer(31), random_).value();
  ByteWriter envelope;
  envelope.U8(1).U16(static_cast<uint16_t>(blob.size())).Raw(blob).Raw(Bytes(12 + 16));
  const auto opened = Open(envelope.bytes());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::kCorrupt);
}

TEST_F(EnvelopeTest, EnvelopesOfTheSameValueDifferThroughout) {
  const Bytes first = Seal("a secret value");
  const Bytes second = Seal("a secret value");
  EXPECT_FALSE(std::ranges::equal(ByteSpan(first).last(30), ByteSpan(second).last(30)));
}

TEST_F(EnvelopeTest, NothingDecryptedStaysInLockedMemory) {
  const Bytes envelope = Seal(std::string(5000, 's'));
  ASSERT_TRUE(Open(envelope));
  const size_t before = GetSecretMemoryStats().used_bytes;
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Open(envelope));
  EXPECT_EQ(GetSecretMemoryStats().used_bytes, before);
}

TEST_F(EnvelopeTest, RewrapChangesTheKeyAndNotTheValue) {
  const Bytes before = Seal("correct horse");
  const KeyId other = source_.Add(random_).id;
  const Bytes after = RewrapEnvelope(keyring_, other, context_, before, random_).value();
  EXPECT_EQ(ReadEnvelopeOrigin(before)->key, record_.id);
  EXPECT_EQ(ReadEnvelopeOrigin(after)->key, other);
  EXPECT_EQ(AsText(Open(after)->Reveal()), "correct horse");
  const size_t value = kGcmNonceBytes + 13 + kGcmTagBytes;
  EXPECT_TRUE(std::ranges::equal(ByteSpan(before).last(value), ByteSpan(after).last(value)));
  EXPECT_EQ(RewrapEnvelope(keyring_, other, {{"SecretARN", "arn:2"}}, before, random_).error().code,
            Code::kCorrupt);
}

}  // namespace
}  // namespace secretfs::crypto
