#include "crypto/aead.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>

#include "crypto/base/check.h"

namespace secretfs::crypto {
namespace {

constexpr size_t kAesBlockBytes = 16;
constexpr size_t kKdfNonceBytes = kXaesNonceBytes - kGcmNonceBytes;

// Fetched once: a fetch takes a global lock and a string lookup. Never freed, so that a thread that
// ends late does no harm.
const EVP_CIPHER* AesBlock() {
  static EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-256-ECB", nullptr);
  CHECK(cipher != nullptr);
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
  SecretBuffer out = SecretBuffer::Unfilled(sealed.size() - kOverheadBytes);
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
