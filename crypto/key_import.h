#pragma once

#include <utility>

#include "crypto/asymmetric_key.h"
#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "crypto/key_spec.h"
#include "crypto/secret_buffer.h"

namespace secretfs::crypto {

// What an import is for, and how its key material was wrapped.
struct ImportRequest {
  KeySpec spec;  // Of the KMS key that takes the material.
  WrappingAlgorithm algorithm;
};

// The RSA key pair under whose public key a user wraps key material (GetParametersForImport) and
// whose private key unwraps it (ImportKeyMaterial). Move-only; const operations are thread-safe.
class WrappingKey {
 public:
  // Takes as long as AsymmetricKey::Generate() of the same size.
  // Errors: kInvalidArgument if `spec` is not supported.
  static Result<WrappingKey> Generate(WrappingKeySpec spec);
  // What ToPkcs8() wrote; it was authenticated since. Errors: kInvalidArgument, kCorrupt.
  static Result<WrappingKey> FromOwnPkcs8(WrappingKeySpec spec, const SecretBuffer& pkcs8);

  WrappingKeySpec spec() const { return spec_; }
  SecretBuffer ToPkcs8() const { return key_.ToPkcs8(); }
  // SubjectPublicKeyInfo in DER: the PublicKey of GetParametersForImport.
  const Bytes& PublicKeyDer() const { return key_.PublicKeyDer(); }

  // Unwraps `encrypted`, the EncryptedKeyMaterial of ImportKeyMaterial, and checks that it is key
  // material for `request.spec`:
  //
  //   RSAES_OAEP_SHA_n        OAEP ciphertext of the material
  //   RSA_AES_KEY_WRAP_SHA_n  OAEP ciphertext of an AES-256 key (as long as the modulus) ||
  //                           AES key wrap with padding (RFC 5649) of the material under that key
  //
  // Returns the material to store: the bytes themselves for symmetric and HMAC keys, of
  // MaterialBytes(spec); for key pairs the PKCS#8 DER as AsymmetricKey::ToPkcs8() writes it, after
  // the checks of AsymmetricKey::FromPkcs8().
  //
  // Errors: kInvalidArgument, before anything secret is touched, if CanImport() refuses spec,
  // algorithm and this key together. kCorrupt with one text for everything else, so that who sends
  // ciphertexts of his own making learns nothing from the answers: neither whether the padding was
  // right, nor the wrapping, nor the material. How long it took does tell which of these was wrong;
  // but OAEP and key wrap with padding are secure against who may even see all that is unwrapped,
  // and OpenSSL tells a right padding from a wrong one in constant time.
  Result<SecretBuffer> Unwrap(const ImportRequest& request, ByteSpan encrypted) const;

 private:
  WrappingKey(WrappingKeySpec spec, AsymmetricKey key) : spec_(spec), key_(std::move(key)) {}

  WrappingKeySpec spec_;
  AsymmetricKey key_;
};

// AES key unwrap with padding (RFC 5649 section 4.2; KWP-AD of SP 800-38F). REQUIRES: `key` is 16,
// 24 or 32 bytes. Errors: kCorrupt.
Result<SecretBuffer> UnwrapWithAes(ByteSpan key, ByteSpan wrapped);

}  // namespace secretfs::crypto
