#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace secretfs::crypto {

// The closed sets of the AWS KMS API (model 2014-11-01) that say what a KMS key is and what it
// does. Records store the numbers: never renumber an enumerator and never reuse a number.

enum class KeySpec : uint8_t {
  kSymmetricDefault = 1,  // AES-256-GCM
  kRsa2048 = 2,
  kRsa3072 = 3,
  kRsa4096 = 4,
  kEccNistP256 = 5,
  kEccNistP384 = 6,
  kEccNistP521 = 7,
  kEccSecgP256k1 = 8,
  kEccNistEdwards25519 = 9,
  kHmac224 = 10,
  kHmac256 = 11,
  kHmac384 = 12,
  kHmac512 = 13,
  kMlDsa44 = 14,
  kMlDsa65 = 15,
  kMlDsa87 = 16,
  kSm2 = 17,
};

enum class KeyUsage : uint8_t {
  kEncryptDecrypt = 1,
  kSignVerify = 2,
  kGenerateVerifyMac = 3,
  kKeyAgreement = 4,
};

enum class EncryptionAlgorithm : uint8_t {
  kSymmetricDefault = 1,
  kRsaesOaepSha1 = 2,
  kRsaesOaepSha256 = 3,
  kSm2Pke = 4,
};

enum class SigningAlgorithm : uint8_t {
  kRsassaPssSha256 = 1,
  kRsassaPssSha384 = 2,
  kRsassaPssSha512 = 3,
  kRsassaPkcs1V15Sha256 = 4,
  kRsassaPkcs1V15Sha384 = 5,
  kRsassaPkcs1V15Sha512 = 6,
  kEcdsaSha256 = 7,
  kEcdsaSha384 = 8,
  kEcdsaSha512 = 9,
  kEd25519Sha512 = 10,    // Ed25519 of RFC 8032: takes the message.
  kEd25519PhSha512 = 11,  // Ed25519ph of RFC 8032: takes the SHA-512 digest.
  kMlDsaShake256 = 12,
  kSm2Dsa = 13,
};

enum class MacAlgorithm : uint8_t {
  kHmacSha224 = 1,
  kHmacSha256 = 2,
  kHmacSha384 = 3,
  kHmacSha512 = 4,
};

enum class KeyAgreementAlgorithm : uint8_t {
  kEcdh = 1,
};

// What the caller of Sign and Verify hands over: the message, its digest, or ML-DSA's mu.
enum class MessageType : uint8_t {
  kRaw = 1,
  kDigest = 2,
  kExternalMu = 3,
};

// How imported key material is wrapped (GetParametersForImport).
enum class WrappingAlgorithm : uint8_t {
  kRsaesPkcs1V15 = 1,  // Withdrawn by AWS in October 2023.
  kRsaesOaepSha1 = 2,
  kRsaesOaepSha256 = 3,
  kRsaAesKeyWrapSha1 = 4,
  kRsaAesKeyWrapSha256 = 5,
  kSm2Pke = 6,
};

enum class WrappingKeySpec : uint8_t {
  kRsa2048 = 1,
  kRsa3072 = 2,
  kRsa4096 = 3,
  kSm2 = 4,
};

// Defined for the nine enumerations above and no other type.
//
// Every value of the API, in the order of their numbers.
template <typename Enum>
std::span<const Enum> AllOf();
// AWS's name: "RSA_2048", "RSASSA_PSS_SHA_256".
template <typename Enum>
std::string_view NameOf(Enum value);
// The inverse, case-sensitive as AWS is: ParseName<KeySpec>("RSA_2048").
template <typename Enum>
std::optional<Enum> ParseName(std::string_view name);
// For decoders of records: the value with this number.
template <typename Enum>
std::optional<Enum> FromNumber(uint8_t number);

// True if this build can make and use keys of `spec`. ML-DSA needs OpenSSL 3.5; SM2, which AWS has
// in its Chinese regions alone, is not done.
bool IsSupported(KeySpec spec);
// The same for one algorithm of a supported spec: Ed25519ph needs OpenSSL 3.2.
bool IsSupported(SigningAlgorithm algorithm);
// RSAES_PKCS1_V1_5 and SM2PKE are not supported; WrappingKeySpec::kSm2 neither.
bool IsSupported(WrappingAlgorithm algorithm);
bool IsSupported(WrappingKeySpec spec);

