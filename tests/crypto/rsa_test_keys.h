#pragma once

#include "crypto/asymmetric_key.h"
#include "tests/crypto/vector_file.h"

namespace secretfs::crypto {

// The PKCS#8 DER of a fixed RSA key, since making one may take seconds.
inline SecretBuffer RsaTestKeyPkcs8(KeySpec spec) {
  for (const Vector& vector : ReadVectors("rsa_keys.txt")) {
    if (vector.Text("spec") == NameOf(spec)) return SecretBuffer::CopyOf(vector.Hex("pkcs8"));
  }
  throw std::runtime_error("no such RSA test key");
}

// A key of any supported spec: new, but the fixed one for RSA.
inline AsymmetricKey TestKey(KeySpec spec) {
  if (ModulusBytes(spec) == 0) return AsymmetricKey::Generate(spec).value();
  return AsymmetricKey::FromOwnPkcs8(spec, RsaTestKeyPkcs8(spec)).value();
}

inline std::vector<KeySpec> SupportedKeyPairs() {
  std::vector<KeySpec> specs;
  for (const KeySpec spec : AllOf<KeySpec>()) {
    if (IsAsymmetric(spec) && IsSupported(spec)) specs.push_back(spec);
  }
  return specs;
}

}  // namespace secretfs::crypto
