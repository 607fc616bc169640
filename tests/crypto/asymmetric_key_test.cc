// Keys and their encodings; what they do is in asymmetric_key_sign_test.cc and
// asymmetric_key_secrecy_test.cc.

#include "crypto/asymmetric_key.h"

#include <gtest/gtest.h>
#include <openssl/err.h>

#include <string>
#include <thread>
#include <vector>

#include "tests/crypto/der.h"
#include "tests/crypto/rsa_test_keys.h"

namespace secretfs::crypto {
namespace {

SecretBuffer Copy(const SecretBuffer& buffer) {
  return SecretBuffer::CopyOf(buffer.Reveal());
}

bool CanSign(const AsymmetricKey& key) {
  const auto algorithm = SigningAlgorithmsOf(key.spec(), KeyUsage::kSignVerify).front();
  const MessageToSign message{algorithm, MessageType::kRaw, AsBytes("message")};
  const auto signature = key.Sign(message);
  return signature && key.Verify(message, *signature);
}

TEST(AsymmetricKeyTest, ANewKeySignsAndDiffersFromTheOneBefore) {
  for (const KeySpec spec : SupportedKeyPairs()) {
    // Larger RSA keys take seconds: SlowTest below.
    if (spec == KeySpec::kRsa3072 || spec == KeySpec::kRsa4096) continue;
    const AsymmetricKey one = AsymmetricKey::Generate(spec).value();
    const AsymmetricKey two = AsymmetricKey::Generate(spec).value();
    EXPECT_EQ(one.spec(), spec);
    EXPECT_TRUE(CanSign(one)) << NameOf(spec);
    EXPECT_NE(one.PublicKeyDer(), two.PublicKeyDer());
    EXPECT_FALSE(one.ToPkcs8().Equals(two.ToPkcs8()));
  }
}

TEST(AsymmetricKeyTest, SlowNewRsaKeysPassTheChecksOfImportedOnes) {
  for (const KeySpec spec : {KeySpec::kRsa2048, KeySpec::kRsa3072, KeySpec::kRsa4096}) {
    const AsymmetricKey key = AsymmetricKey::Generate(spec).value();
    EXPECT_TRUE(CanSign(key)) << NameOf(spec);
    EXPECT_TRUE(AsymmetricKey::FromPkcs8(spec, key.ToPkcs8())) << NameOf(spec);
  }
}

TEST(AsymmetricKeyTest, OtherSpecsAreRefused) {
  for (const KeySpec spec : AllOf<KeySpec>()) {
    if (IsAsymmetric(spec) && IsSupported(spec)) continue;
    const SecretBuffer pkcs8 = RsaTestKeyPkcs8(KeySpec::kRsa2048);
    for (const auto& key : {AsymmetricKey::Generate(spec), AsymmetricKey::FromPkcs8(spec, pkcs8),
                            AsymmetricKey::FromOwnPkcs8(spec, pkcs8)}) {
      ASSERT_FALSE(key) << NameOf(spec);
      EXPECT_EQ(key.error().code, Code::kInvalidArgument);
      EXPECT_NE(key.error().message.find(NameOf(spec)), std::string::npos);
    }
  }
}

TEST(AsymmetricKeyTest, AKeySurvivesItsEncoding) {
  for (const KeySpec spec : SupportedKeyPairs()) {
    const AsymmetricKey key = TestKey(spec);
    const SecretBuffer pkcs8 = key.ToPkcs8();
    for (const auto& again :
         {AsymmetricKey::FromPkcs8(spec, pkcs8), AsymmetricKey::FromOwnPkcs8(spec, pkcs8)}) {
      ASSERT_TRUE(again) << NameOf(spec);
      EXPECT_EQ(again->spec(), spec);
      EXPECT_TRUE(again->ToPkcs8().Equals(pkcs8)) << NameOf(spec);
      EXPECT_EQ(again->PublicKeyDer(), key.PublicKeyDer()) << NameOf(spec);
      EXPECT_TRUE(CanSign(*again));
    }
  }
}

TEST(AsymmetricKeyTest, AMovedKeyWorks) {
  AsymmetricKey key = AsymmetricKey::Generate(KeySpec::kEccNistP256).value();
  AsymmetricKey moved = std::move(key);
  EXPECT_TRUE(CanSign(moved));
  moved = AsymmetricKey::Generate(KeySpec::kEccNistEdwards25519).value();
  EXPECT_EQ(moved.spec(), KeySpec::kEccNistEdwards25519);
  EXPECT_TRUE(CanSign(moved));
}

TEST(AsymmetricKeyTest, UnsoundPrivateKeysAreRefused) {
  size_t count = 0;
  for (const Vector& vector : ReadVectors("unsound_private_keys.txt")) {
    const KeySpec spec = ParseName<KeySpec>(vector.Text("spec")).value();
    const auto key = AsymmetricKey::FromPkcs8(spec, SecretBuffer::CopyOf(vector.Hex("pkcs8")));
    EXPECT_FALSE(key) << vector.Text("spec") << ": " << vector.Text("comment");
    if (key) continue;
    EXPECT_EQ(key.error().code, Code::kInvalidArgument);
    EXPECT_EQ(key.error().message,
              "The key material is not a sound PKCS#8 private key (DER) of "
              "key spec " +
                  vector.Text("spec") + ".");
    ++count;
  }
  EXPECT_GE(count, 75u);
  EXPECT_EQ(ERR_peek_error(), 0u);
}

TEST(AsymmetricKeyTest, AKeyIsOfOneSpecOnly) {
  for (const KeySpec spec : SupportedKeyPairs()) {
    const SecretBuffer pkcs8 = TestKey(spec).ToPkcs8();
    for (const KeySpec other : SupportedKeyPairs()) {
      if (other == spec) continue;
      EXPECT_FALSE(AsymmetricKey::FromPkcs8(other, pkcs8)) << NameOf(spec) << NameOf(other);
      const auto own = AsymmetricKey::FromOwnPkcs8(other, pkcs8);
      ASSERT_FALSE(own) << NameOf(spec) << NameOf(other);
      EXPECT_EQ(own.error().code, Code::kCorrupt);
    }
  }
}

TEST(AsymmetricKeyTest, APartOfAnEncodingIsRefused) {
  for (const KeySpec spec :
       {KeySpec::kEccNistP256, KeySpec::kEccNistEdwards25519, KeySpec::kRsa2048}) {
    const SecretBuffer pkcs8 = TestKey(spec).ToPkcs8();
    const size_t step = spec == KeySpec::kRsa2048 ? 37 : 1;
    for (size_t size = 0; size < pkcs8.size(); size += step) {
      const SecretBuffer part = SecretBuffer::CopyOf(pkcs8.Reveal().first(size));
      EXPECT_FALSE(AsymmetricKey::FromPkcs8(spec, part)) << NameOf(spec) << " " << size;
    }
    SecretBuffer longer = Copy(pkcs8);
    longer.Append(Bytes(1));
    EXPECT_FALSE(AsymmetricKey::FromPkcs8(spec, longer)) << NameOf(spec);
  }
}

// The private number and the public part stand beside each other, so no single change fits both.
// What may change is the form of the point (bytes 72 and 73), and it leaves the key what it is.
TEST(AsymmetricKeyTest, AFlippedBitOfACurvesEncodingIsRefusedOrChangesNothing) {
  const AsymmetricKey whole = AsymmetricKey::Generate(KeySpec::kEccNistP256).value();
  const SecretBuffer pkcs8 = whole.ToPkcs8();
  ASSERT_EQ(pkcs8.size(), 138u);
  SecretBuffer flipped = Copy(pkcs8);
  for (size_t bit = 0; bit < 8 * pkcs8.size(); ++bit) {
    const size_t byte = bit / 8;
    flipped.Writable()[byte] ^= 1 << bit % 8;
    if (const auto key = AsymmetricKey::FromPkcs8(KeySpec::kEccNistP256, flipped)) {
      EXPECT_TRUE(byte == 72 || byte == 73) << bit;
      EXPECT_EQ(key->PublicKeyDer(), whole.PublicKeyDer()) << bit;
      EXPECT_TRUE(key->ToPkcs8().Equals(pkcs8)) << bit;
    }
    flipped.Writable()[byte] ^= 1 << bit % 8;
  }
  EXPECT_TRUE(AsymmetricKey::FromPkcs8(KeySpec::kEccNistP256, flipped));
}

// One encoding for each key: the same key is recognised however it came.
TEST(AsymmetricKeyTest, AKeyWithoutOrWithACompressedPublicPartIsWrittenAlike) {
  const Vector vector = ReadVectors("ecdh.txt").front();
  const KeySpec spec = ParseName<KeySpec>(vector.Text("spec")).value();
  const Bytes scalar = vector.Hex("private");
  const auto bare =
      AsymmetricKey::FromPkcs8(spec, SecretBuffer::CopyOf(der::EcPrivateKeyInfo(spec, scalar)));
  ASSERT_TRUE(bare) << bare.error().message;
  const Bytes point(bare->PublicKeyDer().end() - 65, bare->PublicKeyDer().end());
  ASSERT_EQ(point[0], 4);
  Bytes compressed(point.begin(), point.begin() + 33);
  compressed[0] = point.back() % 2 == 0 ? 2 : 3;
  for (const Bytes& public_part : {point, compressed}) {
    const auto key = AsymmetricKey::FromPkcs8(
        spec, SecretBuffer::CopyOf(der::EcPrivateKeyInfo(spec, scalar, public_part)));
    ASSERT_TRUE(key);
    EXPECT_EQ(key->PublicKeyDer(), bare->PublicKeyDer());
    EXPECT_TRUE(key->ToPkcs8().Equals(bare->ToPkcs8()));
  }
  EXPECT_EQ(ToHex(bare->ToPkcs8().Reveal()), ToHex(der::EcPrivateKeyInfo(spec, scalar, point)));
}

TEST(AsymmetricKeyTest, AttributesOfAPrivateKeyAreDropped) {
  const Bytes plain = der::Ed25519PrivateKeyInfo(Bytes(32, 1));
  // commonName = "A".
  const Bytes attributes = FromHex("a00c300a060355040331030c0141").value();
  const Bytes with_attributes =
      der::Element(0x30, der::Join({ByteSpan(plain).subspan(2), attributes}));
  const auto key = AsymmetricKey::FromPkcs8(KeySpec::kEccNistEdwards25519,
                                            SecretBuffer::CopyOf(with_attributes));
  ASSERT_TRUE(key);
  EXPECT_EQ(ToHex(key->ToPkcs8().Reveal()), ToHex(plain));
}

TEST(AsymmetricKeyTest, PublicKeysAreSubjectPublicKeyInfos) {
  const Bytes scalar = ReadVectors("ecdsa.txt").front().Hex("private");
  const auto key = AsymmetricKey::FromPkcs8(
      KeySpec::kEccNistP256,
      SecretBuffer::CopyOf(der::EcPrivateKeyInfo(KeySpec::kEccNistP256, scalar)));
  ASSERT_TRUE(key);
  // RFC 6979, appendix A.2.5: Ux, Uy.
  const Bytes point = FromHex(
                          "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
                          "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299")
                          .value();
  EXPECT_EQ(ToHex(key->PublicKeyDer()), ToHex(der::EcPublicKeyInfo(KeySpec::kEccNistP256, point)));
}

TEST(AsymmetricKeyTest, ThreadsShareAKey) {
  for (const KeySpec spec : {KeySpec::kRsa2048, KeySpec::kEccNistP256, KeySpec::kEccNistP384,
                             KeySpec::kEccNistEdwards25519}) {
    const AsymmetricKey key = TestKey(spec);
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&key] {
        for (int round = 0; round < 10; ++round) EXPECT_TRUE(CanSign(key));
        EXPECT_EQ(key.ToPkcs8().size(), key.ToPkcs8().size());
      });
    }
  }
}

}  // namespace
}  // namespace secretfs::crypto
