#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <memory>
#include <set>
#include <string>

#include "crypto/asymmetric_key.h"
#include "tests/crypto/der.h"
#include "tests/crypto/rsa_test_keys.h"

namespace secretfs::crypto {
namespace {

Bytes ToBytes(ByteSpan bytes) {
  return Bytes(bytes.begin(), bytes.end());
}

// SHA-2 of the size that `algorithm` wants.
Bytes DigestFor(SigningAlgorithm algorithm, ByteSpan message) {
  const EVP_MD* hash = DigestBytes(algorithm) == 32   ? EVP_sha256()
                       : DigestBytes(algorithm) == 48 ? EVP_sha384()
                                                      : EVP_sha512();
  Bytes digest(DigestBytes(algorithm));
  EXPECT_EQ(EVP_Digest(message.data(), message.size(), digest.data(), nullptr, hash, nullptr), 1);
  return digest;
}

AsymmetricKey CurveKey(KeySpec spec, ByteSpan scalar) {
  return AsymmetricKey::FromPkcs8(spec, SecretBuffer::CopyOf(der::EcPrivateKeyInfo(spec, scalar)))
      .value();
}

AsymmetricKey Ed25519Key(ByteSpan seed) {
  return AsymmetricKey::FromPkcs8(KeySpec::kEccNistEdwards25519,
                                  SecretBuffer::CopyOf(der::Ed25519PrivateKeyInfo(seed)))
      .value();
}

TEST(AsymmetricKeySignTest, RsaVerifiesWhatRfc8017Says) {
  std::set<std::string> signed_with;
  size_t refused = 0;
  for (const Vector& vector : ReadVectors("rsa_signatures.txt")) {
    const AsymmetricKey key = TestKey(ParseName<KeySpec>(vector.Text("spec")).value());
    const auto algorithm = ParseName<SigningAlgorithm>(vector.Text("algorithm")).value();
    const Bytes message = vector.Hex("message");
    const Bytes signature = vector.Hex("signature");
    const Status status = key.Verify({algorithm, MessageType::kRaw, message}, signature);
    if (vector.Text("valid") == "yes") {
      EXPECT_TRUE(status) << vector.Text("algorithm");
      const Bytes digest = DigestFor(algorithm, message);
      EXPECT_TRUE(key.Verify({algorithm, MessageType::kDigest, digest}, signature));
      signed_with.insert(vector.Text("spec") + vector.Text("algorithm"));
    } else {
      ASSERT_FALSE(status) << vector.Text("algorithm") << ": " << vector.Text("comment");
      EXPECT_EQ(status.error().code, Code::kCorrupt);
      ++refused;
    }
  }
  EXPECT_EQ(signed_with.size(), 3u * 6u);
  EXPECT_GE(refused, 24u);
  EXPECT_EQ(ERR_peek_error(), 0u);
}

TEST(AsymmetricKeySignTest, Pkcs1SignaturesAreThoseOfRfc8017) {
  size_t count = 0;
  for (const Vector& vector : ReadVectors("rsa_signatures.txt")) {
    if (vector.Text("valid") != "yes" || !vector.Text("algorithm").starts_with("RSASSA_PKCS1")) {
      continue;
    }
    const AsymmetricKey key = TestKey(ParseName<KeySpec>(vector.Text("spec")).value());
    const auto algorithm = ParseName<SigningAlgorithm>(vector.Text("algorithm")).value();
    const Bytes message = vector.Hex("message");
    const auto signature = key.Sign({algorithm, MessageType::kRaw, message});
    ASSERT_TRUE(signature);
    EXPECT_EQ(ToHex(*signature), vector.Text("signature"));
    ++count;
  }
  EXPECT_EQ(count, 9u);
}

TEST(AsymmetricKeySignTest, EcdsaVerifiesTheVectorsOfRfc6979) {
  std::set<std::string> specs;
  for (const Vector& vector : ReadVectors("ecdsa.txt")) {
    const KeySpec spec = ParseName<KeySpec>(vector.Text("spec")).value();
    const AsymmetricKey key = CurveKey(spec, vector.Hex("private"));
    const auto algorithm = ParseName<SigningAlgorithm>(vector.Text("algorithm")).value();
    const Bytes message = vector.Hex("message");
    const Bytes signature = der::EcdsaSignature(vector.Hex("r"), vector.Hex("s"));
    EXPECT_TRUE(key.Verify({algorithm, MessageType::kRaw, message}, signature));
    const Bytes digest = DigestFor(algorithm, message);
    EXPECT_TRUE(key.Verify({algorithm, MessageType::kDigest, digest}, signature));
    specs.insert(vector.Text("spec"));
  }
  EXPECT_EQ(specs.size(), 4u);
}

TEST(AsymmetricKeySignTest, Ed25519SignsAsRfc8032Says) {
  for (const Vector& vector : ReadVectors("ed25519.txt")) {
    const AsymmetricKey key = Ed25519Key(vector.Hex("private"));
    EXPECT_TRUE(ToHex(key.PublicKeyDer()).ends_with(vector.Text("public")));
    const Bytes message = vector.Hex("message");
    const MessageToSign to_sign{SigningAlgorithm::kEd25519Sha512, MessageType::kRaw, message};
    EXPECT_EQ(ToHex(key.Sign(to_sign).value()), vector.Text("signature"));
    EXPECT_TRUE(key.Verify(to_sign, vector.Hex("signature")));
  }
}

TEST(AsymmetricKeySignTest, AMessageAndItsDigestAreSignedAlike) {
  for (const KeySpec spec : SupportedKeyPairs()) {
    const AsymmetricKey key = TestKey(spec);
    for (const SigningAlgorithm algorithm : SigningAlgorithmsOf(spec, KeyUsage::kSignVerify)) {
      if (DigestBytes(algorithm) == 0) continue;
      const Bytes digest = DigestFor(algorithm, AsBytes("message"));
      const MessageToSign raw{algorithm, MessageType::kRaw, AsBytes("message")};
      const MessageToSign hashed{algorithm, MessageType::kDigest, digest};
      EXPECT_TRUE(key.Verify(hashed, key.Sign(raw).value())) << NameOf(algorithm);
      EXPECT_TRUE(key.Verify(raw, key.Sign(hashed).value())) << NameOf(algorithm);
    }
  }
}

TEST(AsymmetricKeySignTest, SignaturesHaveTheSizesOfTheirSchemes) {
  for (const KeySpec spec : SupportedKeyPairs()) {
    const AsymmetricKey key = TestKey(spec);
    for (const SigningAlgorithm algorithm : SigningAlgorithmsOf(spec, KeyUsage::kSignVerify)) {
      const auto signature = key.Sign({algorithm, MessageType::kRaw, AsBytes("message")});
      ASSERT_TRUE(signature);
      if (ModulusBytes(spec) != 0) {
        EXPECT_EQ(signature->size(), ModulusBytes(spec));
      }
      if (spec == KeySpec::kEccNistEdwards25519) {
        EXPECT_EQ(signature->size(), 64u);
      }
      EXPECT_LE(signature->size(), kKmsSignatureBytesMax);
    }
  }
}

TEST(AsymmetricKeySignTest, RandomSchemesNeverSignTwiceAlike) {
  const MessageToSign ecdsa{SigningAlgorithm::kEcdsaSha256, MessageType::kRaw, AsBytes("message")};
  const AsymmetricKey curve = TestKey(KeySpec::kEccNistP256);
  EXPECT_NE(curve.Sign(ecdsa).value(), curve.Sign(ecdsa).value());
  const MessageToSign pss{SigningAlgorithm::kRsassaPssSha256, MessageType::kRaw,
                          AsBytes("message")};
  const AsymmetricKey rsa = TestKey(KeySpec::kRsa2048);
  EXPECT_NE(rsa.Sign(pss).value(), rsa.Sign(pss).value());
}

// Flips every bit, or with a long signature every seventh.
TEST(AsymmetricKeySignTest, AnyFlippedBitOfSignatureOrMessageIsRefused) {
  for (const KeySpec spec : SupportedKeyPairs()) {
    if (spec == KeySpec::kRsa3072 || spec == KeySpec::kRsa4096) continue;
    const AsymmetricKey key = TestKey(spec);
    for (const SigningAlgorithm algorithm : SigningAlgorithmsOf(spec, KeyUsage::kSignVerify)) {
      Bytes message = ToBytes(AsBytes("message"));
      const auto verify = [&](ByteSpan signature) {
        return key.Verify({algorithm, MessageType::kRaw, message}, signature);
      };
      Bytes signature = key.Sign({algorithm, MessageType::kRaw, message}).value();
      for (Bytes* bytes : {&message, &signature}) {
        for (size_t bit = 0; bit < 8 * bytes->size(); bit += bytes->size() > 64 ? 7 : 1) {
          (*bytes)[bit / 8] ^= 1 << bit % 8;
          const Status status = verify(signature);
          ASSERT_FALSE(status) << NameOf(algorithm) << " " << bit;
          EXPECT_EQ(status.error().code, Code::kCorrupt);
          (*bytes)[bit / 8] ^= 1 << bit % 8;
        }
      }
      EXPECT_TRUE(verify(signature));
      EXPECT_FALSE(verify({}));
      EXPECT_FALSE(verify(ByteSpan(signature).first(signature.size() - 1)));
      signature.push_back(0);
      EXPECT_FALSE(verify(signature)) << NameOf(algorithm);
    }
  }
}

TEST(AsymmetricKeySignTest, AnotherKeysSignatureIsRefused) {
  for (const KeySpec spec :
       {KeySpec::kEccNistP256, KeySpec::kEccSecgP256k1, KeySpec::kEccNistEdwards25519}) {
    const MessageToSign message{SigningAlgorithmsOf(spec, KeyUsage::kSignVerify).front(),
                                MessageType::kRaw, AsBytes("message")};
    EXPECT_FALSE(TestKey(spec).Verify(message, TestKey(spec).Sign(message).value()));
  }
}

using Number = std::unique_ptr<BIGNUM, decltype(&BN_free)>;

Bytes Add(ByteSpan a, ByteSpan b) {
  const Number x(BN_bin2bn(a.data(), static_cast<int>(a.size()), nullptr), BN_free);
  const Number y(BN_bin2bn(b.data(), static_cast<int>(b.size()), nullptr), BN_free);
  BN_add(x.get(), x.get(), y.get());
  Bytes sum(static_cast<size_t>(BN_num_bytes(x.get())));
  BN_bn2bin(x.get(), sum.data());
  return sum;
}

// Order of P-256 (SP 800-186 section 3.2.1.3).
constexpr char kP256Order[] = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

TEST(AsymmetricKeySignTest, EcdsaRefusesNumbersOutOfRange) {
  const Vector vector = ReadVectors("ecdsa.txt").front();
  const AsymmetricKey key = CurveKey(KeySpec::kEccNistP256, vector.Hex("private"));
  const Bytes message = vector.Hex("message");
  const MessageToSign to_sign{SigningAlgorithm::kEcdsaSha256, MessageType::kRaw, message};
  const Bytes r = vector.Hex("r");
  const Bytes s = vector.Hex("s");
  const Bytes n = FromHex(kP256Order).value();
  const Bytes zero{0};
  const Bytes one{1};
  ASSERT_TRUE(key.Verify(to_sign, der::EcdsaSignature(r, s)));
  const std::pair<Bytes, Bytes> wrong[] = {
      {zero, s},        {r, zero},      {zero, zero},   {one, one},  {n, s},
      {r, n},           {n, n},         {zero, one},    {one, zero}, {s, r},
      {Add(n, one), s}, {Add(r, n), s}, {r, Add(s, n)}, {n, one},    {one, n}};
  for (const auto& [wrong_r, wrong_s] : wrong) {
    EXPECT_FALSE(key.Verify(to_sign, der::EcdsaSignature(wrong_r, wrong_s)))
        << ToHex(wrong_r) << " " << ToHex(wrong_s);
  }
}

TEST(AsymmetricKeySignTest, EcdsaTakesOneEncodingOnly) {
  const Vector vector = ReadVectors("ecdsa.txt").front();
  const AsymmetricKey key = CurveKey(KeySpec::kEccNistP256, vector.Hex("private"));
  const Bytes message = vector.Hex("message");
  const MessageToSign to_sign{SigningAlgorithm::kEcdsaSha256, MessageType::kRaw, message};
  const Bytes r = der::Unsigned(vector.Hex("r"));
  const Bytes s = der::Unsigned(vector.Hex("s"));
  ASSERT_TRUE(key.Verify(to_sign, der::Sequence({r, s})));
  const Bytes body = der::Join({r, s});
  const Bytes padded_s = der::Element(0x02, der::Join({Bytes{0}, ByteSpan(s).subspan(2)}));
  const Bytes negative_r = der::Element(0x02, vector.Hex("r"));  // Its first bit is set.
  const Bytes null{0x05, 0x00};
  const Bytes long_length = der::Join({Bytes{0x30, 0x81, static_cast<uint8_t>(body.size())}, body});
  const Bytes longer_length =
      der::Join({Bytes{0x30, 0x82, 0x00, static_cast<uint8_t>(body.size())}, body});
  const Bytes indefinite = der::Join({Bytes{0x30, 0x80}, body, Bytes{0x00, 0x00}});
  const Bytes long_integer = der::Sequence(
      {der::Join({Bytes{0x02, 0x81, static_cast<uint8_t>(r.size() - 2)}, ByteSpan(r).subspan(2)}),
       s});
  const Bytes wrong[] = {der::Sequence({r, padded_s}),
                         der::Sequence({negative_r, s}),
                         der::Sequence({r, s, null}),
                         der::Sequence({r}),
                         der::Sequence({s, r}),
                         der::Sequence({}),
                         der::Join({der::Sequence({r, s}), null}),
                         der::Join({der::Sequence({r, s}), Bytes{0}}),
                         der::Element(0x31, body),
                         long_length,
                         longer_length,
                         indefinite,
                         long_integer,
                         der::Join({vector.Hex("r"), vector.Hex("s")})};
  for (const Bytes& signature : wrong) {
    EXPECT_FALSE(key.Verify(to_sign, signature)) << ToHex(signature);
  }
}

// Order of the base point of edwards25519 (RFC 8032 section 5.1), little-endian.
constexpr char kEd25519Order[] = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

TEST(AsymmetricKeySignTest, Ed25519RefusesASecondFormOfASignature) {
  for (const Vector& vector : ReadVectors("ed25519.txt")) {
    const AsymmetricKey key = Ed25519Key(vector.Hex("private"));
    const Bytes message = vector.Hex("message");
    const MessageToSign to_sign{SigningAlgorithm::kEd25519Sha512, MessageType::kRaw, message};
    // S + L is congruent to S, which RFC 8032 section 5.1.7 refuses.
    Bytes signature = vector.Hex("signature");
    const Bytes order = FromHex(kEd25519Order).value();
    int carry = 0;
    for (size_t i = 0; i < 32; ++i) {
      carry += signature[32 + i] + order[i];
      signature[32 + i] = static_cast<uint8_t>(carry);
      carry >>= 8;
    }
    ASSERT_EQ(carry, 0);
    EXPECT_FALSE(key.Verify(to_sign, signature));
    // R as another encoding, and all zero.
    signature = vector.Hex("signature");
    signature[31] ^= 0x80;
    EXPECT_FALSE(key.Verify(to_sign, signature));
    EXPECT_FALSE(key.Verify(to_sign, Bytes(64)));
  }
}

TEST(AsymmetricKeySignTest, AlgorithmsOfOtherSpecsAreRefused) {
  for (const KeySpec spec : SupportedKeyPairs()) {
    const AsymmetricKey key = TestKey(spec);
    const auto offered = SigningAlgorithmsOf(spec, KeyUsage::kSignVerify);
    for (const SigningAlgorithm algorithm : AllOf<SigningAlgorithm>()) {
      if (std::ranges::find(offered, algorithm) != offered.end()) continue;
      const MessageToSign message{algorithm, MessageType::kRaw, AsBytes("message")};
      const auto signature = key.Sign(message);
      ASSERT_FALSE(signature) << NameOf(spec) << " " << NameOf(algorithm);
      EXPECT_EQ(signature.error().code, Code::kInvalidArgument);
      EXPECT_EQ(key.Verify(message, Bytes(64)).error().code, Code::kInvalidArgument);
    }
  }
  const AsymmetricKey key = TestKey(KeySpec::kEccNistEdwards25519);
  EXPECT_EQ(key.Sign({SigningAlgorithm::kEcdsaSha256, MessageType::kRaw, {}}).error().message,
            "Algorithm ECDSA_SHA_256 is incompatible with key spec ECC_NIST_EDWARDS25519.");
  EXPECT_EQ(key.Sign({SigningAlgorithm::kEd25519PhSha512, MessageType::kDigest, Bytes(64)})
                .error()
                .message,
            "Algorithm ED25519_PH_SHA_512 is not supported by this build.");
}

TEST(AsymmetricKeySignTest, DigestsOfAnotherSizeAreRefused) {
  for (const KeySpec spec : SupportedKeyPairs()) {
    const AsymmetricKey key = TestKey(spec);
    for (const SigningAlgorithm algorithm : SigningAlgorithmsOf(spec, KeyUsage::kSignVerify)) {
      for (const size_t size : {0, 20, 31, 32, 33, 48, 64, 65, 4096}) {
        if (size == DigestBytes(algorithm)) continue;
        const Bytes digest(size);
        const MessageToSign message{algorithm, MessageType::kDigest, digest};
        EXPECT_EQ(key.Sign(message).error().code, Code::kValidation);
        EXPECT_EQ(key.Verify(message, Bytes(64)).error().code, Code::kValidation);
      }
      const MessageToSign mu{algorithm, MessageType::kExternalMu, AsBytes("message")};
      EXPECT_EQ(key.Sign(mu).error().code, Code::kValidation);
    }
  }
  const AsymmetricKey key = TestKey(KeySpec::kEccNistP256);
  EXPECT_EQ(
      key.Sign({SigningAlgorithm::kEcdsaSha256, MessageType::kDigest, Bytes(31)}).error().message,
      "Digest is invalid length for algorithm ECDSA_SHA_256.");
}

TEST(AsymmetricKeySignTest, MessagesOfAnySizeAreSigned) {
  for (const KeySpec spec : {KeySpec::kEccNistP256, KeySpec::kEccNistEdwards25519}) {
    const AsymmetricKey key = TestKey(spec);
    const auto algorithm = SigningAlgorithmsOf(spec, KeyUsage::kSignVerify).front();
    for (const size_t size : {size_t{0}, size_t{1}, kKmsMessageBytesMax}) {
      const Bytes message(size, 'm');
      const MessageToSign to_sign{algorithm, MessageType::kRaw, message};
      EXPECT_TRUE(key.Verify(to_sign, key.Sign(to_sign).value())) << size;
    }
  }
}

}  // namespace
}  // namespace secretfs::crypto
