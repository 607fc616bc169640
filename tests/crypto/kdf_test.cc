#include "crypto/kdf.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/crypto/vector_file.h"

namespace secretfs::crypto {
namespace {

TEST(KdfTest, HkdfMatchesTheVectorsOfRfc5869) {
  for (const Vector& vector : ReadVectors("hkdf_sha256.txt")) {
    const Bytes expected = vector.Hex("out");
    const SecretBuffer out =
        Hkdf(vector.Hex("key"), vector.Hex("salt"), vector.Hex("info"), expected.size());
    EXPECT_EQ(ToHex(out.Reveal()), ToHex(expected));
  }
}

TEST(KdfTest, HkdfGivesUpTo8160Bytes) {
  EXPECT_EQ(Hkdf(Bytes(32), {}, {}, 8160).size(), 8160u);
  EXPECT_DEATH(Hkdf(Bytes(32), {}, {}, 8161), "check failed");
}

TEST(KdfTest, Sha256MatchesTheVectorsOfNist) {
  for (const Vector& vector : ReadVectors("sha256.txt")) {
    EXPECT_EQ(ToHex(Sha256(vector.Hex("message"))), vector.Text("out"));
  }
}

TEST(KdfTest, HmacMatchesTheVectorsOfRfc4231) {
  for (int round = 0; round < 2; ++round) {
    for (const Vector& vector : ReadVectors("hmac_sha256.txt")) {
      EXPECT_EQ(ToHex(HmacSha256(vector.Hex("key"), vector.Hex("message"))), vector.Text("out"));
    }
  }
}

TEST(KdfTest, HmacUnderTheSameKeyAgainDoesNotDependOnTheMessageBefore) {
  const Bytes key(32, 1);
  const Digest first = HmacSha256(key, AsBytes("a"));
  EXPECT_NE(HmacSha256(key, AsBytes("b")), first);
  EXPECT_EQ(HmacSha256(key, AsBytes("a")), first);
  EXPECT_NE(HmacSha256(Bytes(32, 2), AsBytes("a")), first);
  EXPECT_EQ(HmacSha256(key, AsBytes("a")), first);
}

TEST(KdfTest, HmacTakesAnEmptyKeyAndAnEmptyMessage) {
  // HMAC pads a key with zeros, so the empty one equals one zero byte.
  EXPECT_EQ(HmacSha256({}, {}), HmacSha256(Bytes(1), {}));
  EXPECT_EQ(ToHex(HmacSha256({}, {})),
            "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST(KdfTest, EveryThreadHashesAlike) {
  const Digest expected = HmacSha256(Bytes(32, 1), AsBytes("name"));
  for (int i = 0; i < 8; ++i) {
    Digest got{};
    std::jthread([&] { got = HmacSha256(Bytes(32, 1), AsBytes("name")); }).join();
    EXPECT_EQ(got, expected);
  }
}

TEST(KdfTest, Argon2idMatchesTheVectorsOfTheReferenceImplementation) {
  for (const Vector& vector : ReadVectors("argon2id.txt")) {
    const Argon2Params params{vector.Number("memory_kib"), vector.Number("passes"),
                              vector.Number("lanes")};
    const auto out = Argon2id(vector.Hex("passphrase"), vector.Hex("salt"), params);
    ASSERT_TRUE(out) << out.error().message;
    EXPECT_EQ(ToHex(out->Reveal()), vector.Text("out"));
  }
}

TEST(KdfTest, Argon2idUsesItsLanes) {
  const auto one = Argon2id(AsBytes("password"), Bytes(16), {8192, 1, 1});
  const auto two = Argon2id(AsBytes("password"), Bytes(16), {8192, 1, 2});
  ASSERT_TRUE(one && two);
  EXPECT_FALSE(one->Equals(*two));
}

TEST(KdfTest, Argon2idRefusesParametersOutOfBounds) {
  for (const Argon2Params& params :
       {Argon2Params{8191, 3, 1}, Argon2Params{4194305, 3, 1}, Argon2Params{0, 3, 1},
        Argon2Params{0xffffffff, 3, 1}, Argon2Params{8192, 0, 1}, Argon2Params{8192, 65, 1},
        Argon2Params{8192, 3, 0}, Argon2Params{8192, 3, 17}}) {
    const auto out = Argon2id(AsBytes("password"), Bytes(16), params);
    ASSERT_FALSE(out);
    EXPECT_EQ(out.error().code, Code::kInvalidArgument);
  }
}

TEST(KdfTest, Argon2idRefusesAShortSalt) {
  const auto out = Argon2id(AsBytes("password"), Bytes(7), {8192, 1, 1});
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace secretfs::crypto
