#include "crypto/asymmetric_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <climits>
#include <string>

#include "crypto/base/check.h"

namespace secretfs::crypto {
namespace {

struct FreeKeyContext {
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
};
struct FreeDigestContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
struct FreePrivateKeyInfo {
  void operator()(PKCS8_PRIV_KEY_INFO* info) const { PKCS8_PRIV_KEY_INFO_free(info); }
};
struct FreeEncoder {
  void operator()(OSSL_ENCODER_CTX* encoder) const { OSSL_ENCODER_CTX_free(encoder); }
};
struct ClearAndFreeNumber {
  void operator()(BIGNUM* number) const { BN_clear_free(number); }
};

using KeyContext = std::unique_ptr<EVP_PKEY_CTX, FreeKeyContext>;
using Number = std::unique_ptr<BIGNUM, ClearAndFreeNumber>;

// Nothing that OpenSSL has to say of an input outlives the operation: the thread's error queue is
// shared by all that it does.
class ErrorQueueScope {
 public:
  ErrorQueueScope() = default;
  ~ErrorQueueScope() { ERR_clear_error(); }
  ErrorQueueScope(const ErrorQueueScope&) = delete;
  ErrorQueueScope& operator=(const ErrorQueueScope&) = delete;
};

// OpenSSL's names for what a key of a spec is.
struct KeyType {
  const char* name;  // Of EVP_PKEY_is_a().
  const char* curve = nullptr;
};

KeyType KeyTypeOf(KeySpec spec) {
  switch (spec) {
    case KeySpec::kRsa2048:
    case KeySpec::kRsa3072:
    case KeySpec::kRsa4096:
      return {"RSA"};
    case KeySpec::kEccNistP256:
      return {"EC", SN_X9_62_prime256v1};
    case KeySpec::kEccNistP384:
      return {"EC", SN_secp384r1};
    case KeySpec::kEccNistP521:
      return {"EC", SN_secp521r1};
    case KeySpec::kEccSecgP256k1:
      return {"EC", SN_secp256k1};
    case KeySpec::kEccNistEdwards25519:
      return {"ED25519"};
    default:
      CHECK(false);
  }
}

Status CheckSupported(KeySpec spec) {
  if (IsAsymmetric(spec) && IsSupported(spec)) return {};
  return Fail(Code::kInvalidArgument, "Key spec " + std::string(NameOf(spec)) +
                                          (IsAsymmetric(spec) ? " is not supported by this build."
                                                              : " is not one of a key pair."));
}

template <typename Algorithm>
std::unexpected<Error> FailIncompatible(Algorithm algorithm, KeySpec spec) {
  return Fail(Code::kInvalidArgument, "Algorithm " + std::string(NameOf(algorithm)) +
                                          " is incompatible with key spec " +
                                          std::string(NameOf(spec)) + ".");
}

template <typename Algorithm>
bool Contains(std::span<const Algorithm> algorithms, Algorithm algorithm) {
  return std::ranges::find(algorithms, algorithm) != algorithms.end();
}

// --- Hashes --------------------------------------------------------------------------------------

// Fetched once and never freed: a fetch takes a global lock and a string lookup.
const EVP_MD* FetchHash(const char* name) {
  EVP_MD* hash = EVP_MD_fetch(nullptr, name, nullptr);
  CHECK(hash != nullptr);
  return hash;
}
const EVP_MD* Sha1() {
  static const EVP_MD* const hash = FetchHash("SHA1");
  return hash;
}
const EVP_MD* Sha256Hash() {
  static const EVP_MD* const hash = FetchHash("SHA2-256");
  return hash;
}
const EVP_MD* Sha384Hash() {
  static const EVP_MD* const hash = FetchHash("SHA2-384");
  return hash;
}
const EVP_MD* Sha512Hash() {
  static const EVP_MD* const hash = FetchHash("SHA2-512");
  return hash;
}

const EVP_MD* HashOf(SigningAlgorithm algorithm) {
  switch (DigestBytes(algorithm)) {
    case 32:
      return Sha256Hash();
    case 48:
      return Sha384Hash();
    default:
      return Sha512Hash();
  }
}

// The digest of a message: given, or computed.
class MessageDigest {
 public:
  explicit MessageDigest(const MessageToSign& message) {
    if (message.type == MessageType::kDigest) {
      size_ = message.bytes.size();
      std::ranges::copy(message.bytes, bytes_.begin());
      return;
    }
    unsigned size = 0;
    CHECK(EVP_Digest(message.bytes.data(), message.bytes.size(), bytes_.data(), &size,
                     HashOf(message.algorithm), nullptr) == 1);
    size_ = size;
  }

