#include "crypto/key_import.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <memory>
#include <string>

#include "crypto/mac.h"
#include "tests/crypto/der.h"
#include "tests/crypto/rsa_test_keys.h"

namespace secretfs::crypto {
namespace {

constexpr WrappingAlgorithm kAlgorithms[] = {
    WrappingAlgorithm::kRsaesOaepSha1, WrappingAlgorithm::kRsaesOaepSha256,
    WrappingAlgorithm::kRsaAesKeyWrapSha1, WrappingAlgorithm::kRsaAesKeyWrapSha256};
constexpr WrappingKeySpec kWrappers[] = {WrappingKeySpec::kRsa2048, WrappingKeySpec::kRsa3072,
                                         WrappingKeySpec::kRsa4096};

KeySpec KeySpecNamed(WrappingKeySpec spec) {
  return ParseName<KeySpec>(NameOf(spec)).value();
}

WrappingKey TestWrappingKey(WrappingKeySpec spec) {
  return WrappingKey::FromOwnPkcs8(spec, RsaTestKeyPkcs8(KeySpecNamed(spec))).value();
}

// The user's side: AES key wrap with padding, RFC 5649.
Bytes WrapWithAes(ByteSpan key, ByteSpan material) {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(
      EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  EVP_CIPHER_CTX_set_flags(context.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  EVP_CIPHER* cipher = EVP_CIPHER_fetch(
      nullptr, key.size() == 32 ? "AES-256-WRAP-PAD" : "AES-128-WRAP-PAD", nullptr);
  EXPECT_EQ(EVP_EncryptInit_ex2(context.get(), cipher, key.data(), nullptr, nullptr), 1);
  EVP_CIPHER_free(cipher);
  Bytes wrapped(material.size() + 16);
  int size = 0;
  EXPECT_EQ(EVP_EncryptUpdate(context.get(), wrapped.data(), &size, material.data(),
                              static_cast<int>(material.size())),
            1);
  wrapped.resize(static_cast<size_t>(size));
  return wrapped;
}

EncryptionAlgorithm OaepOf(WrappingAlgorithm algorithm) {
  return NameOf(algorithm).ends_with("SHA_1") ? EncryptionAlgorithm::kRsaesOaepSha1
                                              : EncryptionAlgorithm::kRsaesOaepSha256;
}

// The user's side of an import, with an AES key of `aes_key_bytes` where there is one.
Bytes Wrap(const WrappingKey& key, WrappingAlgorithm algorithm, ByteSpan material,
           size_t aes_key_bytes = 32) {
  const AsymmetricKey rsa =
      AsymmetricKey::FromOwnPkcs8(KeySpecNamed(key.spec()), key.ToPkcs8()).value();
  if (NameOf(algorithm).starts_with("RSAES")) {
    return rsa.Encrypt(OaepOf(algorithm), SecretBuffer::CopyOf(material)).value();
  }
  const Bytes aes_key(aes_key_bytes, 0x5a);
  const Bytes wrapped_key = rsa.Encrypt(OaepOf(algorithm), SecretBuffer::CopyOf(aes_key)).value();
  return der::Join({wrapped_key, WrapWithAes(aes_key, material)});
}

// Material as a user may have it.
SecretBuffer TestMaterial(KeySpec spec) {
  if (IsAsymmetric(spec)) return TestKey(spec).ToPkcs8();
  return SecretBuffer::CopyOf(Bytes(MaterialBytes(spec), 0x77));
}

TEST(KeyImportTest, MaterialOfEverySpecComesThroughEveryWrapping) {
  size_t count = 0;
  for (const WrappingKeySpec wrapper : kWrappers) {
    const WrappingKey key = TestWrappingKey(wrapper);
    for (const KeySpec spec : AllOf<KeySpec>()) {
      if (!IsSupported(spec)) continue;
      const SecretBuffer material = TestMaterial(spec);
      for (const WrappingAlgorithm algorithm : kAlgorithms) {
        if (!CanImport(spec, {algorithm, wrapper})) continue;
        // The full check of a large RSA key takes most of a second.
        if (ModulusBytes(spec) > 256 && wrapper != WrappingKeySpec::kRsa3072) continue;
        const auto unwrapped =
            key.Unwrap({spec, algorithm}, Wrap(key, algorithm, material.Reveal()));
        ASSERT_TRUE(unwrapped) << NameOf(spec) << " " << NameOf(algorithm);
        EXPECT_TRUE(unwrapped->Equals(material)) << NameOf(spec) << " " << NameOf(algorithm);
        ++count;
      }
    }
  }
  EXPECT_GE(count, 70u);
}

TEST(KeyImportTest, ANewWrappingKeySurvivesItsEncoding) {
  const WrappingKey key = WrappingKey::Generate(WrappingKeySpec::kRsa2048).value();
  EXPECT_EQ(key.spec(), WrappingKeySpec::kRsa2048);
  const auto again = WrappingKey::FromOwnPkcs8(WrappingKeySpec::kRsa2048, key.ToPkcs8());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->PublicKeyDer(), key.PublicKeyDer());
  const ImportRequest request{KeySpec::kSymmetricDefault, WrappingAlgorithm::kRsaesOaepSha256};
  EXPECT_TRUE(again->Unwrap(request, Wrap(key, request.algorithm, Bytes(32))));
  const auto other = WrappingKey::FromOwnPkcs8(WrappingKeySpec::kRsa3072, key.ToPkcs8());
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Code::kCorrupt);
  EXPECT_EQ(WrappingKey::Generate(WrappingKeySpec::kSm2).error().code, Code::kInvalidArgument);
}

TEST(KeyImportTest, AKeyPairIsStoredInTheOneEncoding) {
  const Vector vector = ReadVectors("ecdsa.txt").front();
  const KeySpec spec = KeySpec::kEccNistP256;
  const Bytes bare = der::EcPrivateKeyInfo(spec, vector.Hex("private"));
  const WrappingKey key = TestWrappingKey(WrappingKeySpec::kRsa2048);
  const WrappingAlgorithm algorithm = WrappingAlgorithm::kRsaAesKeyWrapSha256;
  const auto stored = key.Unwrap({spec, algorithm}, Wrap(key, algorithm, bare));
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->size(), 138u);
  const auto again = AsymmetricKey::FromOwnPkcs8(spec, *stored);
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->ToPkcs8().Equals(*stored));
}

