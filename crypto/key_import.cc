#include "crypto/key_import.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <memory>
#include <string>

#include "crypto/aead.h"
#include "crypto/base/check.h"

namespace secretfs::crypto {
namespace {

constexpr size_t kKeyWrapBlockBytes = 8;

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};

KeySpec KeySpecOf(WrappingKeySpec spec) {
  switch (spec) {
    case WrappingKeySpec::kRsa2048:
      return KeySpec::kRsa2048;
    case WrappingKeySpec::kRsa3072:
      return KeySpec::kRsa3072;
    case WrappingKeySpec::kRsa4096:
      return KeySpec::kRsa4096;
    case WrappingKeySpec::kSm2:
      return KeySpec::kSm2;
  }
  CHECK(false);
}

bool UsesSha1(WrappingAlgorithm algorithm) {
  return algorithm == WrappingAlgorithm::kRsaesOaepSha1 ||
         algorithm == WrappingAlgorithm::kRsaAesKeyWrapSha1;
}

bool HasAesLayer(WrappingAlgorithm algorithm) {
  return algorithm == WrappingAlgorithm::kRsaAesKeyWrapSha1 ||
         algorithm == WrappingAlgorithm::kRsaAesKeyWrapSha256;
}

// Fetched once and never freed.
const EVP_CIPHER* AesWrapPad(size_t key_bytes) {
  static EVP_CIPHER* const aes_128 = EVP_CIPHER_fetch(nullptr, "AES-128-WRAP-PAD", nullptr);
  static EVP_CIPHER* const aes_192 = EVP_CIPHER_fetch(nullptr, "AES-192-WRAP-PAD", nullptr);
  static EVP_CIPHER* const aes_256 = EVP_CIPHER_fetch(nullptr, "AES-256-WRAP-PAD", nullptr);
  CHECK(key_bytes == 16 || key_bytes == 24 || key_bytes == 32);
  if (key_bytes == 16) return aes_128;
  return key_bytes == 24 ? aes_192 : aes_256;
}

std::unexpected<Error> FailUnwrap() {
  return Fail(Code::kCorrupt,
              "The encrypted key material cannot be unwrapped to key material for this key: check "
              "the wrapping key, the algorithm and the format of the key material.");
}

// The two layers of RSA_AES_KEY_WRAP.
Result<SecretBuffer> UnwrapThroughAesKey(const AsymmetricKey& key, EncryptionAlgorithm oaep,
                                         ByteSpan encrypted) {
  const size_t modulus_bytes = ModulusBytes(key.spec());
  if (encrypted.size() < modulus_bytes) return FailUnwrap();
  TRY_ASSIGN(const SecretBuffer aes_key, key.Decrypt(oaep, encrypted.first(modulus_bytes)));
  if (aes_key.size() != kAesKeyBytes) return FailUnwrap();
  return UnwrapWithAes(aes_key.Reveal(), encrypted.subspan(modulus_bytes));
}

Result<SecretBuffer> CheckMaterial(KeySpec spec, SecretBuffer material) {
  if (IsAsymmetric(spec)) {
    TRY_ASSIGN(const AsymmetricKey key, AsymmetricKey::FromPkcs8(spec, material));
    return key.ToPkcs8();
  }
  if (material.size() != MaterialBytes(spec)) return FailUnwrap();
  return material;
}

}  // namespace

Result<WrappingKey> WrappingKey::Generate(WrappingKeySpec spec) {
  TRY_ASSIGN(AsymmetricKey key, AsymmetricKey::Generate(KeySpecOf(spec)));
  return WrappingKey(spec, std::move(key));
}

Result<WrappingKey> WrappingKey::FromOwnPkcs8(WrappingKeySpec spec, const SecretBuffer& pkcs8) {
  TRY_ASSIGN(AsymmetricKey key, AsymmetricKey::FromOwnPkcs8(KeySpecOf(spec), pkcs8));
  return WrappingKey(spec, std::move(key));
}

Result<SecretBuffer> WrappingKey::Unwrap(const ImportRequest& request, ByteSpan encrypted) const {
  if (!CanImport(request.spec, {request.algorithm, spec_})) {
    return Fail(Code::kInvalidArgument,
                "Key material for key spec " + std::string(NameOf(request.spec)) +
                    " cannot be imported with wrapping algorithm " +
                    std::string(NameOf(request.algorithm)) + " and wrapping key spec " +
                    std::string(NameOf(spec_)) + ".");
  }
  const EncryptionAlgorithm oaep = UsesSha1(request.algorithm)
                                       ? EncryptionAlgorithm::kRsaesOaepSha1
                                       : EncryptionAlgorithm::kRsaesOaepSha256;
  auto material = HasAesLayer(request.algorithm) ? UnwrapThroughAesKey(key_, oaep, encrypted)
                                                 : key_.Decrypt(oaep, encrypted);
  if (!material) return FailUnwrap();
  auto checked = CheckMaterial(request.spec, std::move(*material));
  if (!checked) return FailUnwrap();
  return checked;
}

Result<SecretBuffer> UnwrapWithAes(ByteSpan key, ByteSpan wrapped) {
  const auto fail = [] {
    return Fail(Code::kCorrupt, "AES key unwrap: wrong key or changed data");
  };
  // At least one block besides the integrity check value (RFC 5649 section 4.2).
  if (wrapped.size() < 2 * kKeyWrapBlockBytes || wrapped.size() % kKeyWrapBlockBytes != 0 ||
      wrapped.size() > kKmsWrappedMaterialBytesMax) {
    return fail();
  }
  const EVP_CIPHER* const cipher = AesWrapPad(key.size());
  const std::unique_ptr<EVP_CIPHER_CTX, FreeContext> context(EVP_CIPHER_CTX_new());
  CHECK(cipher != nullptr && context != nullptr);
  EVP_CIPHER_CTX_set_flags(context.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  CHECK(EVP_DecryptInit_ex2(context.get(), cipher, key.data(), nullptr, nullptr) == 1);
  SecretBuffer out(wrapped.size());
  int written = 0;
  if (EVP_DecryptUpdate(context.get(), out.Writable().data(), &written, wrapped.data(),
                        static_cast<int>(wrapped.size())) != 1) {
    ERR_clear_error();
    return fail();
  }
  CHECK(written > 0 && static_cast<size_t>(written) <= out.size());
  out.Truncate(static_cast<size_t>(written));
  return out;
}

}  // namespace secretfs::crypto
