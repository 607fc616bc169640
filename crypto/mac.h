#pragma once

#include <utility>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "crypto/key_spec.h"
#include "crypto/random.h"
#include "crypto/secret_buffer.h"

namespace secretfs::crypto {

// HMAC (RFC 2104) of `message` with the hash of `algorithm`: MacBytes(algorithm) bytes. A key of
// any length.
Bytes Hmac(MacAlgorithm algorithm, ByteSpan key, ByteSpan message);

// The key of an HMAC KMS key. It has one algorithm, that of its spec. Thread-safe.
//
// Constant time: a mac is checked by computing it again and comparing all of it with
// CRYPTO_memcmp(), which reads every byte whatever it finds; there is no other comparison of secret
// bytes here. What the time tells is the length of the message and of the mac given, both of which
// the caller chose. HMAC itself has no branch and no table that depends on key or message.
class MacKey {
 public:
  // MaterialBytes(spec) random bytes: as long as the hash's output, as AWS makes them, which is the
  // strength that RFC 2104 section 3 asks for.
  // Errors: kInvalidArgument if `spec` is not one of the HMAC specs.
  static Result<MacKey> Generate(KeySpec spec, RandomSource& random);

  // Errors: kInvalidArgument if `spec` is not one of the HMAC specs or `material` has not exactly
  // MaterialBytes(spec) bytes.
  static Result<MacKey> FromMaterial(KeySpec spec, SecretBuffer material);

  KeySpec spec() const { return spec_; }
  // What is stored: the raw key.
  const SecretBuffer& material() const { return material_; }

  // Errors: kInvalidArgument if `algorithm` is not that of spec().
  Result<Bytes> Mac(MacAlgorithm algorithm, ByteSpan message) const;

  // A message and the mac that somebody says is its.
  struct Claim {
    ByteSpan message;
    ByteSpan mac;
  };
  // Errors: as Mac(); kCorrupt if the mac is not this key's over the message, whole.
  Status Verify(MacAlgorithm algorithm, const Claim& claim) const;

 private:
  MacKey(KeySpec spec, SecretBuffer material) : spec_(spec), material_(std::move(material)) {}

  KeySpec spec_;
  SecretBuffer material_;
};

}  // namespace secretfs::crypto