TEST(KeyImportTest, CombinationsThatAwsDoesNotHaveAreRefusedFirst) {
  for (const WrappingKeySpec wrapper : kWrappers) {
    const WrappingKey key = TestWrappingKey(wrapper);
    for (const KeySpec spec : AllOf<KeySpec>()) {
      for (const WrappingAlgorithm algorithm : AllOf<WrappingAlgorithm>()) {
        if (CanImport(spec, {algorithm, wrapper})) continue;
        const auto unwrapped =
            key.Unwrap({spec, algorithm}, Bytes(ModulusBytes(KeySpec::kRsa2048)));
        ASSERT_FALSE(unwrapped);
        EXPECT_EQ(unwrapped.error().code, Code::kInvalidArgument);
      }
    }
  }
}

// Everything that can be wrong past the parameters looks the same.
class OneErrorTest : public ::testing::Test {
 protected:
  void ExpectRefused(const ImportRequest& request, ByteSpan encrypted, const std::string& why) {
    const auto unwrapped = key_.Unwrap(request, encrypted);
    ASSERT_FALSE(unwrapped) << why;
    EXPECT_EQ(unwrapped.error().code, Code::kCorrupt) << why;
    EXPECT_EQ(unwrapped.error().message, expected_) << why;
    EXPECT_EQ(ERR_peek_error(), 0u) << why;
  }

  const WrappingKey key_ = TestWrappingKey(WrappingKeySpec::kRsa2048);
  const std::string expected_ =
      key_.Unwrap({KeySpec::kSymmetricDefault, WrappingAlgorithm::kRsaesOaepSha256}, {})
          .error()
          .message;
};

TEST_F(OneErrorTest, OfOaep) {
  for (const auto algorithm :
       {WrappingAlgorithm::kRsaesOaepSha1, WrappingAlgorithm::kRsaesOaepSha256}) {
    const ImportRequest request{KeySpec::kSymmetricDefault, algorithm};
    Bytes good = Wrap(key_, algorithm, Bytes(32));
    ASSERT_TRUE(key_.Unwrap(request, good));
    for (const size_t size : {0, 1, 16, 31, 33, 64, 190}) {
      ExpectRefused(request, Wrap(key_, algorithm, Bytes(size)), "size of the material");
    }
    const auto other = algorithm == WrappingAlgorithm::kRsaesOaepSha1
                           ? WrappingAlgorithm::kRsaesOaepSha256
                           : WrappingAlgorithm::kRsaesOaepSha1;
    ExpectRefused({request.spec, other}, good, "hash");
    ExpectRefused(request, ByteSpan(good).first(255), "cut");
    ExpectRefused(request, der::Join({good, Bytes{0}}), "longer");
    ExpectRefused(request, Bytes(256, 0xff), "beyond the modulus");
    ExpectRefused(request, Bytes(256), "zero");
    for (size_t bit = 0; bit < 8 * good.size(); bit += 13) {
      good[bit / 8] ^= 1 << bit % 8;
      ExpectRefused(request, good, "flipped bit");
      good[bit / 8] ^= 1 << bit % 8;
    }
    ExpectRefused({KeySpec::kHmac224, algorithm}, good, "material of another spec");
    ExpectRefused({KeySpec::kEccNistEdwards25519, algorithm}, good, "no PKCS#8");
  }
}

