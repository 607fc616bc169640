#include "crypto/mac.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/crypto/vector_file.h"
#include "tests/support/fake_random.h"

namespace secretfs::crypto {
namespace {

constexpr KeySpec kSpecs[] = {KeySpec::kHmac224, KeySpec::kHmac256, KeySpec::kHmac384,
                              KeySpec::kHmac512};

MacAlgorithm AlgorithmOf(KeySpec spec) {
  return MacAlgorithmsOf(spec, KeyUsage::kGenerateVerifyMac).front();
}

TEST(MacTest, HmacMatchesTheVectorsOfRfc4231) {
  std::set<std::string> algorithms;
  for (const Vector& vector : ReadVectors("hmac.txt")) {
    const MacAlgorithm algorithm = ParseName<MacAlgorithm>(vector.Text("algorithm")).value();
    EXPECT_EQ(ToHex(Hmac(algorithm, vector.Hex("key"), vector.Hex("message"))), vector.Text("mac"));
    algorithms.insert(vector.Text("algorithm"));
  }
  EXPECT_EQ(algorithms.size(), AllOf<MacAlgorithm>().size());
}

TEST(MacTest, HmacTakesAnEmptyKeyAndAnEmptyMessage) {
  // HMAC pads a key with zeros, so the empty one equals one zero byte.
  EXPECT_EQ(Hmac(MacAlgorithm::kHmacSha256, {}, {}), Hmac(MacAlgorithm::kHmacSha256, Bytes(1), {}));
  EXPECT_EQ(ToHex(Hmac(MacAlgorithm::kHmacSha256, {}, {})),
            "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST(MacTest, ANewKeyIsAsLongAsTheHashAndDiffersFromTheOneBefore) {
  testing::FakeRandom random;
  for (const KeySpec spec : kSpecs) {
    const MacKey one = MacKey::Generate(spec, random).value();
    const MacKey two = MacKey::Generate(spec, random).value();
    EXPECT_EQ(one.spec(), spec);
    EXPECT_EQ(one.material().size(), MaterialBytes(spec));
    EXPECT_FALSE(one.material().Equals(two.material()));
  }
}

TEST(MacTest, AMacVerifiesUnderTheSameMaterialAlone) {
  testing::FakeRandom random;
  for (const KeySpec spec : kSpecs) {
    const MacKey key = MacKey::Generate(spec, random).value();
    const MacKey same =
        MacKey::FromMaterial(spec, SecretBuffer::CopyOf(key.material().Reveal())).value();
    const MacKey other = MacKey::Generate(spec, random).value();
    const Bytes mac = key.Mac(AlgorithmOf(spec), AsBytes("message")).value();
    EXPECT_EQ(mac.size(), MacBytes(AlgorithmOf(spec)));
    EXPECT_TRUE(same.Verify(AlgorithmOf(spec), {AsBytes("message"), mac}));
    const Status refused = other.Verify(AlgorithmOf(spec), {AsBytes("message"), mac});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kCorrupt);
  }
}

TEST(MacTest, AnyFlippedBitOfMacOrMessageIsRefused) {
  testing::FakeRandom random;
  for (const KeySpec spec : kSpecs) {
    const MacKey key = MacKey::Generate(spec, random).value();
    Bytes message(AsBytes("message").begin(), AsBytes("message").end());
    Bytes mac = key.Mac(AlgorithmOf(spec), message).value();
    for (Bytes* bytes : {&message, &mac}) {
      for (size_t bit = 0; bit < 8 * bytes->size(); ++bit) {
        (*bytes)[bit / 8] ^= 1 << bit % 8;
        EXPECT_FALSE(key.Verify(AlgorithmOf(spec), {message, mac})) << bit;
        (*bytes)[bit / 8] ^= 1 << bit % 8;
      }
    }
    EXPECT_TRUE(key.Verify(AlgorithmOf(spec), {message, mac}));
  }
}

TEST(MacTest, APartOfAMacIsRefused) {
  testing::FakeRandom random;
  const MacKey key = MacKey::Generate(KeySpec::kHmac256, random).value();
  const Bytes mac = key.Mac(MacAlgorithm::kHmacSha256, AsBytes("message")).value();
  for (size_t size = 0; size < mac.size(); ++size) {
    EXPECT_FALSE(
        key.Verify(MacAlgorithm::kHmacSha256, {AsBytes("message"), ByteSpan(mac).first(size)}));
  }
  Bytes longer = mac;
  longer.push_back(0);
  EXPECT_FALSE(key.Verify(MacAlgorithm::kHmacSha256, {AsBytes("message"), longer}));
}

TEST(MacTest, TheAlgorithmOfAnotherSpecIsRefused) {
  testing::FakeRandom random;
  for (const KeySpec spec : kSpecs) {
    const MacKey key = MacKey::Generate(spec, random).value();
    for (const MacAlgorithm algorithm : AllOf<MacAlgorithm>()) {
      if (algorithm == AlgorithmOf(spec)) continue;
      const auto mac = key.Mac(algorithm, AsBytes("message"));
      ASSERT_FALSE(mac);
      EXPECT_EQ(mac.error().code, Code::kInvalidArgument);
      const Bytes forged = Hmac(algorithm, key.material().Reveal(), AsBytes("message"));
      const Status verified = key.Verify(algorithm, {AsBytes("message"), forged});
      ASSERT_FALSE(verified);
      EXPECT_EQ(verified.error().code, Code::kInvalidArgument);
    }
  }
  const auto key = MacKey::Generate(KeySpec::kHmac224, random);
  EXPECT_EQ(key->Mac(MacAlgorithm::kHmacSha256, {}).error().message,
            "Algorithm HMAC_SHA_256 is incompatible with key spec HMAC_224.");
}

TEST(MacTest, MaterialOfAnotherSizeIsRefused) {
  for (const KeySpec spec : kSpecs) {
    for (const size_t size : {size_t{0}, MaterialBytes(spec) - 1, MaterialBytes(spec) + 1}) {
      const auto key = MacKey::FromMaterial(spec, SecretBuffer(size));
      ASSERT_FALSE(key);
      EXPECT_EQ(key.error().code, Code::kInvalidArgument);
    }
  }
}

TEST(MacTest, KeysOfOtherSpecsAreRefused) {
  testing::FakeRandom random;
  for (const KeySpec spec : {KeySpec::kSymmetricDefault, KeySpec::kRsa2048, KeySpec::kMlDsa44}) {
    EXPECT_EQ(MacKey::Generate(spec, random).error().code, Code::kInvalidArgument);
    EXPECT_EQ(MacKey::FromMaterial(spec, SecretBuffer(32)).error().code, Code::kInvalidArgument);
  }
}

TEST(MacTest, ThreadsShareAKey) {
  testing::FakeRandom random;
  const MacKey key = MacKey::Generate(KeySpec::kHmac384, random).value();
  const Bytes expected = key.Mac(MacAlgorithm::kHmacSha384, AsBytes("message")).value();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        EXPECT_EQ(key.Mac(MacAlgorithm::kHmacSha384, AsBytes("message")).value(), expected);
      }
    });
  }
}

}  // namespace
}  // namespace secretfs::crypto
