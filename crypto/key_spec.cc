#include "crypto/key_spec.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <type_traits>

#include "crypto/base/check.h"

namespace secretfs::crypto {
namespace {

template <typename Enum>
struct Named {
  Enum value;
  std::string_view name;
};

constexpr auto kKeySpecs = std::to_array<Named<KeySpec>>({
    {KeySpec::kSymmetricDefault, "SYMMETRIC_DEFAULT"},
    {KeySpec::kRsa2048, "RSA_2048"},
    {KeySpec::kRsa3072, "RSA_3072"},
    {KeySpec::kRsa4096, "RSA_4096"},
    {KeySpec::kEccNistP256, "ECC_NIST_P256"},
    {KeySpec::kEccNistP384, "ECC_NIST_P384"},
    {KeySpec::kEccNistP521, "ECC_NIST_P521"},
    {KeySpec::kEccSecgP256k1, "ECC_SECG_P256K1"},
    {KeySpec::kEccNistEdwards25519, "ECC_NIST_EDWARDS25519"},
    {KeySpec::kHmac224, "HMAC_224"},
    {KeySpec::kHmac256, "HMAC_256"},
    {KeySpec::kHmac384, "HMAC_384"},
    {KeySpec::kHmac512, "HMAC_512"},
    {KeySpec::kMlDsa44, "ML_DSA_44"},
    {KeySpec::kMlDsa65, "ML_DSA_65"},
    {KeySpec::kMlDsa87, "ML_DSA_87"},
    {KeySpec::kSm2, "SM2"},
});

constexpr auto kKeyUsages = std::to_array<Named<KeyUsage>>({
    {KeyUsage::kEncryptDecrypt, "ENCRYPT_DECRYPT"},
    {KeyUsage::kSignVerify, "SIGN_VERIFY"},
    {KeyUsage::kGenerateVerifyMac, "GENERATE_VERIFY_MAC"},
    {KeyUsage::kKeyAgreement, "KEY_AGREEMENT"},
});

constexpr auto kEncryptionAlgorithms = std::to_array<Named<EncryptionAlgorithm>>({
    {EncryptionAlgorithm::kSymmetricDefault, "SYMMETRIC_DEFAULT"},
    {EncryptionAlgorithm::kRsaesOaepSha1, "RSAES_OAEP_SHA_1"},
    {EncryptionAlgorithm::kRsaesOaepSha256, "RSAES_OAEP_SHA_256"},
    {EncryptionAlgorithm::kSm2Pke, "SM2PKE"},
});

constexpr auto kSigningAlgorithms = std::to_array<Named<SigningAlgorithm>>({
    {SigningAlgorithm::kRsassaPssSha256, "RSASSA_PSS_SHA_256"},
    {SigningAlgorithm::kRsassaPssSha384, "RSASSA_PSS_SHA_384"},
    {SigningAlgorithm::kRsassaPssSha512, "RSASSA_PSS_SHA_512"},
    {SigningAlgorithm::kRsassaPkcs1V15Sha256, "RSASSA_PKCS1_V1_5_SHA_256"},
    {SigningAlgorithm::kRsassaPkcs1V15Sha384, "RSASSA_PKCS1_V1_5_SHA_384"},
    {SigningAlgorithm::kRsassaPkcs1V15Sha512, "RSASSA_PKCS1_V1_5_SHA_512"},
    {SigningAlgorithm::kEcdsaSha256, "ECDSA_SHA_256"},
    {SigningAlgorithm::kEcdsaSha384, "ECDSA_SHA_384"},
    {SigningAlgorithm::kEcdsaSha512, "ECDSA_SHA_512"},
    {SigningAlgorithm::kEd25519Sha512, "ED25519_SHA_512"},
    {SigningAlgorithm::kEd25519PhSha512, "ED25519_PH_SHA_512"},
    {SigningAlgorithm::kMlDsaShake256, "ML_DSA_SHAKE_256"},
    {SigningAlgorithm::kSm2Dsa, "SM2DSA"},
});

constexpr auto kMacAlgorithms = std::to_array<Named<MacAlgorithm>>({
    {MacAlgorithm::kHmacSha224, "HMAC_SHA_224"},
    {MacAlgorithm::kHmacSha256, "HMAC_SHA_256"},
    {MacAlgorithm::kHmacSha384, "HMAC_SHA_384"},
    {MacAlgorithm::kHmacSha512, "HMAC_SHA_512"},
});

constexpr auto kKeyAgreementAlgorithms = std::to_array<Named<KeyAgreementAlgorithm>>({
    {KeyAgreementAlgorithm::kEcdh, "ECDH"},
});

constexpr auto kMessageTypes = std::to_array<Named<MessageType>>({
    {MessageType::kRaw, "RAW"},
    {MessageType::kDigest, "DIGEST"},
    {MessageType::kExternalMu, "EXTERNAL_MU"},
});

constexpr auto kWrappingAlgorithms = std::to_array<Named<WrappingAlgorithm>>({
    {WrappingAlgorithm::kRsaesPkcs1V15, "RSAES_PKCS1_V1_5"},
    {WrappingAlgorithm::kRsaesOaepSha1, "RSAES_OAEP_SHA_1"},
    {WrappingAlgorithm::kRsaesOaepSha256, "RSAES_OAEP_SHA_256"},
    {WrappingAlgorithm::kRsaAesKeyWrapSha1, "RSA_AES_KEY_WRAP_SHA_1"},
    {WrappingAlgorithm::kRsaAesKeyWrapSha256, "RSA_AES_KEY_WRAP_SHA_256"},
    {WrappingAlgorithm::kSm2Pke, "SM2PKE"},
});

constexpr auto kWrappingKeySpecs = std::to_array<Named<WrappingKeySpec>>({
    {WrappingKeySpec::kRsa2048, "RSA_2048"},
    {WrappingKeySpec::kRsa3072, "RSA_3072"},
    {WrappingKeySpec::kRsa4096, "RSA_4096"},
    {WrappingKeySpec::kSm2, "SM2"},
});

template <typename Enum>
constexpr const auto& Table() {
  if constexpr (std::is_same_v<Enum, KeySpec>) return kKeySpecs;
  if constexpr (std::is_same_v<Enum, KeyUsage>) return kKeyUsages;
  if constexpr (std::is_same_v<Enum, EncryptionAlgorithm>) return kEncryptionAlgorithms;
  if constexpr (std::is_same_v<Enum, SigningAlgorithm>) return kSigningAlgorithms;
  if constexpr (std::is_same_v<Enum, MacAlgorithm>) return kMacAlgorithms;
  if constexpr (std::is_same_v<Enum, KeyAgreementAlgorithm>) return kKeyAgreementAlgorithms;
  if constexpr (std::is_same_v<Enum, MessageType>) return kMessageTypes;
  if constexpr (std::is_same_v<Enum, WrappingAlgorithm>) return kWrappingAlgorithms;
  if constexpr (std::is_same_v<Enum, WrappingKeySpec>) return kWrappingKeySpecs;
}

// The number is the place in the table, from 1.
template <typename Enum>
constexpr bool IsInOrder() {
  size_t place = 0;
  for (const Named<Enum>& named : Table<Enum>()) {
    if (static_cast<size_t>(named.value) != ++place) return false;
  }
  return true;
}

template <typename Enum>
constexpr auto Values() {
  static_assert(IsInOrder<Enum>());
  std::array<Enum, Table<Enum>().size()> values;
  std::ranges::transform(Table<Enum>(), values.begin(), &Named<Enum>::value);
  return values;
}

constexpr auto kEncryptDecryptOnly = std::to_array({KeyUsage::kEncryptDecrypt});
constexpr auto kSignVerifyOnly = std::to_array({KeyUsage::kSignVerify});
constexpr auto kMacOnly = std::to_array({KeyUsage::kGenerateVerifyMac});
constexpr auto kRsaUsages = std::to_array({KeyUsage::kEncryptDecrypt, KeyUsage::kSignVerify});
constexpr auto kNistCurveUsages = std::to_array({KeyUsage::kSignVerify, KeyUsage::kKeyAgreement});
constexpr auto kSm2Usages =
    std::to_array({KeyUsage::kEncryptDecrypt, KeyUsage::kSignVerify, KeyUsage::kKeyAgreement});

constexpr auto kSymmetricEncryption = std::to_array({EncryptionAlgorithm::kSymmetricDefault});
constexpr auto kRsaEncryption =
    std::to_array({EncryptionAlgorithm::kRsaesOaepSha1, EncryptionAlgorithm::kRsaesOaepSha256});

constexpr auto kRsaSigning =
    std::to_array({SigningAlgorithm::kRsassaPkcs1V15Sha256, SigningAlgorithm::kRsassaPkcs1V15Sha384,
                   SigningAlgorithm::kRsassaPkcs1V15Sha512, SigningAlgorithm::kRsassaPssSha256,
                   SigningAlgorithm::kRsassaPssSha384, SigningAlgorithm::kRsassaPssSha512});
constexpr auto kEcdsaSha256Only = std::to_array({SigningAlgorithm::kEcdsaSha256});
constexpr auto kEcdsaSha384Only = std::to_array({SigningAlgorithm::kEcdsaSha384});
constexpr auto kEcdsaSha512Only = std::to_array({SigningAlgorithm::kEcdsaSha512});
constexpr auto kEd25519Only = std::to_array({SigningAlgorithm::kEd25519Sha512});

constexpr auto kHmacSha224Only = std::to_array({MacAlgorithm::kHmacSha224});
constexpr auto kHmacSha256Only = std::to_array({MacAlgorithm::kHmacSha256});
constexpr auto kHmacSha384Only = std::to_array({MacAlgorithm::kHmacSha384});
constexpr auto kHmacSha512Only = std::to_array({MacAlgorithm::kHmacSha512});

constexpr auto kEcdhOnly = std::to_array({KeyAgreementAlgorithm::kEcdh});

bool IsRsa(KeySpec spec) {
  return ModulusBytes(spec) != 0;
}

template <typename Enum>
bool Contains(std::span<const Enum> values, Enum value) {
  return std::ranges::find(values, value) != values.end();
}

}  // namespace

template <typename Enum>
std::span<const Enum> AllOf() {
  static constexpr auto kValues = Values<Enum>();
  return kValues;
}

template <typename Enum>
std::string_view NameOf(Enum value) {
  const size_t place = static_cast<size_t>(value) - 1;
  CHECK(place < Table<Enum>().size());
  return Table<Enum>()[place].name;
}

template <typename Enum>
std::optional<Enum> ParseName(std::string_view name) {
  for (const Named<Enum>& named : Table<Enum>()) {
    if (named.name == name) return named.value;
  }
  return std::nullopt;
}

template <typename Enum>
std::optional<Enum> FromNumber(uint8_t number) {
  if (number == 0 || number > Table<Enum>().size()) return std::nullopt;
  return static_cast<Enum>(number);
}

#define SECRETFS_INSTANTIATE(Enum)                                \
  template std::span<const Enum> AllOf<Enum>();                   \
  template std::string_view NameOf(Enum);                         \
  template std::optional<Enum> ParseName<Enum>(std::string_view); \
  template std::optional<Enum> FromNumber<Enum>(uint8_t)
SECRETFS_INSTANTIATE(KeySpec);
SECRETFS_INSTANTIATE(KeyUsage);
SECRETFS_INSTANTIATE(EncryptionAlgorithm);
SECRETFS_INSTANTIATE(SigningAlgorithm);
SECRETFS_INSTANTIATE(MacAlgorithm);
SECRETFS_INSTANTIATE(KeyAgreementAlgorithm);
SECRETFS_INSTANTIATE(MessageType);
SECRETFS_INSTANTIATE(WrappingAlgorithm);
SECRETFS_INSTANTIATE(WrappingKeySpec);
#undef SECRETFS_INSTANTIATE

bool IsSupported(KeySpec spec) {
  switch (spec) {
    case KeySpec::kMlDsa44:
    case KeySpec::kMlDsa65:
    case KeySpec::kMlDsa87:
    case KeySpec::kSm2:
      return false;
    default:
      return true;
  }
}

bool IsSupported(SigningAlgorithm algorithm) {
  return algorithm != SigningAlgorithm::kEd25519PhSha512 &&
         algorithm != SigningAlgorithm::kMlDsaShake256 && algorithm != SigningAlgorithm::kSm2Dsa;
}

bool IsSupported(WrappingAlgorithm algorithm) {
  return algorithm != WrappingAlgorithm::kRsaesPkcs1V15 && algorithm != WrappingAlgorithm::kSm2Pke;
}

bool IsSupported(WrappingKeySpec spec) {
  return spec != WrappingKeySpec::kSm2;
}

bool IsAsymmetric(KeySpec spec) {
  return spec != KeySpec::kSymmetricDefault && MaterialBytes(spec) == 0;
}

std::span<const KeyUsage> UsagesOf(KeySpec spec) {
  switch (spec) {
    case KeySpec::kSymmetricDefault:
      return kEncryptDecryptOnly;
    case KeySpec::kRsa2048:
    case KeySpec::kRsa3072:
    case KeySpec::kRsa4096:
      return kRsaUsages;
    case KeySpec::kEccNistP256:
    case KeySpec::kEccNistP384:
    case KeySpec::kEccNistP521:
      return kNistCurveUsages;
    case KeySpec::kEccSecgP256k1:
    case KeySpec::kEccNistEdwards25519:
    case KeySpec::kMlDsa44:
    case KeySpec::kMlDsa65:
    case KeySpec::kMlDsa87:
      return kSignVerifyOnly;
    case KeySpec::kHmac224:
    case KeySpec::kHmac256:
    case KeySpec::kHmac384:
    case KeySpec::kHmac512:
      return kMacOnly;
    case KeySpec::kSm2:
      return kSm2Usages;
  }
  CHECK(false);
}

std::span<const EncryptionAlgorithm> EncryptionAlgorithmsOf(KeySpec spec, KeyUsage usage) {
  if (usage != KeyUsage::kEncryptDecrypt) return {};
  if (spec == KeySpec::kSymmetricDefault) return kSymmetricEncryption;
  if (IsRsa(spec)) return kRsaEncryption;
  return {};
}

std::span<const SigningAlgorithm> SigningAlgorithmsOf(KeySpec spec, KeyUsage usage) {
  if (usage != KeyUsage::kSignVerify) return {};
  if (IsRsa(spec)) return kRsaSigning;
  switch (spec) {
    case KeySpec::kEccNistP256:
    case KeySpec::kEccSecgP256k1:
      return kEcdsaSha256Only;
    case KeySpec::kEccNistP384:
      return kEcdsaSha384Only;
    case KeySpec::kEccNistP521:
      return kEcdsaSha512Only;
    case KeySpec::kEccNistEdwards25519:
      return kEd25519Only;
    default:
      return {};
  }
}

std::span<const MacAlgorithm> MacAlgorithmsOf(KeySpec spec, KeyUsage usage) {
  if (usage != KeyUsage::kGenerateVerifyMac) return {};
  switch (spec) {
    case KeySpec::kHmac224:
      return kHmacSha224Only;
    case KeySpec::kHmac256:
      return kHmacSha256Only;
    case KeySpec::kHmac384:
      return kHmacSha384Only;
    case KeySpec::kHmac512:
      return kHmacSha512Only;
    default:
      return {};
  }
}

std::span<const KeyAgreementAlgorithm> KeyAgreementAlgorithmsOf(KeySpec spec, KeyUsage usage) {
  if (usage != KeyUsage::kKeyAgreement || !IsSupported(spec)) return {};
  if (!Contains(UsagesOf(spec), usage)) return {};
  return kEcdhOnly;
}

bool TakesMessageType(SigningAlgorithm algorithm, MessageType type) {
  switch (algorithm) {
    case SigningAlgorithm::kEd25519Sha512:
      return type == MessageType::kRaw;
    case SigningAlgorithm::kEd25519PhSha512:
      return type == MessageType::kDigest;
    case SigningAlgorithm::kMlDsaShake256:
      return type == MessageType::kRaw || type == MessageType::kExternalMu;
    default:
      return type == MessageType::kRaw || type == MessageType::kDigest;
  }
}

size_t ModulusBytes(KeySpec spec) {
  switch (spec) {
    case KeySpec::kRsa2048:
      return 2048 / 8;
    case KeySpec::kRsa3072:
      return 3072 / 8;
    case KeySpec::kRsa4096:
      return 4096 / 8;
    default:
      return 0;
  }
}

size_t DigestBytes(SigningAlgorithm algorithm) {
  switch (algorithm) {
    case SigningAlgorithm::kRsassaPssSha256:
    case SigningAlgorithm::kRsassaPkcs1V15Sha256:
    case SigningAlgorithm::kEcdsaSha256:
    case SigningAlgorithm::kSm2Dsa:
      return 32;
    case SigningAlgorithm::kRsassaPssSha384:
    case SigningAlgorithm::kRsassaPkcs1V15Sha384:
    case SigningAlgorithm::kEcdsaSha384:
      return 48;
    case SigningAlgorithm::kRsassaPssSha512:
    case SigningAlgorithm::kRsassaPkcs1V15Sha512:
    case SigningAlgorithm::kEcdsaSha512:
    case SigningAlgorithm::kEd25519PhSha512:
      return 64;
    case SigningAlgorithm::kEd25519Sha512:
    case SigningAlgorithm::kMlDsaShake256:
      return 0;
  }
  CHECK(false);
}

size_t MacBytes(MacAlgorithm algorithm) {
  switch (algorithm) {
    case MacAlgorithm::kHmacSha224:
      return 28;
    case MacAlgorithm::kHmacSha256:
      return 32;
    case MacAlgorithm::kHmacSha384:
      return 48;
    case MacAlgorithm::kHmacSha512:
      return 64;
  }
  CHECK(false);
}

size_t MaterialBytes(KeySpec spec) {
  if (spec == KeySpec::kSymmetricDefault) return 32;
  const auto macs = MacAlgorithmsOf(spec, KeyUsage::kGenerateVerifyMac);
  return macs.empty() ? 0 : MacBytes(macs.front());
}

size_t PlaintextBytesMax(KeySpec spec, EncryptionAlgorithm algorithm) {
  if (!Contains(EncryptionAlgorithmsOf(spec, KeyUsage::kEncryptDecrypt), algorithm)) {
    return 0;
  }
  switch (algorithm) {
    case EncryptionAlgorithm::kRsaesOaepSha1:
      return ModulusBytes(spec) - 2 * size_t{20} - 2;
    case EncryptionAlgorithm::kRsaesOaepSha256:
      return ModulusBytes(spec) - 2 * size_t{32} - 2;
    case EncryptionAlgorithm::kSymmetricDefault:
      return kKmsPlaintextBytesMax;
    case EncryptionAlgorithm::kSm2Pke:
      break;
  }
  CHECK(false);
}

bool CanImport(KeySpec spec, const ImportWrapping& wrapping) {
  if (!IsSupported(spec) || !IsSupported(wrapping.key_spec)) return false;
  switch (wrapping.algorithm) {
    case WrappingAlgorithm::kRsaesOaepSha1:
    case WrappingAlgorithm::kRsaesOaepSha256:
      if (spec == KeySpec::kEccNistP521) return wrapping.key_spec != WrappingKeySpec::kRsa2048;
      return !IsRsa(spec);
    case WrappingAlgorithm::kRsaAesKeyWrapSha1:
    case WrappingAlgorithm::kRsaAesKeyWrapSha256:
      return IsAsymmetric(spec);
    case WrappingAlgorithm::kRsaesPkcs1V15:
    case WrappingAlgorithm::kSm2Pke:
      return false;
  }
  CHECK(false);
}

}  // namespace secretfs::crypto