TEST_F(OneErrorTest, OfRsaAesKeyWrap) {
  const KeySpec spec = KeySpec::kEccNistP256;
  const SecretBuffer material = TestMaterial(spec);
  for (const auto algorithm :
       {WrappingAlgorithm::kRsaAesKeyWrapSha1, WrappingAlgorithm::kRsaAesKeyWrapSha256}) {
    const ImportRequest request{spec, algorithm};
    Bytes good = Wrap(key_, algorithm, material.Reveal());
    ASSERT_TRUE(key_.Unwrap(request, good));
    for (size_t bit = 0; bit < 8 * good.size(); bit += 13) {
      good[bit / 8] ^= 1 << bit % 8;
      ExpectRefused(request, good, "flipped bit");
      good[bit / 8] ^= 1 << bit % 8;
    }
    for (const size_t size : {0, 1, 255, 256, 257, 264, 272, 280}) {
      ExpectRefused(request, ByteSpan(good).first(size), "part");
    }
    ExpectRefused(request, ByteSpan(good).first(good.size() - 8), "one block less");
    ExpectRefused(request, der::Join({good, Bytes(8)}), "one block more");
    ExpectRefused(request, Bytes(kKmsWrappedMaterialBytesMax, 1), "garbage");
    ExpectRefused(request, Wrap(key_, algorithm, material.Reveal(), 16), "AES-128");
    ExpectRefused(request, Wrap(key_, algorithm, Bytes(32)), "no PKCS#8");
    ExpectRefused({KeySpec::kEccSecgP256k1, algorithm}, good, "another curve");
    ExpectRefused({KeySpec::kRsa2048, algorithm}, good, "RSA");
  }
}

TEST_F(OneErrorTest, OfUnsoundKeys) {
  const WrappingAlgorithm algorithm = WrappingAlgorithm::kRsaAesKeyWrapSha256;
  for (const Vector& vector : ReadVectors("unsound_private_keys.txt")) {
    const KeySpec spec = ParseName<KeySpec>(vector.Text("spec")).value();
    ExpectRefused({spec, algorithm}, Wrap(key_, algorithm, vector.Hex("pkcs8")),
                  vector.Text("comment"));
  }
}

TEST(AesKeyUnwrapTest, MatchesTheVectorsOfRfc5649) {
  for (const Vector& vector : ReadVectors("aes_key_wrap_padded.txt")) {
    const auto unwrapped = UnwrapWithAes(vector.Hex("key"), vector.Hex("wrapped"));
    ASSERT_TRUE(unwrapped);
    EXPECT_EQ(ToHex(unwrapped->Reveal()), vector.Text("plaintext"));
  }
}

TEST(AesKeyUnwrapTest, EverySizeComesBack) {
  for (const size_t key_bytes : {16, 32}) {
    const Bytes key(key_bytes, 0x11);
    for (size_t size = 1; size <= 70; ++size) {
      const Bytes material(size, 0x22);
      const auto unwrapped = UnwrapWithAes(key, WrapWithAes(key, material));
      ASSERT_TRUE(unwrapped) << size;
      EXPECT_EQ(ToHex(unwrapped->Reveal()), ToHex(material));
    }
  }
}

TEST(AesKeyUnwrapTest, AnyFlippedBitIsRefused) {
  const Bytes key(32, 0x11);
  for (const size_t size : {7, 20, 32}) {
    Bytes wrapped = WrapWithAes(key, Bytes(size, 0x22));
    for (size_t bit = 0; bit < 8 * wrapped.size(); ++bit) {
      wrapped[bit / 8] ^= 1 << bit % 8;
      const auto unwrapped = UnwrapWithAes(key, wrapped);
      ASSERT_FALSE(unwrapped) << bit;
      EXPECT_EQ(unwrapped.error().code, Code::kCorrupt);
      wrapped[bit / 8] ^= 1 << bit % 8;
    }
    EXPECT_FALSE(UnwrapWithAes(Bytes(32, 0x12), wrapped));
    for (size_t part = 0; part < wrapped.size(); ++part) {
      EXPECT_FALSE(UnwrapWithAes(key, ByteSpan(wrapped).first(part))) << part;
    }
  }
}

}  // namespace
}  // namespace secretfs::crypto