// True for RSA, ECC, ML-DSA and SM2: a key pair, so it has a public key.
bool IsAsymmetric(KeySpec spec);

// The usages among which the creator of a key chooses (CreateKey); one that is chosen stays.
std::span<const KeyUsage> UsagesOf(KeySpec spec);

// What a key of `spec` and `usage` does in this build, in AWS's order, as DescribeKey and
// GetPublicKey list it. Empty for a usage that is not the algorithm's or not the spec's, and for a
// spec that is not supported.
std::span<const EncryptionAlgorithm> EncryptionAlgorithmsOf(KeySpec spec, KeyUsage usage);
std::span<const SigningAlgorithm> SigningAlgorithmsOf(KeySpec spec, KeyUsage usage);
std::span<const MacAlgorithm> MacAlgorithmsOf(KeySpec spec, KeyUsage usage);
std::span<const KeyAgreementAlgorithm> KeyAgreementAlgorithmsOf(KeySpec spec, KeyUsage usage);

// Whether Sign and Verify accept `type` with `algorithm`: RAW and DIGEST, but RAW alone for
// ED25519_SHA_512, DIGEST alone for ED25519_PH_SHA_512, RAW and EXTERNAL_MU for ML-DSA.
bool TakesMessageType(SigningAlgorithm algorithm, MessageType type);
// Size of the modulus, and so of a signature or ciphertext, of an RSA key; 0 for other specs.
size_t ModulusBytes(KeySpec spec);
// Size of the digest that `algorithm` takes as MessageType::kDigest; 0 if it takes none.
size_t DigestBytes(SigningAlgorithm algorithm);
// Size of a mac: the hash's output (RFC 2104, not truncated): 28, 32, 48 or 64.
size_t MacBytes(MacAlgorithm algorithm);

// Size of the key material of a symmetric key (32) and of an HMAC key (its hash's output: 28, 32,
// 48, 64; KMS developer guide, "Key spec reference"); 0 for key pairs, whose material is PKCS#8 DER
// and varies.
size_t MaterialBytes(KeySpec spec);

// The longest plaintext that Encrypt takes: 4096 for SYMMETRIC_DEFAULT; for OAEP the modulus less
// two digests less 2 (RFC 8017 section 7.1.1): 214 for RSA_2048 with SHA-1. 0 if `spec` does not
// have `algorithm`.
size_t PlaintextBytesMax(KeySpec spec, EncryptionAlgorithm algorithm);

// True if key material for `spec` may be imported under this wrapping (KMS developer guide,
// "Importing key material step 2", table of wrapping algorithms): OAEP alone for symmetric and HMAC
// keys and for ECC keys, though not a P-521 key under RSA_2048, where it does not fit; RSA-AES key
// wrap for RSA and ECC keys.
struct ImportWrapping {
  WrappingAlgorithm algorithm;
  WrappingKeySpec key_spec;
};
bool CanImport(KeySpec spec, const ImportWrapping& wrapping);

// Bounds of members, from the API model. Each has at least one byte.
inline constexpr size_t kKmsPlaintextBytesMax = 4096;        // Encrypt: Plaintext
inline constexpr size_t kKmsCiphertextBytesMax = 6144;       // Decrypt: CiphertextBlob
inline constexpr size_t kKmsMessageBytesMax = 4096;          // Sign, Verify, *Mac: Message
inline constexpr size_t kKmsSignatureBytesMax = 6144;        // Verify: Signature
inline constexpr size_t kKmsMacBytesMax = 6144;              // VerifyMac: Mac
inline constexpr size_t kKmsPublicKeyBytesMax = 8192;        // DeriveSharedSecret: PublicKey
inline constexpr size_t kKmsWrappedMaterialBytesMax = 6144;  // ImportKeyMaterial

}  // namespace secretfs::crypto
