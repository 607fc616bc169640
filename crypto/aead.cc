#include "crypto/aead.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>
#include <cstring>
#include <memory>

#include "crypto/base/check.h"

namespace secretfs::crypto {
namespace {

constexpr size_t kAesBlockBytes = 16;
constexpr size_t kKdfNonceBytes = kXaesNonceBytes - kGcmNonceBytes;

// Fetched once: a fetch takes a global lock and a string lookup, more than the encryption of a
// small message. Never freed, so that a thread that ends late does no harm.
EVP_CIPHER* FetchCipher(const char* name) {
  EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, name, nullptr);
  CHECK(cipher != nullptr);
  return cipher;
}
const EVP_CIPHER* AesGcm() {
  static EVP_CIPHER* const cipher = FetchCipher("AES-256-GCM");
  return cipher;
}
const EVP_CIPHER* AesBlock() {
  static EVP_CIPHER* const cipher = FetchCipher("AES-256-ECB");
  return cipher;
}

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};

using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

Context NewContext() {
  Context context(EVP_CIPHER_CTX_new());
  CHECK(context != nullptr);
  return context;
}

// The calling thread's context for one AES-GCM operation. It is reset at the end, which frees the
// key schedule, the GHASH table and the last key stream block through OPENSSL_clear_free(): no data
// key and no message key is left behind, not even in locked memory.
class ScopedGcmContext {
 public:
  ScopedGcmContext() : context_(OfThread()) {}
  ~ScopedGcmContext() { EVP_CIPHER_CTX_reset(context_); }
  ScopedGcmContext(const ScopedGcmContext&) = delete;
  ScopedGcmContext& operator=(const ScopedGcmContext&) = delete;

  EVP_CIPHER_CTX* get() const { return context_; }

 private:
  static EVP_CIPHER_CTX* OfThread() {
    thread_local const Context context = NewContext();
    return context.get();
  }

  EVP_CIPHER_CTX* const context_;
};

// AES-256 of whole blocks under a long-lived key: the CMAC of one complete block needs nothing
// else. Each thread keeps the schedules of the few keys that it used last, since setting one up
// costs five times what using it does.
class BlockCiphers {
 public:
  void Encrypt(uint64_t key_number, ByteSpan key, ByteSpan blocks, std::span<uint8_t> out) {
    EVP_CIPHER_CTX* const context = Find(key_number, key);
    int written = 0;
    CHECK(EVP_EncryptUpdate(context, out.data(), &written, blocks.data(),
                            static_cast<int>(blocks.size())) == 1);
    CHECK(static_cast<size_t>(written) == blocks.size());
  }

 private:
  struct Slot {
    uint64_t key_number = 0;
    Context context = NewContext();
  };

  EVP_CIPHER_CTX* Find(uint64_t key_number, ByteSpan key) {
    for (const Slot& slot : slots_) {
      if (slot.key_number == key_number) return slot.context.get();
    }
    Slot& slot = slots_[oldest_++ % slots_.size()];
    CHECK(EVP_EncryptInit_ex2(slot.context.get(), AesBlock(), key.data(), nullptr, nullptr) == 1);
    slot.key_number = key_number;
    return slot.context.get();
  }

  std::array<Slot, 4> slots_;
  size_t oldest_ = 0;
};

void EncryptBlocks(uint64_t key_number, ByteSpan key, ByteSpan blocks, std::span<uint8_t> out) {
  thread_local BlockCiphers ciphers;
  ciphers.Encrypt(key_number, key, blocks, out);
}

// Names a key for BlockCiphers; never given twice, so a schedule is never taken for another key's.
uint64_t NextKeyNumber() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

// Doubling in GF(2^128), SP 800-38B section 6.1: without branches, since `block` is secret.
void DoubleInField(std::span<uint8_t> block) {
  uint8_t carry = 0;
  for (size_t i = block.size(); i-- > 0;) {
    const uint8_t out_bit = block[i] >> 7;
    block[i] = static_cast<uint8_t>(block[i] << 1 | carry);
    carry = out_bit;
  }
  block.back() ^= static_cast<uint8_t>(0x87 & -carry);
}

