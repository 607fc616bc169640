#include "crypto/gcm.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <climits>

#include "crypto/base/check.h"

namespace secretfs::crypto {
namespace {

// Fetched once: a fetch takes a global lock and a string lookup, more than the encryption of a
// small message. Never freed, so that a thread that ends late does no harm.
const EVP_CIPHER* AesGcm() {
  static EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  CHECK(cipher != nullptr);
  return cipher;
}

class OpensslGcm final : public GcmCipher {
 public:
  OpensslGcm() : context_(EVP_CIPHER_CTX_new()) { CHECK(context_ != nullptr); }
  ~OpensslGcm() override { EVP_CIPHER_CTX_free(context_); }
  OpensslGcm(const OpensslGcm&) = delete;
  OpensslGcm& operator=(const OpensslGcm&) = delete;

  void SetKey(ByteSpan key) override {
    CHECK(key.size() == kAesKeyBytes);
    CHECK(EVP_EncryptInit_ex2(context_, AesGcm(), key.data(), nullptr, nullptr) == 1);
  }

  // Frees the key schedule, the GHASH table and the last key stream block through
  // OPENSSL_clear_free().
  void ClearKey() override { CHECK(EVP_CIPHER_CTX_reset(context_) == 1); }

  void Seal(ByteSpan nonce, ByteSpan aad, ByteSpan plaintext, std::span<uint8_t> out) override {
    CHECK(nonce.size() == kGcmNonceBytes && out.size() == plaintext.size() + kGcmTagBytes);
    CHECK(out.size() <= INT_MAX && aad.size() <= INT_MAX);
    CHECK(EVP_EncryptInit_ex2(context_, nullptr, nullptr, nonce.data(), nullptr) == 1);
    int written = 0;
    if (!aad.empty()) {
      CHECK(EVP_EncryptUpdate(context_, nullptr, &written, aad.data(),
                              static_cast<int>(aad.size())) == 1);
    }
    if (!plaintext.empty()) {
      CHECK(EVP_EncryptUpdate(context_, out.data(), &written, plaintext.data(),
                              static_cast<int>(plaintext.size())) == 1);
      CHECK(static_cast<size_t>(written) == plaintext.size());
    }
    uint8_t* const tag = out.data() + plaintext.size();
    CHECK(EVP_EncryptFinal_ex(context_, tag, &written) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_GET_TAG, kGcmTagBytes, tag) == 1);
  }

  Status Open(ByteSpan nonce, ByteSpan aad, ByteSpan sealed, std::span<uint8_t> out) override {
    CHECK(nonce.size() == kGcmNonceBytes);
    CHECK(sealed.size() >= kGcmTagBytes && out.size() == sealed.size() - kGcmTagBytes);
    CHECK(sealed.size() <= INT_MAX && aad.size() <= INT_MAX);
    CHECK(EVP_DecryptInit_ex2(context_, nullptr, nullptr, nonce.data(), nullptr) == 1);
    int written = 0;
    if (!aad.empty()) {
      CHECK(EVP_DecryptUpdate(context_, nullptr, &written, aad.data(),
                              static_cast<int>(aad.size())) == 1);
    }
    if (!out.empty()) {
      CHECK(EVP_DecryptUpdate(context_, out.data(), &written, sealed.data(),
                              static_cast<int>(out.size())) == 1);
      CHECK(static_cast<size_t>(written) == out.size());
    }
    // OpenSSL takes the expected tag by a pointer to non-const, and only reads it.
    auto* const tag = const_cast<uint8_t*>(sealed.data() + out.size());
    CHECK(EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_SET_TAG, kGcmTagBytes, tag) == 1);
    uint8_t unused[EVP_MAX_BLOCK_LENGTH];
    if (EVP_DecryptFinal_ex(context_, unused, &written) == 1) return {};
    OPENSSL_cleanse(out.data(), out.size());
    return Fail(Code::kCorrupt, "authentication failed: wrong key, or changed or moved data");
  }

 private:
  EVP_CIPHER_CTX* const context_;
};

// The calling thread's cipher with `key`, for one operation: no data key and no message key is left
// behind, not even in locked memory.
class ScopedKey {
 public:
  explicit ScopedKey(ByteSpan key) : cipher_(OfThread()) { cipher_.SetKey(key); }
  ~ScopedKey() { cipher_.ClearKey(); }
  ScopedKey(const ScopedKey&) = delete;
  ScopedKey& operator=(const ScopedKey&) = delete;

  GcmCipher& cipher() const { return cipher_; }

 private:
  static GcmCipher& OfThread() {
    thread_local const std::unique_ptr<GcmCipher> cipher = NewGcmCipher();
    return *cipher;
  }

  GcmCipher& cipher_;
};

}  // namespace

std::unique_ptr<GcmCipher> NewOpensslGcm() {
  return std::make_unique<OpensslGcm>();
}

std::unique_ptr<GcmCipher> NewGcmCipher() {
  std::unique_ptr<GcmCipher> cipher = NewVectorGcm();
  return cipher != nullptr ? std::move(cipher) : NewOpensslGcm();
}

void GcmSeal(ByteSpan key, ByteSpan nonce, ByteSpan aad, ByteSpan plaintext,
             std::span<uint8_t> out) {
  ScopedKey(key).cipher().Seal(nonce, aad, plaintext, out);
}

Status GcmOpen(ByteSpan key, ByteSpan nonce, ByteSpan aad, ByteSpan sealed,
               std::span<uint8_t> out) {
  return ScopedKey(key).cipher().Open(nonce, aad, sealed, out);
}

}  // namespace secretfs::crypto
