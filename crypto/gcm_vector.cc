#include "crypto/gcm.h"

#ifdef SECRETFS_HAS_IPSEC_MB

#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>

#include <array>
#include <new>

#include "crypto/base/check.h"
#include "crypto/secret_memory.h"

namespace secretfs::crypto {
namespace {

struct Functions {
  aes_gcm_pre_t set_key;
  aes_gcm_enc_dec_t seal;
  aes_gcm_enc_dec_t open;
};

// Null if this processor lacks an instruction, or the library is not to be relied upon.
const Functions* LoadFunctions() {
  // The library asks the processor alone; this also asks whether the system keeps its registers.
  if (!__builtin_cpu_supports("avx512f")) return nullptr;
  // The size of gcm_key_data changes between versions that have one library name.
  if (imb_get_version() != IMB_VERSION_NUM) return nullptr;
  const std::unique_ptr<IMB_MGR, void (*)(IMB_MGR*)> manager(alloc_mb_mgr(0), free_mb_mgr);
  if (manager == nullptr) return nullptr;
  constexpr uint64_t kNeeded = IMB_FEATURE_AVX512_SKX | IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ;
  if ((manager->features & kNeeded) != kNeeded) return nullptr;
  init_mb_mgr_avx512(manager.get());
  // The library has computed known answers now.
  if ((manager->features & IMB_FEATURE_SELF_TEST_PASS) == 0) return nullptr;
  static const Functions functions{manager->gcm256_pre, manager->gcm256_enc, manager->gcm256_dec};
  return &functions;
}

const Functions* LoadedFunctions() {
  static const Functions* const functions = LoadFunctions();
  return functions;
}

// The library refuses a null pointer even for no bytes.
const uint8_t* Data(ByteSpan bytes) {
  static const uint8_t nothing = 0;
  return bytes.empty() ? &nothing : bytes.data();
}

class VectorGcm final : public GcmCipher {
 public:
  explicit VectorGcm(const Functions& functions)
      : functions_(functions), memory_(SecretAllocate(sizeof(State) + alignof(State))) {
    void* place = memory_;
    size_t room = sizeof(State) + alignof(State);
    state_ = new (std::align(alignof(State), sizeof(State), place, room)) State{};
  }
  ~VectorGcm() override { SecretFree(memory_); }
  VectorGcm(const VectorGcm&) = delete;
  VectorGcm& operator=(const VectorGcm&) = delete;

  void SetKey(ByteSpan key) override {
    CHECK(key.size() == kAesKeyBytes);
    functions_.set_key(key.data(), &state_->key);
  }

  void ClearKey() override { OPENSSL_cleanse(state_, sizeof(State)); }

  void Seal(ByteSpan nonce, ByteSpan aad, ByteSpan plaintext, std::span<uint8_t> out) override {
    CHECK(nonce.size() == kGcmNonceBytes && out.size() == plaintext.size() + kGcmTagBytes);
    functions_.seal(&state_->key, &state_->message, out.data(), Data(plaintext), plaintext.size(),
                    nonce.data(), Data(aad), aad.size(), out.data() + plaintext.size(),
                    kGcmTagBytes);
  }

  Status Open(ByteSpan nonce, ByteSpan aad, ByteSpan sealed, std::span<uint8_t> out) override {
    CHECK(nonce.size() == kGcmNonceBytes);
    CHECK(sealed.size() >= kGcmTagBytes && out.size() == sealed.size() - kGcmTagBytes);
    std::array<uint8_t, kGcmTagBytes> tag{};
    uint8_t nowhere = 0;
    functions_.open(&state_->key, &state_->message, out.empty() ? &nowhere : out.data(),
                    sealed.data(), out.size(), nonce.data(), Data(aad), aad.size(), tag.data(),
                    tag.size());
    if (CRYPTO_memcmp(tag.data(), sealed.data() + out.size(), tag.size()) == 0) return {};
    OPENSSL_cleanse(out.data(), out.size());
    return Fail(Code::kCorrupt, "authentication failed: wrong key, or changed or moved data");
  }

 private:
  struct State {
    gcm_key_data key;  // To be aligned to 64 bytes.
    gcm_context_data message;
  };

  const Functions& functions_;
  void* const memory_;
  State* state_;
};

}  // namespace

std::unique_ptr<GcmCipher> NewVectorGcm() {
  const Functions* const functions = LoadedFunctions();
  return functions == nullptr ? nullptr : std::make_unique<VectorGcm>(*functions);
}

}  // namespace secretfs::crypto

#else

namespace secretfs::crypto {

std::unique_ptr<GcmCipher> NewVectorGcm() {
  return nullptr;
}

}  // namespace secretfs::crypto

#endif
