#include "tests/crypto/oaep_wrapping.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <memory>

#include "crypto/base/check.h"

namespace secretfs::testing {

Bytes WrapWithOaepSha256(ByteSpan public_key, ByteSpan material) {
  const uint8_t* der = public_key.data();
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      d2i_PUBKEY(nullptr, &der, static_cast<long>(public_key.size())), EVP_PKEY_free);
  CHECK(key != nullptr);
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
      EVP_PKEY_CTX_new(key.get(), nullptr), EVP_PKEY_CTX_free);
  CHECK(EVP_PKEY_encrypt_init(context.get()) == 1);
  CHECK(EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) == 1);
  CHECK(EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), EVP_sha256()) == 1);
  size_t size = 0;
  CHECK(EVP_PKEY_encrypt(context.get(), nullptr, &size, material.data(), material.size()) == 1);
  Bytes wrapped(size);
  CHECK(EVP_PKEY_encrypt(context.get(), wrapped.data(), &size, material.data(), material.size()) ==
        1);
  wrapped.resize(size);
  return wrapped;
}

}  // namespace secretfs::testing