// The AES-256-GCM key of one message, on the stack and wiped.
class MessageKey {
 public:
  MessageKey(uint64_t key_number, ByteSpan key, ByteSpan cmac_subkey, ByteSpan nonce) {
    // The KDF input is one CMAC block each: counter (16 bits), label 'X', separator 0, context.
    std::array<uint8_t, 2 * kAesBlockBytes> blocks;
    for (size_t counter = 1; counter <= 2; ++counter) {
      uint8_t* block = blocks.data() + (counter - 1) * kAesBlockBytes;
      const uint8_t head[] = {0, static_cast<uint8_t>(counter), 'X', 0};
      std::memcpy(block, head, sizeof(head));
      std::memcpy(block + sizeof(head), nonce.data(), kKdfNonceBytes);
      for (size_t i = 0; i < kAesBlockBytes; ++i) block[i] ^= cmac_subkey[i];
    }
    EncryptBlocks(key_number, key, blocks, bytes_);
    OPENSSL_cleanse(blocks.data(), blocks.size());
  }
  ~MessageKey() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }
  MessageKey(const MessageKey&) = delete;
  MessageKey& operator=(const MessageKey&) = delete;

  ByteSpan bytes() const { return bytes_; }

 private:
  std::array<uint8_t, kAesKeyBytes> bytes_;
};

}  // namespace

namespace {

// Seals with the key that is set in `context`, or with `key` if it is not null.
void SealWith(EVP_CIPHER_CTX* context, const uint8_t* key, ByteSpan nonce, ByteSpan aad,
              ByteSpan plaintext, std::span<uint8_t> out) {
  CHECK(nonce.size() == kGcmNonceBytes && out.size() == plaintext.size() + kGcmTagBytes);
  CHECK(out.size() <= INT_MAX && aad.size() <= INT_MAX);
  const EVP_CIPHER* const cipher = key != nullptr ? AesGcm() : nullptr;
  CHECK(EVP_EncryptInit_ex2(context, cipher, key, nonce.data(), nullptr) == 1);
  int written = 0;
  if (!aad.empty()) {
    CHECK(EVP_EncryptUpdate(context, nullptr, &written, aad.data(), static_cast<int>(aad.size())) ==
          1);
  }
  if (!plaintext.empty()) {
    CHECK(EVP_EncryptUpdate(context, out.data(), &written, plaintext.data(),
                            static_cast<int>(plaintext.size())) == 1);
    CHECK(static_cast<size_t>(written) == plaintext.size());
  }
  uint8_t* const tag = out.data() + plaintext.size();
  CHECK(EVP_EncryptFinal_ex(context, tag, &written) == 1);
  CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kGcmTagBytes, tag) == 1);
}

}  // namespace

void GcmSeal(ByteSpan key, ByteSpan nonce, ByteSpan aad, ByteSpan plaintext,
             std::span<uint8_t> out) {
  CHECK(key.size() == kAesKeyBytes);
  const ScopedGcmContext context;
  SealWith(context.get(), key.data(), nonce, aad, plaintext, out);
}

GcmSealer::GcmSealer(ByteSpan key) : context_(EVP_CIPHER_CTX_new()) {
  CHECK(key.size() == kAesKeyBytes && context_ != nullptr);
  CHECK(EVP_EncryptInit_ex2(context_, AesGcm(), key.data(), nullptr, nullptr) == 1);
}
GcmSealer::~GcmSealer() {
  EVP_CIPHER_CTX_free(context_);
}

void GcmSealer::Seal(ByteSpan nonce, ByteSpan aad, ByteSpan plaintext, std::span<uint8_t> out) {
  SealWith(context_, nullptr, nonce, aad, plaintext, out);
}

