#pragma once

#include <memory>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "crypto/key_spec.h"
#include "crypto/secret_buffer.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY.

namespace secretfs::crypto {

// What Sign() signs and Verify() checks.
struct MessageToSign {
  SigningAlgorithm algorithm;
  MessageType type;
  ByteSpan bytes;  // The message, or its digest.
};

// The key pair of an asymmetric KMS key: RSA, NIST and SECG curves, Ed25519.
//
// Move-only; const operations are thread-safe and may run at the same time. Making one costs (see
// each function), so keep it rather than its encoding. Randomness (keys, ECDSA nonces, salts, OAEP
// seeds, blinding) is OpenSSL's CSPRNG, the one behind SystemRandom.
//
// Copies of the private key: the object holds OpenSSL's EVP_PKEY and nothing else. In it are, until
// the object dies, the private numbers, and for RSA the Montgomery constants of the primes and the
// blinding factors. What OpenSSL makes while it works (numbers in progress, the DER that it reads
// and writes) is freed before an operation returns. All of that comes from OPENSSL_malloc(), which
// ProtectProcess() has moved into the locked heap, where a free wipes; in a process without it
// crypto/wiping_free.cc wipes. OpenSSL clears what it has on the stack. The test
// tests/crypto/memory_traces_test.cc looks through the whole process for the numbers of a dead key.
class AsymmetricKey {
 public:
  // A new key pair. RSA has the public exponent 65537 and takes about 0.1 s for 2048 bits, 0.5 s
  // for 3072 and 1.5 s for 4096, which varies much; the others take less than a millisecond.
  // Errors: kInvalidArgument if `spec` is no key pair or not supported (IsSupported()).
  static Result<AsymmetricKey> Generate(KeySpec spec);

  // From a PrivateKeyInfo of PKCS#8 (RFC 5208) in DER, such as a user imports, trusting nothing in
  // it: the algorithm and curve (by name) or modulus size are those of `spec`; there is nothing
  // left over; the public part, if there is one, fits the private; an EC point is on its curve and
  // the private number in 1..n-1; the RSA primes are prime, two, different and half as long as the
  // modulus, 2^16 < e < 2^256 and odd (FIPS 186-5 section 5.1), and d and the CRT numbers fit. RSA
  // takes 0.04 s for 2048 bits, 0.1 s for 3072, 0.4 s for 4096.
  // Errors: kInvalidArgument, which does not say more than that it is no private key of `spec`.
  static Result<AsymmetricKey> FromPkcs8(KeySpec spec, const SecretBuffer& pkcs8);

  // As FromPkcs8() without the arithmetic, in less than a millisecond. REQUIRES: `pkcs8` is what
  // ToPkcs8() wrote, and was authenticated since (unwrapped from the store).
  // Errors: kCorrupt.
  static Result<AsymmetricKey> FromOwnPkcs8(KeySpec spec, const SecretBuffer& pkcs8);

  AsymmetricKey(AsymmetricKey&&) noexcept = default;
  AsymmetricKey& operator=(AsymmetricKey&&) noexcept = default;
  ~AsymmetricKey() = default;

  KeySpec spec() const { return spec_; }

  // PrivateKeyInfo (RFC 5208) in DER, laid out as crypto/FORMAT.md says: what is stored, and what
  // GenerateDataKeyPair returns.
  SecretBuffer ToPkcs8() const;

  // SubjectPublicKeyInfo (RFC 5280) in DER, as GetPublicKey returns it. Points are uncompressed.
  const Bytes& PublicKeyDer() const { return public_key_der_; }

  // RSASSA-PSS (RFC 8017) with MGF1 over the same hash and a salt as long as the digest,
  // RSASSA-PKCS1-v1_5, ECDSA (FIPS 186-5; DER of r and s; random nonce), or Ed25519 (RFC 8032).
  //
  // Errors: kInvalidArgument if the algorithm is not one of SigningAlgorithmsOf(spec());
  // kValidation if it does not take the message's type, or a digest's size is not
  // DigestBytes(algorithm).
  Result<Bytes> Sign(const MessageToSign& message) const;

  // Errors: those of Sign(); kCorrupt if `signature` is not this key's over this message, in the
  // one encoding that Sign() uses.
  Status Verify(const MessageToSign& message, ByteSpan signature) const;

  // RSAES-OAEP (RFC 8017) with an empty label and MGF1 over the same hash. The ciphertext is as
  // long as the modulus.
  // Errors: kInvalidArgument if the algorithm is not one of EncryptionAlgorithmsOf(spec());
  // kValidation if the plaintext is longer than PlaintextBytesMax(spec(), algorithm).
  Result<Bytes> Encrypt(EncryptionAlgorithm algorithm, const SecretBuffer& plaintext) const;

  // Errors: kInvalidArgument as for Encrypt(); kCorrupt, the same for every way in which a
  // ciphertext can be wrong. OpenSSL removes the padding in constant time (Manger, CRYPTO 2001).
  Result<SecretBuffer> Decrypt(EncryptionAlgorithm algorithm, ByteSpan ciphertext) const;

  // ECDH (SP 800-56A section 5.7.1.2, cofactor 1) with the holder of `peer_public_key`, a
  // SubjectPublicKeyInfo in DER. Returns the x coordinate, as long as the field: 32, 48 or 66
  // bytes.
  //
  // Errors: kInvalidArgument if spec() has no key agreement; kValidation if the peer's key is
  // not DER, of another curve, of a curve that is not given by name, or no point of the curve.
  Result<SecretBuffer> DeriveSharedSecret(ByteSpan peer_public_key) const;

 private:
  struct FreeKey {
    void operator()(evp_pkey_st* key) const;
  };
  using Key = std::unique_ptr<evp_pkey_st, FreeKey>;

  AsymmetricKey(KeySpec spec, Key key);
  static Key ParsePkcs8(KeySpec spec, const SecretBuffer& pkcs8);

  KeySpec spec_;
  Key key_;
  Bytes public_key_der_;
};

}  // namespace secretfs::crypto