  const uint8_t* data() const { return bytes_.data(); }
  size_t size() const { return size_; }

 private:
  std::array<uint8_t, EVP_MAX_MD_SIZE> bytes_;
  size_t size_ = 0;
};

// --- Operations ----------------------------------------------------------------------------------

KeyContext NewContext(EVP_PKEY* key) {
  KeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  CHECK(context != nullptr);
  return context;
}

Status CheckMessage(KeySpec spec, const MessageToSign& message) {
  if (!Contains(SigningAlgorithmsOf(spec, KeyUsage::kSignVerify), message.algorithm)) {
    if (spec == KeySpec::kEccNistEdwards25519 && !IsSupported(message.algorithm)) {
      return Fail(Code::kInvalidArgument, "Algorithm " + std::string(NameOf(message.algorithm)) +
                                              " is not supported by this build.");
    }
    return FailIncompatible(message.algorithm, spec);
  }
  if (!TakesMessageType(message.algorithm, message.type)) {
    return Fail(Code::kValidation, "Message type " + std::string(NameOf(message.type)) +
                                       " is invalid for algorithm " +
                                       std::string(NameOf(message.algorithm)) + ".");
  }
  if (message.type == MessageType::kDigest &&
      message.bytes.size() != DigestBytes(message.algorithm)) {
    return Fail(Code::kValidation, "Digest is invalid length for algorithm " +
                                       std::string(NameOf(message.algorithm)) + ".");
  }
  return {};
}

// Sets hash and padding. REQUIRES: `context` was initialised to sign or to verify.
void SetScheme(EVP_PKEY_CTX* context, SigningAlgorithm algorithm) {
  const EVP_MD* const hash = HashOf(algorithm);
  switch (algorithm) {
    case SigningAlgorithm::kRsassaPssSha256:
    case SigningAlgorithm::kRsassaPssSha384:
    case SigningAlgorithm::kRsassaPssSha512:
      CHECK(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1);
      CHECK(EVP_PKEY_CTX_set_signature_md(context, hash) == 1);
      CHECK(EVP_PKEY_CTX_set_rsa_mgf1_md(context, hash) == 1);
      CHECK(EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1);
      return;
    case SigningAlgorithm::kRsassaPkcs1V15Sha256:
    case SigningAlgorithm::kRsassaPkcs1V15Sha384:
    case SigningAlgorithm::kRsassaPkcs1V15Sha512:
      CHECK(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1);
      CHECK(EVP_PKEY_CTX_set_signature_md(context, hash) == 1);
      return;
    default:
      CHECK(EVP_PKEY_CTX_set_signature_md(context, hash) == 1);
      return;
  }
}

std::unexpected<Error> FailInOpenssl(const char* operation) {
  const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
  return Fail(Code::kInternal, std::string(operation) + " failed in OpenSSL: " +
                                   (reason != nullptr ? reason : "no reason given"));
}

std::unique_ptr<EVP_MD_CTX, FreeDigestContext> NewDigestContext() {
  std::unique_ptr<EVP_MD_CTX, FreeDigestContext> context(EVP_MD_CTX_new());
  CHECK(context != nullptr);
  return context;
}

Result<Bytes> SignWithEd25519(EVP_PKEY* key, ByteSpan message) {
  const auto context = NewDigestContext();
  CHECK(EVP_DigestSignInit_ex(context.get(), nullptr, nullptr, nullptr, nullptr, key, nullptr) ==
        1);
  size_t size = 64;
  Bytes signature(size);
  if (EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()) != 1) {
    return FailInOpenssl("Signing with Ed25519");
  }
  CHECK(size == signature.size());
  return signature;
}

bool VerifiesWithEd25519(EVP_PKEY* key, ByteSpan message, ByteSpan signature) {
  const auto context = NewDigestContext();
  CHECK(EVP_DigestVerifyInit_ex(context.get(), nullptr, nullptr, nullptr, nullptr, key, nullptr) ==
        1);
  return EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(),
                          message.size()) == 1;
}

