#include "crypto/mac.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <memory>
#include <string>

#include "crypto/base/check.h"

namespace secretfs::crypto {
namespace {

struct FreeMac {
  void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
};

const char* HashName(MacAlgorithm algorithm) {
  switch (algorithm) {
    case MacAlgorithm::kHmacSha224:
      return "SHA2-224";
    case MacAlgorithm::kHmacSha256:
      return "SHA2-256";
    case MacAlgorithm::kHmacSha384:
      return "SHA2-384";
    case MacAlgorithm::kHmacSha512:
      return "SHA2-512";
  }
  CHECK(false);
}

Status CheckSpec(KeySpec spec) {
  if (!MacAlgorithmsOf(spec, KeyUsage::kGenerateVerifyMac).empty()) return {};
  return Fail(Code::kInvalidArgument,
              "Key spec " + std::string(NameOf(spec)) + " is not one of an HMAC key.");
}

}  // namespace

Bytes Hmac(MacAlgorithm algorithm, ByteSpan key, ByteSpan message) {
  static EVP_MAC* const hmac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  CHECK(hmac != nullptr);
  // A context for each call: freeing it wipes what it derived from the key.
  const std::unique_ptr<EVP_MAC_CTX, FreeMac> context(EVP_MAC_CTX_new(hmac));
  CHECK(context != nullptr);
  // OpenSSL takes the name by a pointer to non-const, and only reads it.
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
                                       const_cast<char*>(HashName(algorithm)), 0),
      OSSL_PARAM_construct_end()};
  // A null key would mean "the one that is set".
  static const uint8_t nothing = 0;
  const uint8_t* const key_data = key.empty() ? &nothing : key.data();
  CHECK(EVP_MAC_init(context.get(), key_data, key.size(), params) == 1);
  CHECK(EVP_MAC_update(context.get(), message.data(), message.size()) == 1);
  Bytes mac(MacBytes(algorithm));
  size_t written = 0;
  CHECK(EVP_MAC_final(context.get(), mac.data(), &written, mac.size()) == 1);
  CHECK(written == mac.size());
  return mac;
}

Result<MacKey> MacKey::Generate(KeySpec spec, RandomSource& random) {
  TRY(CheckSpec(spec));
  SecretBuffer material(MaterialBytes(spec));
  random.Fill(material.Writable());
  return MacKey(spec, std::move(material));
}

Result<MacKey> MacKey::FromMaterial(KeySpec spec, SecretBuffer material) {
  TRY(CheckSpec(spec));
  if (material.size() != MaterialBytes(spec)) {
    return Fail(Code::kInvalidArgument, "Key material of " + std::string(NameOf(spec)) + " is " +
                                            std::to_string(MaterialBytes(spec)) + " bytes, not " +
                                            std::to_string(material.size()) + ".");
  }
  return MacKey(spec, std::move(material));
}

Result<Bytes> MacKey::Mac(MacAlgorithm algorithm, ByteSpan message) const {
  if (algorithm != MacAlgorithmsOf(spec_, KeyUsage::kGenerateVerifyMac).front()) {
    return Fail(Code::kInvalidArgument, "Algorithm " + std::string(NameOf(algorithm)) +
                                            " is incompatible with key spec " +
                                            std::string(NameOf(spec_)) + ".");
  }
  return Hmac(algorithm, material_.Reveal(), message);
}

Status MacKey::Verify(MacAlgorithm algorithm, const Claim& claim) const {
  TRY_ASSIGN(const Bytes mac, Mac(algorithm, claim.message));
  if (claim.mac.size() != mac.size() ||
      CRYPTO_memcmp(claim.mac.data(), mac.data(), mac.size()) != 0) {
    return Fail(Code::kCorrupt, "The mac is not this key's over this message.");
  }
  return {};
}

}  // namespace secretfs::crypto
