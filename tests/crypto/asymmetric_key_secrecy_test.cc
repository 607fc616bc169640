// RSAES-OAEP and ECDH.

#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <set>
#include <string>

#include "crypto/asymmetric_key.h"
#include "tests/crypto/der.h"
#include "tests/crypto/rsa_test_keys.h"

namespace secretfs::crypto {
namespace {

constexpr EncryptionAlgorithm kOaep[] = {EncryptionAlgorithm::kRsaesOaepSha1,
                                         EncryptionAlgorithm::kRsaesOaepSha256};

TEST(AsymmetricKeyEncryptTest, OaepDecryptsWhatRfc8017Says) {
  std::set<std::string> decrypted;
  size_t refused = 0;
  for (const Vector& vector : ReadVectors("rsa_oaep.txt")) {
    const AsymmetricKey key = TestKey(ParseName<KeySpec>(vector.Text("spec")).value());
    const auto algorithm = ParseName<EncryptionAlgorithm>(vector.Text("algorithm")).value();
    const auto plaintext = key.Decrypt(algorithm, vector.Hex("ciphertext"));
    if (vector.Text("valid") == "yes") {
      ASSERT_TRUE(plaintext) << vector.Text("algorithm");
      EXPECT_EQ(ToHex(plaintext->Reveal()), vector.Text("plaintext"));
      decrypted.insert(vector.Text("spec") + vector.Text("algorithm"));
    } else {
      ASSERT_FALSE(plaintext) << vector.Text("comment");
      EXPECT_EQ(plaintext.error().code, Code::kCorrupt);
      EXPECT_EQ(plaintext.error().message, "The ciphertext is not one of this key and algorithm.");
      ++refused;
    }
  }
  EXPECT_EQ(decrypted.size(), 3u * 2u);
  EXPECT_GE(refused, 16u);
  // Not even OpenSSL's error queue tells one way of being wrong from another.
  EXPECT_EQ(ERR_peek_error(), 0u);
}

TEST(AsymmetricKeyEncryptTest, EveryPlaintextUpToTheBoundComesBack) {
  for (const KeySpec spec : {KeySpec::kRsa2048, KeySpec::kRsa3072, KeySpec::kRsa4096}) {
    const AsymmetricKey key = TestKey(spec);
    for (const EncryptionAlgorithm algorithm : kOaep) {
      const size_t bytes_max = PlaintextBytesMax(spec, algorithm);
      for (const size_t size : {size_t{0}, size_t{1}, size_t{32}, bytes_max}) {
        const SecretBuffer plaintext = SecretBuffer::CopyOf(Bytes(size, 'p'));
        const auto ciphertext = key.Encrypt(algorithm, plaintext);
        ASSERT_TRUE(ciphertext) << size;
        EXPECT_EQ(ciphertext->size(), ModulusBytes(spec));
        EXPECT_NE(*ciphertext, key.Encrypt(algorithm, plaintext).value());
        EXPECT_TRUE(key.Decrypt(algorithm, *ciphertext)->Equals(plaintext));
      }
      const auto refused = key.Encrypt(algorithm, SecretBuffer(bytes_max + 1));
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, Code::kValidation);
    }
  }
  EXPECT_EQ(TestKey(KeySpec::kRsa2048)
                .Encrypt(EncryptionAlgorithm::kRsaesOaepSha1, SecretBuffer(215))
                .error()
                .message,
            "Algorithm RSAES_OAEP_SHA_1 and key spec RSA_2048 cannot encrypt data larger than 214 "
            "bytes.");
}

TEST(AsymmetricKeyEncryptTest, AnyFlippedBitOfACiphertextIsRefused) {
  const AsymmetricKey key = TestKey(KeySpec::kRsa2048);
  for (const EncryptionAlgorithm algorithm : kOaep) {
    Bytes ciphertext = key.Encrypt(algorithm, SecretBuffer(32)).value();
    for (size_t bit = 0; bit < 8 * ciphertext.size(); bit += 5) {
      ciphertext[bit / 8] ^= 1 << bit % 8;
      EXPECT_FALSE(key.Decrypt(algorithm, ciphertext)) << bit;
      ciphertext[bit / 8] ^= 1 << bit % 8;
    }
    EXPECT_TRUE(key.Decrypt(algorithm, ciphertext));
    const auto other = algorithm == kOaep[0] ? kOaep[1] : kOaep[0];
    EXPECT_FALSE(key.Decrypt(other, ciphertext));
  }
}

TEST(AsymmetricKeyEncryptTest, OtherAlgorithmsAndSpecsAreRefused) {
  for (const KeySpec spec : SupportedKeyPairs()) {
    const AsymmetricKey key = TestKey(spec);
    for (const EncryptionAlgorithm algorithm : AllOf<EncryptionAlgorithm>()) {
      if (PlaintextBytesMax(spec, algorithm) != 0) continue;
      const auto encrypted = key.Encrypt(algorithm, SecretBuffer(1));
      ASSERT_FALSE(encrypted);
      EXPECT_EQ(encrypted.error().code, Code::kInvalidArgument);
      EXPECT_EQ(key.Decrypt(algorithm, Bytes(256)).error().code, Code::kInvalidArgument);
    }
  }
}

AsymmetricKey CurveKey(KeySpec spec, ByteSpan scalar) {
  return AsymmetricKey::FromPkcs8(spec, SecretBuffer::CopyOf(der::EcPrivateKeyInfo(spec, scalar)))
      .value();
}

Bytes Point(const Vector& vector) {
  return der::Join({Bytes{4}, vector.Hex("peer_x"), vector.Hex("peer_y")});
}

TEST(AsymmetricKeyAgreementTest, EcdhMatchesTheVectorsOfNist) {
  std::set<std::string> specs;
  for (const Vector& vector : ReadVectors("ecdh.txt")) {
    const KeySpec spec = ParseName<KeySpec>(vector.Text("spec")).value();
    const AsymmetricKey key = CurveKey(spec, vector.Hex("private"));
    const auto secret = key.DeriveSharedSecret(der::EcPublicKeyInfo(spec, Point(vector)));
    ASSERT_TRUE(secret) << secret.error().message;
    EXPECT_EQ(ToHex(secret->Reveal()), vector.Text("secret"));
    specs.insert(vector.Text("spec"));
  }
  EXPECT_EQ(specs.size(), 3u);
}

constexpr KeySpec kAgreeing[] = {KeySpec::kEccNistP256, KeySpec::kEccNistP384,
                                 KeySpec::kEccNistP521};

TEST(AsymmetricKeyAgreementTest, BothSidesDeriveTheSame) {
  for (const KeySpec spec : kAgreeing) {
    const AsymmetricKey one = TestKey(spec);
    const AsymmetricKey two = TestKey(spec);
    const auto secret = one.DeriveSharedSecret(two.PublicKeyDer());
    ASSERT_TRUE(secret);
    EXPECT_TRUE(secret->Equals(*two.DeriveSharedSecret(one.PublicKeyDer())));
    const size_t field_bytes = spec == KeySpec::kEccNistP256   ? 32
                               : spec == KeySpec::kEccNistP384 ? 48
                                                               : 66;
    EXPECT_EQ(secret->size(), field_bytes);
    EXPECT_FALSE(secret->Equals(*one.DeriveSharedSecret(one.PublicKeyDer())));
  }
}

TEST(AsymmetricKeyAgreementTest, ACompressedPointDerivesTheSame) {
  const Vector vector = ReadVectors("ecdh.txt").front();
  const AsymmetricKey key = CurveKey(KeySpec::kEccNistP256, vector.Hex("private"));
  const Bytes form{static_cast<uint8_t>(vector.Hex("peer_y").back() % 2 == 0 ? 2 : 3)};
  const Bytes point = der::Join({form, vector.Hex("peer_x")});
  const auto secret = key.DeriveSharedSecret(der::EcPublicKeyInfo(KeySpec::kEccNistP256, point));
  ASSERT_TRUE(secret);
  EXPECT_EQ(ToHex(secret->Reveal()), vector.Text("secret"));
}

void ExpectRefused(const AsymmetricKey& key, ByteSpan peer, const std::string& why) {
  const auto secret = key.DeriveSharedSecret(peer);
  ASSERT_FALSE(secret) << why;
  EXPECT_EQ(secret.error().code, Code::kValidation) << why;
  EXPECT_EQ(ERR_peek_error(), 0u) << why;
}

// Points of no order, or of a small one, on another curve would give the private key away piece by
// piece (Biehl, Meyer and Mueller, CRYPTO 2000).
TEST(AsymmetricKeyAgreementTest, PointsOffTheCurveAreRefused) {
  for (const Vector& vector : ReadVectors("ecdh.txt")) {
    const KeySpec spec = ParseName<KeySpec>(vector.Text("spec")).value();
    const AsymmetricKey key = CurveKey(spec, vector.Hex("private"));
    const Bytes good = Point(vector);
    const size_t size = vector.Hex("peer_x").size();
    for (size_t bit = 0; bit < 16 * size; bit += 3) {
      Bytes bad = good;
      bad[1 + bit / 8] ^= 1 << bit % 8;
      ExpectRefused(key, der::EcPublicKeyInfo(spec, bad), "flipped bit");
    }
    for (const int form : {0, 1, 2, 3, 5, 6, 8, 0xff}) {
      Bytes bad = good;
      bad[0] = static_cast<uint8_t>(form);
      // 06 and 07 are the hybrid forms of even and odd y; this y fits one of them.
      if (form == 6) bad[0] = good.back() % 2 == 0 ? 7 : 6;
      ExpectRefused(key, der::EcPublicKeyInfo(spec, bad), "form");
    }
    Bytes zeros(1 + 2 * size);
    ExpectRefused(key, der::EcPublicKeyInfo(spec, Bytes{0}), "infinity");
    ExpectRefused(key, der::EcPublicKeyInfo(spec, {}), "no point");
    ExpectRefused(key, der::EcPublicKeyInfo(spec, zeros), "zeros");
    zeros[0] = 4;
    ExpectRefused(key, der::EcPublicKeyInfo(spec, zeros), "origin");
    Bytes ones(1 + 2 * size, 0xff);
    ones[0] = 4;
    ExpectRefused(key, der::EcPublicKeyInfo(spec, ones), "coordinates beyond the field");
    ExpectRefused(key, der::EcPublicKeyInfo(spec, ByteSpan(good).first(good.size() - 1)), "short");
    ExpectRefused(key, der::EcPublicKeyInfo(spec, der::Join({good, Bytes{0}})), "long");
  }
}

TEST(AsymmetricKeyAgreementTest, PublicKeysOfAnotherKindAreRefused) {
  for (const KeySpec spec : kAgreeing) {
    const AsymmetricKey key = TestKey(spec);
    for (const KeySpec other : SupportedKeyPairs()) {
      if (other != spec) {
        ExpectRefused(key, TestKey(other).PublicKeyDer(), std::string(NameOf(other)));
      }
    }
    const Bytes good = TestKey(spec).PublicKeyDer();
    for (size_t size = 0; size < good.size(); ++size) {
      ExpectRefused(key, ByteSpan(good).first(size), "part");
    }
    ExpectRefused(key, der::Join({good, Bytes{0}}), "one byte more");
    const size_t head_bytes = good[1] < 0x80 ? 2 : 3;
    const ByteSpan body = ByteSpan(good).subspan(head_bytes);
    ExpectRefused(key, der::Join({Bytes{0x30, 0x80}, body, Bytes(2)}), "BER, indefinite length");
    ExpectRefused(key, der::Join({Bytes{0x30, 0x82, 0, static_cast<uint8_t>(body.size())}, body}),
                  "BER, length with a leading zero");
    ExpectRefused(key, Bytes(kKmsPublicKeyBytesMax + 1, 0x30), "too long");
    ExpectRefused(key, AsBytes("-----BEGIN PUBLIC KEY-----"), "PEM");
    ExpectRefused(key, TestKey(spec).ToPkcs8().Reveal(), "private key");
  }
}

// As in CVE-2020-0601: the same point on a curve whose parameters the sender chose.
TEST(AsymmetricKeyAgreementTest, ACurveThatIsSpelledOutIsRefused) {
  EVP_PKEY* peer = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
  ASSERT_NE(peer, nullptr);
  ASSERT_EQ(EVP_PKEY_set_utf8_string_param(peer, OSSL_PKEY_PARAM_EC_ENCODING,
                                           OSSL_PKEY_EC_ENCODING_EXPLICIT),
            1);
  uint8_t* encoded = nullptr;
  const int size = i2d_PUBKEY(peer, &encoded);
  EVP_PKEY_free(peer);
  ASSERT_GT(size, 200);
  const Bytes spelled_out(encoded, encoded + size);
  OPENSSL_free(encoded);
  ExpectRefused(TestKey(KeySpec::kEccNistP256), spelled_out, "spelled out");
}

TEST(AsymmetricKeyAgreementTest, SpecsWithoutKeyAgreementAreRefused) {
  for (const KeySpec spec : SupportedKeyPairs()) {
    if (!KeyAgreementAlgorithmsOf(spec, KeyUsage::kKeyAgreement).empty()) continue;
    const AsymmetricKey key = TestKey(spec);
    const auto secret = key.DeriveSharedSecret(key.PublicKeyDer());
    ASSERT_FALSE(secret) << NameOf(spec);
    EXPECT_EQ(secret.error().code, Code::kInvalidArgument);
  }
}

}  // namespace
}  // namespace secretfs::crypto