void SetOaep(EVP_PKEY_CTX* context, EncryptionAlgorithm algorithm) {
  const EVP_MD* const hash =
      algorithm == EncryptionAlgorithm::kRsaesOaepSha1 ? Sha1() : Sha256Hash();
  CHECK(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1);
  CHECK(EVP_PKEY_CTX_set_rsa_oaep_md(context, hash) == 1);
  CHECK(EVP_PKEY_CTX_set_rsa_mgf1_md(context, hash) == 1);
}

// --- Checks of keys ------------------------------------------------------------------------------

// True if `sequence` is a SEQUENCE that begins with the INTEGER `version`. OpenSSL does not look at
// versions, but writes that of a curve's key again.
bool HasVersion(ByteSpan sequence, uint8_t version) {
  const uint8_t* body = sequence.data();
  long size = 0;
  int tag = 0;
  int tag_class = 0;
  constexpr int kFailed = 0x80;
  const int found =
      ASN1_get_object(&body, &size, &tag, &tag_class, static_cast<long>(sequence.size()));
  const uint8_t expected[] = {V_ASN1_INTEGER, 1, version};
  return (found & kFailed) == 0 && tag == V_ASN1_SEQUENCE &&
         size >= static_cast<long>(sizeof(expected)) &&
         std::ranges::equal(expected, ByteSpan(body, sizeof(expected)));
}

// True if a key that OpenSSL read is of `spec`: its type, and its size or its curve, which has to
// be given by name. A curve that is spelled out could be another one under the same public key
// (CVE-2020-0601).
bool HasSpec(EVP_PKEY* key, KeySpec spec) {
  const KeyType type = KeyTypeOf(spec);
  if (EVP_PKEY_is_a(key, type.name) != 1) return false;
  if (ModulusBytes(spec) != 0) {
    return static_cast<size_t>(EVP_PKEY_get_bits(key)) == 8 * ModulusBytes(spec);
  }
  if (type.curve == nullptr) return true;
  int is_spelled_out = 1;
  if (EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                             &is_spelled_out) != 1 ||
      is_spelled_out != 0) {
    return false;
  }
  std::array<char, 64> curve;
  return EVP_PKEY_get_group_name(key, curve.data(), curve.size(), nullptr) == 1 &&
         std::string_view(curve.data()) == type.curve;
}

// SubjectPublicKeyInfo; empty if there is none, as for the point at infinity.
Bytes EncodePublicKey(EVP_PKEY* key) {
  const int size = i2d_PUBKEY(key, nullptr);
  if (size <= 0) return {};
  Bytes encoded(static_cast<size_t>(size));
  uint8_t* out = encoded.data();
  CHECK(i2d_PUBKEY(key, &out) == size);
  return encoded;
}

// A number of an RSA key, through a buffer of ours: EVP_PKEY_get_bn_param() would leave it on the
// stack. Null if there is none, or if it is longer than `bytes_max`.
Number ReadNumber(EVP_PKEY* key, const char* name, size_t bytes_max) {
  SecretBuffer bytes(bytes_max);
  OSSL_PARAM params[] = {OSSL_PARAM_construct_BN(name, bytes.Writable().data(), bytes.size()),
                         OSSL_PARAM_construct_end()};
  if (EVP_PKEY_get_params(key, params) != 1 || OSSL_PARAM_modified(params) != 1) return nullptr;
  BIGNUM* number = nullptr;
  if (OSSL_PARAM_get_BN(params, &number) != 1) return nullptr;
  return Number(number);
}