Status GcmOpen(ByteSpan key, ByteSpan nonce, ByteSpan aad, ByteSpan sealed,
               std::span<uint8_t> out) {
  CHECK(key.size() == kAesKeyBytes && nonce.size() == kGcmNonceBytes);
  CHECK(sealed.size() >= kGcmTagBytes && out.size() == sealed.size() - kGcmTagBytes);
  CHECK(sealed.size() <= INT_MAX && aad.size() <= INT_MAX);
  const ScopedGcmContext context;
  EVP_CIPHER_CTX* const ctx = context.get();
  CHECK(EVP_DecryptInit_ex2(ctx, AesGcm(), key.data(), nonce.data(), nullptr) == 1);
  int written = 0;
  if (!aad.empty()) {
    CHECK(EVP_DecryptUpdate(ctx, nullptr, &written, aad.data(), static_cast<int>(aad.size())) == 1);
  }
  if (!out.empty()) {
    CHECK(EVP_DecryptUpdate(ctx, out.data(), &written, sealed.data(),
                            static_cast<int>(out.size())) == 1);
    CHECK(static_cast<size_t>(written) == out.size());
  }
  // OpenSSL takes the expected tag by a pointer to non-const, and only reads it.
  auto* const tag = const_cast<uint8_t*>(sealed.data() + out.size());
  CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, kGcmTagBytes, tag) == 1);
  uint8_t unused[kAesBlockBytes];
  if (EVP_DecryptFinal_ex(ctx, unused, &written) != 1) {
    OPENSSL_cleanse(out.data(), out.size());
    return Fail(Code::kCorrupt, "authentication failed: wrong key, or changed or moved data");
  }
  return {};
}

Aead::Aead(SecretBuffer key)
    : key_number_(NextKeyNumber()), key_(std::move(key)), cmac_subkey_(kAesBlockBytes) {
  CHECK(key_.size() == kAesKeyBytes);
  const std::array<uint8_t, kAesBlockBytes> zeros{};
  EncryptBlocks(key_number_, key_.Reveal(), zeros, cmac_subkey_.Writable());
  DoubleInField(cmac_subkey_.Writable());
}

void Aead::SealWithNonce(ByteSpan nonce, ByteSpan plaintext, ByteSpan aad,
                         std::span<uint8_t> out) const {
  CHECK(nonce.size() == kXaesNonceBytes);
  CHECK(out.size() == plaintext.size() + kOverheadBytes);
  const MessageKey message_key(key_number_, key_.Reveal(), cmac_subkey_.Reveal(),
                               nonce.first(kKdfNonceBytes));
  std::ranges::copy(nonce, out.begin());
  GcmSeal(message_key.bytes(), nonce.subspan(kKdfNonceBytes), aad, plaintext,
          out.subspan(kXaesNonceBytes));
}

Bytes Aead::Seal(ByteSpan plaintext, ByteSpan aad, RandomSource& random) const {
  Bytes sealed(plaintext.size() + kOverheadBytes);
  std::array<uint8_t, kXaesNonceBytes> nonce;
  random.Fill(nonce);
  SealWithNonce(nonce, plaintext, aad, sealed);
  return sealed;
}

Status Aead::OpenInto(ByteSpan sealed, ByteSpan aad, std::span<uint8_t> out) const {
  const MessageKey message_key(key_number_, key_.Reveal(), cmac_subkey_.Reveal(),
                               sealed.first(kKdfNonceBytes));
  return GcmOpen(message_key.bytes(), sealed.subspan(kKdfNonceBytes, kGcmNonceBytes), aad,
                 sealed.subspan(kXaesNonceBytes), out);
}

Result<SecretBuffer> Aead::Open(ByteSpan sealed, ByteSpan aad) const {
  if (sealed.size() < kOverheadBytes) return Fail(Code::kCorrupt, "sealed data is cut short");
  SecretBuffer out(sealed.size() - kOverheadBytes);
  TRY(OpenInto(sealed, aad, out.Writable()));
  return out;
}

Result<Bytes> Aead::OpenMetadata(ByteSpan sealed, ByteSpan aad) const {
  if (sealed.size() < kOverheadBytes) return Fail(Code::kCorrupt, "sealed data is cut short");
  Bytes out(sealed.size() - kOverheadBytes);
  TRY(OpenInto(sealed, aad, out));
  return out;
}

}  // namespace secretfs::crypto
