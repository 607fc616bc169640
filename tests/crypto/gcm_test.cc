#include "crypto/gcm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "crypto/secret_memory.h"
#include "tests/crypto/vector_file.h"
#include "tests/support/fake_random.h"

namespace secretfs::crypto {
namespace {

Bytes Join(ByteSpan left, ByteSpan right) {
  ByteWriter joined;
  joined.Raw(left).Raw(right);
  return joined.Take();
}

bool AllZero(ByteSpan bytes) {
  return std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; });
}

Bytes RandomBytes(size_t size_bytes, uint8_t seed) {
  Bytes bytes(size_bytes);
  testing::FakeRandom(seed).Fill(bytes);
  return bytes;
}

Bytes Seal(GcmCipher& cipher, ByteSpan plaintext, ByteSpan aad) {
  Bytes sealed(plaintext.size() + kGcmTagBytes);
  cipher.Seal(Bytes(kGcmNonceBytes, 2), aad, plaintext, sealed);
  return sealed;
}

struct Implementation {
  std::string name;
  std::unique_ptr<GcmCipher> (*make)();
};

void PrintTo(const Implementation& implementation, std::ostream* out) {
  *out << implementation.name;
}

class GcmTest : public ::testing::TestWithParam<Implementation> {
 protected:
  void ExpectVector(const Vector& vector) {
    const Bytes nonce = vector.Hex("nonce");
    const Bytes aad = vector.Hex("aad");
    const Bytes plaintext = vector.Hex("plaintext");
    const Bytes sealed = Join(vector.Hex("ciphertext"), vector.Hex("tag"));
    Bytes opened(sealed.size() - kGcmTagBytes, 0xee);
    cipher_->SetKey(vector.Hex("key"));
    const Status status = cipher_->Open(nonce, aad, sealed, opened);
    if (vector.Text("valid") == "no") {
      ASSERT_FALSE(status);
      EXPECT_EQ(status.error().code, Code::kCorrupt);
      EXPECT_TRUE(AllZero(opened));
      return;
    }
    ASSERT_TRUE(status);
    EXPECT_EQ(ToHex(opened), ToHex(plaintext));
    Bytes out(sealed.size());
    cipher_->Seal(nonce, aad, plaintext, out);
    EXPECT_EQ(ToHex(out), ToHex(sealed));
  }

  const std::unique_ptr<GcmCipher> cipher_ = GetParam().make();
  const Bytes key_ = Bytes(kAesKeyBytes, 1);
  const Bytes nonce_ = Bytes(kGcmNonceBytes, 2);
};

// The fastest is OpenSSL's again where there is no other.
INSTANTIATE_TEST_SUITE_P(All, GcmTest,
                         ::testing::Values(Implementation{"Openssl", NewOpensslGcm},
                                           Implementation{"Fastest", NewGcmCipher}),
                         [](const auto& test) { return test.param.name; });

TEST_P(GcmTest, MatchesTheVectorsOfNist) {
  for (const Vector& vector : ReadVectors("aes_256_gcm_nist.txt")) {
    SCOPED_TRACE(vector.Text("key"));
    ExpectVector(vector);
  }
}

TEST_P(GcmTest, MatchesTheVectorsOfWycheproof) {
  for (const Vector& vector : ReadVectors("aes_256_gcm_wycheproof.txt")) {
    SCOPED_TRACE(vector.Text("comment"));
    ExpectVector(vector);
  }
}

// Lengths around every block of the loops that take 48 blocks at once, and the largest value's.
TEST_P(GcmTest, GivesTheBytesOfOpensslForEveryLength) {
  const auto openssl = NewOpensslGcm();
  openssl->SetKey(key_);
  cipher_->SetKey(key_);
  std::vector<size_t> sizes{4096, 65535, 65536, 65537, size_t{1} << 20};
  for (size_t size = 0; size <= 2100; ++size) sizes.push_back(size);
  for (const size_t size : sizes) {
    const Bytes plaintext = RandomBytes(size, static_cast<uint8_t>(size));
    const Bytes aad = RandomBytes(size % 100, 3);
    const Bytes sealed = Seal(*cipher_, plaintext, aad);
    ASSERT_EQ(sealed, Seal(*openssl, plaintext, aad)) << size;
    Bytes opened(size);
    ASSERT_TRUE(cipher_->Open(nonce_, aad, sealed, opened)) << size;
    ASSERT_EQ(opened, plaintext) << size;
  }
}

TEST_P(GcmTest, OpenFailsForEveryFlippedBitAndZeroesItsOutput) {
  cipher_->SetKey(key_);
  Bytes sealed = Seal(*cipher_, RandomBytes(100, 7), {});
  for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    Bytes out(100, 0xee);
    sealed[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    const Status status = cipher_->Open(nonce_, {}, sealed, out);
    ASSERT_FALSE(status) << bit;
    EXPECT_EQ(status.error().code, Code::kCorrupt);
    EXPECT_TRUE(AllZero(out));
    sealed[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
}

TEST_P(GcmTest, TakesOneKeyAfterAnother) {
  cipher_->SetKey(key_);
  const Bytes first = Seal(*cipher_, Bytes(50, 5), {});
  cipher_->ClearKey();
  cipher_->SetKey(Bytes(kAesKeyBytes, 9));
  Bytes out(50);
  EXPECT_FALSE(cipher_->Open(nonce_, {}, first, out));
  EXPECT_NE(Seal(*cipher_, Bytes(50, 5), {}), first);
  cipher_->SetKey(key_);
  EXPECT_TRUE(cipher_->Open(nonce_, {}, first, out));
  EXPECT_EQ(out, Bytes(50, 5));
}

TEST_P(GcmTest, GivesItsLockedMemoryBack) {
  const size_t before = GetSecretMemoryStats().used_bytes;
  for (int i = 0; i < 10; ++i) GetParam().make()->SetKey(key_);
  EXPECT_EQ(GetSecretMemoryStats().used_bytes, before);
}

TEST(GcmFunctionsTest, OpenWhatTheySealed) {
  const Bytes key(kAesKeyBytes, 1), nonce(kGcmNonceBytes, 2), aad(20, 3), plaintext(100, 4);
  Bytes sealed(plaintext.size() + kGcmTagBytes), out(plaintext.size(), 0xee);
  GcmSeal(key, nonce, aad, plaintext, sealed);
  EXPECT_TRUE(GcmOpen(key, nonce, aad, sealed, out));
  EXPECT_EQ(out, plaintext);
  sealed.back() ^= 1;
  EXPECT_FALSE(GcmOpen(key, nonce, aad, sealed, out));
  EXPECT_TRUE(AllZero(out));
}

}  // namespace
}  // namespace secretfs::crypto
