#include "crypto/key_spec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace secretfs::crypto {
namespace {

// Names joined by spaces.
template <typename Range>
std::string NamesOf(const Range& values) {
  std::string names;
  for (const auto value : values) names += (names.empty() ? "" : " ") + std::string(NameOf(value));
  return names;
}

template <typename Enum>
class NamesTest : public ::testing::Test {};
using Enums =
    ::testing::Types<KeySpec, KeyUsage, EncryptionAlgorithm, SigningAlgorithm, MacAlgorithm,
                     KeyAgreementAlgorithm, MessageType, WrappingAlgorithm, WrappingKeySpec>;
TYPED_TEST_SUITE(NamesTest, Enums);

TYPED_TEST(NamesTest, GoBothWays) {
  std::set<std::string> names;
  for (const TypeParam value : AllOf<TypeParam>()) {
    EXPECT_EQ(ParseName<TypeParam>(NameOf(value)), value);
    EXPECT_EQ(FromNumber<TypeParam>(static_cast<uint8_t>(value)), value);
    EXPECT_TRUE(names.emplace(NameOf(value)).second) << NameOf(value);
  }
}

TYPED_TEST(NamesTest, NumbersOfNoValueAreRefused) {
  const size_t count = AllOf<TypeParam>().size();
  for (size_t number = 0; number < 256; ++number) {
    const bool is_value = number >= 1 && number <= count;
    EXPECT_EQ(FromNumber<TypeParam>(static_cast<uint8_t>(number)).has_value(), is_value) << number;
  }
}

TYPED_TEST(NamesTest, OtherTextsAreRefused) {
  const std::string name(NameOf(AllOf<TypeParam>().front()));
  std::string lower_case = name;
  std::ranges::transform(lower_case, lower_case.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const std::string& text : {std::string(), lower_case, name + " ", " " + name, name + "_X",
                                  name.substr(1), name + std::string(1, '\0')}) {
    EXPECT_FALSE(ParseName<TypeParam>(text)) << text;
  }
}

// Records hold them.
TEST(KeySpecTest, NumbersStayWhatTheyAre) {
  EXPECT_EQ(static_cast<int>(KeySpec::kSymmetricDefault), 1);
  EXPECT_EQ(NamesOf(AllOf<KeySpec>()),
            "SYMMETRIC_DEFAULT RSA_2048 RSA_3072 RSA_4096 ECC_NIST_P256 ECC_NIST_P384 "
            "ECC_NIST_P521 ECC_SECG_P256K1 ECC_NIST_EDWARDS25519 HMAC_224 HMAC_256 HMAC_384 "
            "HMAC_512 ML_DSA_44 ML_DSA_65 ML_DSA_87 SM2");
  EXPECT_EQ(NamesOf(AllOf<KeyUsage>()),
            "ENCRYPT_DECRYPT SIGN_VERIFY GENERATE_VERIFY_MAC KEY_AGREEMENT");
  EXPECT_EQ(NamesOf(AllOf<EncryptionAlgorithm>()),
            "SYMMETRIC_DEFAULT RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256 SM2PKE");
  EXPECT_EQ(NamesOf(AllOf<SigningAlgorithm>()),
            "RSASSA_PSS_SHA_256 RSASSA_PSS_SHA_384 RSASSA_PSS_SHA_512 RSASSA_PKCS1_V1_5_SHA_256 "
            "RSASSA_PKCS1_V1_5_SHA_384 RSASSA_PKCS1_V1_5_SHA_512 ECDSA_SHA_256 ECDSA_SHA_384 "
            "ECDSA_SHA_512 ED25519_SHA_512 ED25519_PH_SHA_512 ML_DSA_SHAKE_256 SM2DSA");
  EXPECT_EQ(NamesOf(AllOf<MacAlgorithm>()), "HMAC_SHA_224 HMAC_SHA_256 HMAC_SHA_384 HMAC_SHA_512");
  EXPECT_EQ(NamesOf(AllOf<KeyAgreementAlgorithm>()), "ECDH");
  EXPECT_EQ(NamesOf(AllOf<MessageType>()), "RAW DIGEST EXTERNAL_MU");
  EXPECT_EQ(NamesOf(AllOf<WrappingAlgorithm>()),
            "RSAES_PKCS1_V1_5 RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256 RSA_AES_KEY_WRAP_SHA_1 "
            "RSA_AES_KEY_WRAP_SHA_256 SM2PKE");
  EXPECT_EQ(NamesOf(AllOf<WrappingKeySpec>()), "RSA_2048 RSA_3072 RSA_4096 SM2");
}

// Every algorithm that a spec offers under a usage, by name.
std::string Offered(KeySpec spec, KeyUsage usage) {
  std::string names = NamesOf(EncryptionAlgorithmsOf(spec, usage));
  names += NamesOf(SigningAlgorithmsOf(spec, usage));
  names += NamesOf(MacAlgorithmsOf(spec, usage));
  return names + NamesOf(KeyAgreementAlgorithmsOf(spec, usage));
}

TEST(KeySpecTest, EachSpecOffersWhatAwsListsForItsUsages) {
  constexpr char kRsaSigning[] =
      "RSASSA_PKCS1_V1_5_SHA_256 RSASSA_PKCS1_V1_5_SHA_384 RSASSA_PKCS1_V1_5_SHA_512 "
      "RSASSA_PSS_SHA_256 RSASSA_PSS_SHA_384 RSASSA_PSS_SHA_512";
  constexpr char kRsaEncryption[] = "RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256";
  // By usage: ENCRYPT_DECRYPT, SIGN_VERIFY, GENERATE_VERIFY_MAC, KEY_AGREEMENT.
  const std::vector<std::pair<std::string, std::vector<std::string>>> expected = {
      {"SYMMETRIC_DEFAULT", {"SYMMETRIC_DEFAULT", "", "", ""}},
      {"RSA_2048", {kRsaEncryption, kRsaSigning, "", ""}},
      {"RSA_3072", {kRsaEncryption, kRsaSigning, "", ""}},
      {"RSA_4096", {kRsaEncryption, kRsaSigning, "", ""}},
      {"ECC_NIST_P256", {"", "ECDSA_SHA_256", "", "ECDH"}},
      {"ECC_NIST_P384", {"", "ECDSA_SHA_384", "", "ECDH"}},
      {"ECC_NIST_P521", {"", "ECDSA_SHA_512", "", "ECDH"}},
      {"ECC_SECG_P256K1", {"", "ECDSA_SHA_256", "", ""}},
      {"ECC_NIST_EDWARDS25519", {"", "ED25519_SHA_512", "", ""}},
      {"HMAC_224", {"", "", "HMAC_SHA_224", ""}},
      {"HMAC_256", {"", "", "HMAC_SHA_256", ""}},
      {"HMAC_384", {"", "", "HMAC_SHA_384", ""}},
      {"HMAC_512", {"", "", "HMAC_SHA_512", ""}},
      {"ML_DSA_44", {"", "", "", ""}},
      {"ML_DSA_65", {"", "", "", ""}},
      {"ML_DSA_87", {"", "", "", ""}},
      {"SM2", {"", "", "", ""}}};
  ASSERT_EQ(expected.size(), AllOf<KeySpec>().size());
  for (const auto& [name, offered] : expected) {
    const KeySpec spec = ParseName<KeySpec>(name).value();
    for (const KeyUsage usage : AllOf<KeyUsage>()) {
      const std::string& wanted = offered[static_cast<size_t>(usage) - 1];
      EXPECT_EQ(Offered(spec, usage), wanted) << name << " " << NameOf(usage);
      // What can be chosen at creation can be used.
      const bool is_usage = std::ranges::find(UsagesOf(spec), usage) != UsagesOf(spec).end();
      if (IsSupported(spec)) {
        EXPECT_EQ(is_usage, !wanted.empty()) << name << " " << NameOf(usage);
      }
    }
  }
}

TEST(KeySpecTest, WhatIsOfferedIsSupported) {
  for (const KeySpec spec : AllOf<KeySpec>()) {
    for (const SigningAlgorithm algorithm : SigningAlgorithmsOf(spec, KeyUsage::kSignVerify)) {
      EXPECT_TRUE(IsSupported(spec) && IsSupported(algorithm)) << NameOf(algorithm);
    }
  }
  EXPECT_FALSE(IsSupported(KeySpec::kMlDsa44));
  EXPECT_FALSE(IsSupported(KeySpec::kMlDsa65));
  EXPECT_FALSE(IsSupported(KeySpec::kMlDsa87));
  EXPECT_FALSE(IsSupported(KeySpec::kSm2));
  EXPECT_FALSE(IsSupported(SigningAlgorithm::kEd25519PhSha512));
  EXPECT_FALSE(IsSupported(WrappingAlgorithm::kRsaesPkcs1V15));
  EXPECT_FALSE(IsSupported(WrappingAlgorithm::kSm2Pke));
  EXPECT_FALSE(IsSupported(WrappingKeySpec::kSm2));
}

TEST(KeySpecTest, PairsAreNeitherSymmetricNorMacKeys) {
  for (const KeySpec spec : AllOf<KeySpec>()) {
    const std::string name(NameOf(spec));
    const bool has_fixed_material = name.starts_with("HMAC") || name.starts_with("SYMMETRIC");
    EXPECT_EQ(IsAsymmetric(spec), !has_fixed_material) << name;
    EXPECT_EQ(MaterialBytes(spec) > 0, has_fixed_material) << name;
    EXPECT_EQ(ModulusBytes(spec) > 0, name.starts_with("RSA_")) << name;
  }
  EXPECT_EQ(MaterialBytes(KeySpec::kSymmetricDefault), 32u);
  EXPECT_EQ(MaterialBytes(KeySpec::kHmac224), 28u);
  EXPECT_EQ(MaterialBytes(KeySpec::kHmac256), 32u);
  EXPECT_EQ(MaterialBytes(KeySpec::kHmac384), 48u);
  EXPECT_EQ(MaterialBytes(KeySpec::kHmac512), 64u);
}

TEST(KeySpecTest, PlaintextsHaveTheBoundsOfAws) {
  using enum EncryptionAlgorithm;
  EXPECT_EQ(PlaintextBytesMax(KeySpec::kSymmetricDefault, kSymmetricDefault), 4096u);
  EXPECT_EQ(PlaintextBytesMax(KeySpec::kRsa2048, kRsaesOaepSha1), 214u);
  EXPECT_EQ(PlaintextBytesMax(KeySpec::kRsa2048, kRsaesOaepSha256), 190u);
  EXPECT_EQ(PlaintextBytesMax(KeySpec::kRsa3072, kRsaesOaepSha1), 342u);
  EXPECT_EQ(PlaintextBytesMax(KeySpec::kRsa3072, kRsaesOaepSha256), 318u);
  EXPECT_EQ(PlaintextBytesMax(KeySpec::kRsa4096, kRsaesOaepSha1), 470u);
  EXPECT_EQ(PlaintextBytesMax(KeySpec::kRsa4096, kRsaesOaepSha256), 446u);
  EXPECT_EQ(PlaintextBytesMax(KeySpec::kRsa2048, kSymmetricDefault), 0u);
  EXPECT_EQ(PlaintextBytesMax(KeySpec::kRsa2048, kSm2Pke), 0u);
  EXPECT_EQ(PlaintextBytesMax(KeySpec::kSymmetricDefault, kRsaesOaepSha1), 0u);
  EXPECT_EQ(PlaintextBytesMax(KeySpec::kEccNistP256, kRsaesOaepSha256), 0u);
  EXPECT_EQ(PlaintextBytesMax(KeySpec::kSm2, kSm2Pke), 0u);
}

TEST(KeySpecTest, DigestsAndMacsAreAsLongAsTheirHashes) {
  for (const SigningAlgorithm algorithm : AllOf<SigningAlgorithm>()) {
    const std::string name(NameOf(algorithm));
    size_t expected = 0;
    if (name.ends_with("_256") || name == "SM2DSA") expected = 32;
    if (name.ends_with("_384")) expected = 48;
    if (name.ends_with("_512")) expected = 64;
    if (name == "ED25519_SHA_512" || name == "ML_DSA_SHAKE_256") expected = 0;
    EXPECT_EQ(DigestBytes(algorithm), expected) << name;
    EXPECT_EQ(TakesMessageType(algorithm, MessageType::kDigest), expected != 0) << name;
    EXPECT_EQ(TakesMessageType(algorithm, MessageType::kRaw), name != "ED25519_PH_SHA_512") << name;
    EXPECT_EQ(TakesMessageType(algorithm, MessageType::kExternalMu), name == "ML_DSA_SHAKE_256");
  }
  EXPECT_EQ(MacBytes(MacAlgorithm::kHmacSha224), 28u);
  EXPECT_EQ(MacBytes(MacAlgorithm::kHmacSha256), 32u);
  EXPECT_EQ(MacBytes(MacAlgorithm::kHmacSha384), 48u);
  EXPECT_EQ(MacBytes(MacAlgorithm::kHmacSha512), 64u);
}

// KMS developer guide, "Select a wrapping algorithm".
bool AwsAllows(const std::string& spec, const std::string& algorithm, const std::string& wrapper) {
  if (wrapper == "SM2" || algorithm == "SM2PKE" || algorithm == "RSAES_PKCS1_V1_5") return false;
  const bool is_ecc = spec.starts_with("ECC_");
  if (algorithm.starts_with("RSA_AES_KEY_WRAP")) return is_ecc || spec.starts_with("RSA_");
  if (spec == "ECC_NIST_P521" && wrapper == "RSA_2048") return false;
  return is_ecc || spec.starts_with("HMAC_") || spec == "SYMMETRIC_DEFAULT";
}

TEST(KeySpecTest, MaterialIsImportedUnderTheWrappingsOfAws) {
  for (const KeySpec spec : AllOf<KeySpec>()) {
    for (const WrappingAlgorithm algorithm : AllOf<WrappingAlgorithm>()) {
      for (const WrappingKeySpec wrapper : AllOf<WrappingKeySpec>()) {
        const std::string names[] = {std::string(NameOf(spec)), std::string(NameOf(algorithm)),
                                     std::string(NameOf(wrapper))};
        EXPECT_EQ(CanImport(spec, {algorithm, wrapper}), AwsAllows(names[0], names[1], names[2]))
            << names[0] << " " << names[1] << " " << names[2];
      }
    }
  }
}

}  // namespace
}  // namespace secretfs::crypto