// What FIPS 186-5 section 5.1 and appendix A.1.1 ask beyond EVP_PKEY_check(): the exponent's
// bounds, two primes of half the size that are not close to each other.
bool HasSoundRsaNumbers(EVP_PKEY* key, KeySpec spec) {
  const size_t prime_bytes = ModulusBytes(spec) / 2;
  const Number e = ReadNumber(key, OSSL_PKEY_PARAM_RSA_E, 32);
  // Two numbers of at most half the modulus' size whose product has its size have both half.
  const Number p = ReadNumber(key, OSSL_PKEY_PARAM_RSA_FACTOR1, prime_bytes);
  const Number q = ReadNumber(key, OSSL_PKEY_PARAM_RSA_FACTOR2, prime_bytes);
  if (e == nullptr || p == nullptr || q == nullptr) return false;
  if (BN_num_bits(e.get()) < 17 || BN_is_odd(e.get()) == 0) return false;
  const Number distance(BN_new());
  CHECK(distance != nullptr && BN_sub(distance.get(), p.get(), q.get()) == 1);
  return BN_num_bits(distance.get()) > static_cast<int>(8 * prime_bytes) - 100;
}

bool IsSound(EVP_PKEY* key, KeySpec spec) {
  if (ModulusBytes(spec) != 0 && !HasSoundRsaNumbers(key, spec)) return false;
  const KeyContext context = NewContext(key);
  return EVP_PKEY_check(context.get()) == 1;
}

}  // namespace

void AsymmetricKey::FreeKey::operator()(evp_pkey_st* key) const {
  EVP_PKEY_free(key);
}

AsymmetricKey::AsymmetricKey(KeySpec spec, Key key)
    : spec_(spec), key_(std::move(key)), public_key_der_(EncodePublicKey(key_.get())) {}

Result<AsymmetricKey> AsymmetricKey::Generate(KeySpec spec) {
  TRY(CheckSupported(spec));
  const ErrorQueueScope errors;
  const KeyType type = KeyTypeOf(spec);
  Key key;
  if (ModulusBytes(spec) != 0) {
    key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, type.name, 8 * ModulusBytes(spec)));
  } else if (type.curve != nullptr) {
    key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, type.name, type.curve));
  } else {
    key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, type.name));
  }
  if (key == nullptr) return FailInOpenssl("Making a key pair");
  return AsymmetricKey(spec, std::move(key));
}

AsymmetricKey::Key AsymmetricKey::ParsePkcs8(KeySpec spec, const SecretBuffer& pkcs8) {
  const ByteSpan bytes = pkcs8.Reveal();
  if (bytes.empty() || bytes.size() > LONG_MAX) return nullptr;
  const uint8_t* end = bytes.data();
  const std::unique_ptr<PKCS8_PRIV_KEY_INFO, FreePrivateKeyInfo> info(
      d2i_PKCS8_PRIV_KEY_INFO(nullptr, &end, static_cast<long>(bytes.size())));
  if (info == nullptr || end != bytes.data() + bytes.size()) return nullptr;
  const uint8_t* inner = nullptr;
  int inner_size = 0;
  if (PKCS8_pkey_get0(nullptr, &inner, &inner_size, nullptr, info.get()) != 1) return nullptr;
  const KeyType type = KeyTypeOf(spec);
  if (!HasVersion(bytes, 0)) return nullptr;
  // RFC 5915 section 3; RFC 8017 appendix A.1.2, two primes. Ed25519 has none.
  const ByteSpan key_bytes(inner, static_cast<size_t>(inner_size));
  if (type.curve != nullptr && !HasVersion(key_bytes, 1)) return nullptr;
  if (ModulusBytes(spec) != 0 && !HasVersion(key_bytes, 0)) return nullptr;
  Key key(EVP_PKCS82PKEY_ex(info.get(), nullptr, nullptr));
  if (key == nullptr || !HasSpec(key.get(), spec)) return nullptr;
  // A key that came without its public part, or with it compressed, would be written so again. One
  // encoding for each key lets the same key be recognised.
  if (type.curve != nullptr) {
    CHECK(EVP_PKEY_set_int_param(key.get(), OSSL_PKEY_PARAM_EC_INCLUDE_PUBLIC, 1) == 1);
    CHECK(EVP_PKEY_set_utf8_string_param(key.get(), OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                                         OSSL_PKEY_EC_POINT_CONVERSION_FORMAT_UNCOMPRESSED) == 1);
  }
  return key;
}

