#include "crypto/aead.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "crypto/secret_memory.h"
#include "tests/crypto/vector_file.h"
#include "tests/support/fake_random.h"

namespace secretfs::crypto {
namespace {

class AeadTest : public ::testing::Test {
 protected:
  testing::FakeRandom random_;
  const Aead aead_{SecretBuffer::CopyOf(Bytes(32, 0x42))};
  const Bytes aad_ = Bytes(20, 0x17);
};

TEST_F(AeadTest, MatchesTheVectorsOfC2sp) {
  for (const Vector& vector : ReadVectors("xaes_256_gcm.txt")) {
    const Aead aead(SecretBuffer::CopyOf(vector.Hex("key")));
    const Bytes nonce = vector.Hex("nonce");
    const Bytes plaintext = vector.Hex("plaintext");
    Bytes sealed(plaintext.size() + Aead::kOverheadBytes);
    aead.SealWithNonce(nonce, plaintext, vector.Hex("aad"), sealed);
    EXPECT_EQ(ToHex(sealed), ToHex(nonce) + vector.Text("sealed"));
    const auto opened = aead.Open(sealed, vector.Hex("aad"));
    ASSERT_TRUE(opened);
    EXPECT_EQ(ToHex(opened->Reveal()), ToHex(plaintext));
  }
}

// "Accumulated randomized tests" of https://c2sp.org/XAES-256-GCM: inputs from SHAKE-128 of
// nothing, the ciphertexts hashed with SHAKE-128.
TEST_F(AeadTest, MatchesTheAccumulatedVectorsOfC2sp) {
  constexpr int kRounds = 10'000;
  EVP_MD_CTX* const shake = EVP_MD_CTX_new();
  Bytes stream(kRounds * (32 + 24 + 2 * 256));
  ASSERT_EQ(EVP_DigestInit_ex2(shake, EVP_shake128(), nullptr), 1);
  ASSERT_EQ(EVP_DigestFinalXOF(shake, stream.data(), stream.size()), 1);
  ASSERT_EQ(EVP_DigestInit_ex2(shake, EVP_shake128(), nullptr), 1);
  ByteReader in(stream);
  for (int round = 0; round < kRounds; ++round) {
    const Aead aead(SecretBuffer::CopyOf(in.Raw(32)));
    const ByteSpan nonce = in.Raw(24);
    const ByteSpan plaintext = in.Raw(in.U8());
    const ByteSpan aad = in.Raw(in.U8());
    Bytes sealed(plaintext.size() + Aead::kOverheadBytes);
    aead.SealWithNonce(nonce, plaintext, aad, sealed);
    const ByteSpan ciphertext = ByteSpan(sealed).subspan(kXaesNonceBytes);
    ASSERT_EQ(EVP_DigestUpdate(shake, ciphertext.data(), ciphertext.size()), 1);
  }
  Bytes hash(32);
  ASSERT_EQ(EVP_DigestFinalXOF(shake, hash.data(), hash.size()), 1);
  EVP_MD_CTX_free(shake);
  EXPECT_EQ(ToHex(hash), "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939");
}

TEST_F(AeadTest, RoundTripsEveryLength) {
  for (size_t size = 0; size < 200; ++size) {
    const Bytes plaintext(size, static_cast<uint8_t>(size));
    const Bytes sealed = aead_.Seal(plaintext, aad_, random_);
    EXPECT_EQ(sealed.size(), size + Aead::kOverheadBytes);
    const auto opened = aead_.Open(sealed, aad_);
    ASSERT_TRUE(opened) << size;
    EXPECT_EQ(ToHex(opened->Reveal()), ToHex(plaintext));
    EXPECT_EQ(aead_.OpenMetadata(sealed, aad_).value(), plaintext);
  }
}

TEST_F(AeadTest, OpenFailsForEveryFlippedBit) {
  Bytes sealed = aead_.Seal(AsBytes("a message"), aad_, random_);
  for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    sealed[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    const auto opened = aead_.Open(sealed, aad_);
    ASSERT_FALSE(opened) << bit;
    EXPECT_EQ(opened.error().code, Code::kCorrupt);
    EXPECT_FALSE(aead_.OpenMetadata(sealed, aad_)) << bit;
    sealed[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
  EXPECT_TRUE(aead_.Open(sealed, aad_));
}

TEST_F(AeadTest, OpenFailsWhenCutShortAnywhere) {
  const Bytes sealed = aead_.Seal(AsBytes("a message"), aad_, random_);
  for (size_t size = 0; size < sealed.size(); ++size) {
    const auto opened = aead_.Open(ByteSpan(sealed).first(size), aad_);
    ASSERT_FALSE(opened) << size;
    EXPECT_EQ(opened.error().code, Code::kCorrupt);
    EXPECT_FALSE(aead_.OpenMetadata(ByteSpan(sealed).first(size), aad_));
  }
}

TEST_F(AeadTest, OpenFailsWithOtherAssociatedData) {
  const Bytes sealed = aead_.Seal(AsBytes("a message"), aad_, random_);
  EXPECT_FALSE(aead_.Open(sealed, {}));
  EXPECT_FALSE(aead_.Open(sealed, Bytes(19, 0x17)));
  EXPECT_FALSE(aead_.Open(sealed, Bytes(21, 0x17)));
}

TEST_F(AeadTest, OpenFailsWithAnotherKey) {
  const Bytes sealed = aead_.Seal(AsBytes("a message"), aad_, random_);
  const Aead other(SecretBuffer::CopyOf(Bytes(32, 0x43)));
  EXPECT_FALSE(other.Open(sealed, aad_));
}

TEST_F(AeadTest, SealsTheSameMessageDifferentlyEachTime) {
  const Bytes first = aead_.Seal(AsBytes("a message"), aad_, random_);
  EXPECT_NE(aead_.Seal(AsBytes("a message"), aad_, random_), first);
}

TEST_F(AeadTest, AcceptsMessagesOfAMegabyte) {
  const Bytes plaintext(1 << 20, 7);
  const auto opened = aead_.Open(aead_.Seal(plaintext, aad_, random_), aad_);
  ASSERT_TRUE(opened);
  EXPECT_TRUE(std::ranges::equal(opened->Reveal(), plaintext));
}

TEST_F(AeadTest, IsThreadSafe) {
  const Bytes sealed = aead_.Seal(AsBytes("a message"), aad_, random_);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 1000; ++j) {
        const Bytes mine = aead_.Seal(AsBytes("another"), aad_, random_);
        ASSERT_TRUE(aead_.Open(sealed, aad_));
        ASSERT_TRUE(aead_.Open(mine, aad_));
      }
    });
  }
}

TEST_F(AeadTest, OpenLeavesNothingInUseInLockedMemory) {
  const Bytes sealed = aead_.Seal(Bytes(5000, 1), aad_, random_);
  const size_t before = GetSecretMemoryStats().used_bytes;
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(aead_.Open(sealed, aad_));
  EXPECT_EQ(GetSecretMemoryStats().used_bytes, before);
}

TEST(AeadDeathTest, NeedsAKeyOf32Bytes) {
  EXPECT_DEATH(Aead(SecretBuffer(16)), "check failed");
}

}  // namespace
}  // namespace secretfs::crypto