Result<AsymmetricKey> AsymmetricKey::FromPkcs8(KeySpec spec, const SecretBuffer& pkcs8) {
  TRY(CheckSupported(spec));
  const ErrorQueueScope errors;
  Key key = ParsePkcs8(spec, pkcs8);
  if (key == nullptr || !IsSound(key.get(), spec)) {
    return Fail(Code::kInvalidArgument,
                "The key material is not a sound PKCS#8 private key (DER) of key spec " +
                    std::string(NameOf(spec)) + ".");
  }
  return AsymmetricKey(spec, std::move(key));
}

Result<AsymmetricKey> AsymmetricKey::FromOwnPkcs8(KeySpec spec, const SecretBuffer& pkcs8) {
  TRY(CheckSupported(spec));
  const ErrorQueueScope errors;
  if (Key key = ParsePkcs8(spec, pkcs8); key != nullptr) {
    AsymmetricKey parsed(spec, std::move(key));
    if (!parsed.public_key_der_.empty()) return parsed;
  }
  return Fail(Code::kCorrupt,
              "stored key material is no private key of " + std::string(NameOf(spec)));
}

SecretBuffer AsymmetricKey::ToPkcs8() const {
  const std::unique_ptr<OSSL_ENCODER_CTX, FreeEncoder> encoder(OSSL_ENCODER_CTX_new_for_pkey(
      key_.get(), EVP_PKEY_KEYPAIR, "DER", "PrivateKeyInfo", nullptr));
  CHECK(encoder != nullptr);
  uint8_t* encoded = nullptr;
  size_t size = 0;
  CHECK(OSSL_ENCODER_to_data(encoder.get(), &encoded, &size) == 1);
  SecretBuffer pkcs8 = SecretBuffer::CopyOf({encoded, size});
  OPENSSL_clear_free(encoded, size);
  return pkcs8;
}

Result<Bytes> AsymmetricKey::Sign(const MessageToSign& message) const {
  TRY(CheckMessage(spec_, message));
  const ErrorQueueScope errors;
  if (message.algorithm == SigningAlgorithm::kEd25519Sha512) {
    return SignWithEd25519(key_.get(), message.bytes);
  }
  const MessageDigest digest(message);
  const KeyContext context = NewContext(key_.get());
  CHECK(EVP_PKEY_sign_init(context.get()) == 1);
  SetScheme(context.get(), message.algorithm);
  Bytes signature(static_cast<size_t>(EVP_PKEY_get_size(key_.get())));
  size_t size = signature.size();
  if (EVP_PKEY_sign(context.get(), signature.data(), &size, digest.data(), digest.size()) != 1) {
    return FailInOpenssl("Signing");
  }
  signature.resize(size);
  return signature;
}

Status AsymmetricKey::Verify(const MessageToSign& message, ByteSpan signature) const {
  TRY(CheckMessage(spec_, message));
  const ErrorQueueScope errors;
  const auto verifies = [&] {
    if (message.algorithm == SigningAlgorithm::kEd25519Sha512) {
      return VerifiesWithEd25519(key_.get(), message.bytes, signature);
    }
    // OpenSSL takes an RSA signature without its leading zeros for PSS.
    if (ModulusBytes(spec_) != 0 && signature.size() != ModulusBytes(spec_)) return false;
    const MessageDigest digest(message);
    const KeyContext context = NewContext(key_.get());
    CHECK(EVP_PKEY_verify_init(context.get()) == 1);
    SetScheme(context.get(), message.algorithm);
    return EVP_PKEY_verify(context.get(), signature.data(), signature.size(), digest.data(),
                           digest.size()) == 1;
  };
  if (!verifies()) {
    return Fail(Code::kCorrupt, "The signature is not this key's over this message.");
  }
  return {};
}

Result<Bytes> AsymmetricKey::Encrypt(EncryptionAlgorithm algorithm,
                                     const SecretBuffer& plaintext) const {
  const size_t bytes_max = PlaintextBytesMax(spec_, algorithm);
  if (bytes_max == 0) return FailIncompatible(algorithm, spec_);
  if (plaintext.size() > bytes_max) {
    return Fail(Code::kValidation, "Algorithm " + std::string(NameOf(algorithm)) +
                                       " and key spec " + std::string(NameOf(spec_)) +
                                       " cannot encrypt data larger than " +
                                       std::to_string(bytes_max) + " bytes.");
  }
  const ErrorQueueScope errors;
  const KeyContext context = NewContext(key_.get());
  CHECK(EVP_PKEY_encrypt_init(context.get()) == 1);
  SetOaep(context.get(), algorithm);
  Bytes ciphertext(ModulusBytes(spec_));
  size_t size = ciphertext.size();
  if (EVP_PKEY_encrypt(context.get(), ciphertext.data(), &size, plaintext.Reveal().data(),
                       plaintext.size()) != 1) {
    return FailInOpenssl("Encrypting");
  }
  CHECK(size == ciphertext.size());
  return ciphertext;
}

Result<SecretBuffer> AsymmetricKey::Decrypt(EncryptionAlgorithm algorithm,
                                            ByteSpan ciphertext) const {
  if (PlaintextBytesMax(spec_, algorithm) == 0) return FailIncompatible(algorithm, spec_);
  const ErrorQueueScope errors;
  const KeyContext context = NewContext(key_.get());
  CHECK(EVP_PKEY_decrypt_init(context.get()) == 1);
  SetOaep(context.get(), algorithm);
  SecretBuffer plaintext(ModulusBytes(spec_));
  size_t size = plaintext.size();
  // OpenSSL would take a ciphertext without its leading zeros.
  if (ciphertext.size() != ModulusBytes(spec_) ||
      EVP_PKEY_decrypt(context.get(), plaintext.Writable().data(), &size, ciphertext.data(),
                       ciphertext.size()) != 1) {
    return Fail(Code::kCorrupt, "The ciphertext is not one of this key and algorithm.");
  }
  plaintext.Truncate(size);
  return plaintext;
}

Result<SecretBuffer> AsymmetricKey::DeriveSharedSecret(ByteSpan peer_public_key) const {
  if (KeyAgreementAlgorithmsOf(spec_, KeyUsage::kKeyAgreement).empty()) {
    return FailIncompatible(KeyAgreementAlgorithm::kEcdh, spec_);
  }
  const ErrorQueueScope errors;
  const auto fail = [&] {
    return Fail(Code::kValidation,
                "The public key is not a SubjectPublicKeyInfo (DER) of a point "
                "on the curve of key spec " +
                    std::string(NameOf(spec_)) + ".");
  };
  if (peer_public_key.size() > kKmsPublicKeyBytesMax) return fail();
  const uint8_t* end = peer_public_key.data();
  const Key peer(
      d2i_PUBKEY_ex(nullptr, &end, static_cast<long>(peer_public_key.size()), nullptr, nullptr));
  if (peer == nullptr || !HasSpec(peer.get(), spec_)) return fail();
  // Nothing left over, and DER: OpenSSL reads BER too.
  if (!std::ranges::equal(EncodePublicKey(peer.get()), peer_public_key)) return fail();
  const KeyContext context = NewContext(key_.get());
  CHECK(EVP_PKEY_derive_init(context.get()) == 1);
  // Checks the peer's key too: on the curve, not at infinity, of the curve's order.
  if (EVP_PKEY_derive_set_peer_ex(context.get(), peer.get(), 1) != 1) return fail();
  size_t size = 0;
  CHECK(EVP_PKEY_derive(context.get(), nullptr, &size) == 1);
  SecretBuffer secret(size);
  if (EVP_PKEY_derive(context.get(), secret.Writable().data(), &size) != 1) {
    return FailInOpenssl("Deriving a shared secret");
  }
  CHECK(size == secret.size());
  return secret;
}

}  // namespace secretfs::crypto
