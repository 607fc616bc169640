// What a signature costs above what OpenSSL takes for it: AsymmetricKey::Sign() against bare EVP
// calls with the same P-256 key, by turns in one run. Prints both rates and the median of the
// rounds' ratios; fails if that is under 0.90.

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "crypto/asymmetric_key.h"
#include "crypto/base/check.h"
#include "crypto/secret_memory.h"

namespace {

using namespace secretfs;
using namespace secretfs::crypto;

constexpr int kRounds = 41;
constexpr int kSignaturesPerRound = 1000;
constexpr double kRatioMin = 0.90;
constexpr KeySpec kSpec = KeySpec::kEccNistP256;

// What a program does that has an EVP_PKEY and a hash and wants one signature.
class BareKey {
 public:
  explicit BareKey(const SecretBuffer& pkcs8) {
    const uint8_t* at = pkcs8.Reveal().data();
    key_ = d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(pkcs8.size()));
    CHECK(key_ != nullptr && hash_ != nullptr);
  }
  ~BareKey() {
    EVP_PKEY_free(key_);
    EVP_MD_free(hash_);
  }
  BareKey(const BareKey&) = delete;
  BareKey& operator=(const BareKey&) = delete;

  Bytes Sign(ByteSpan message) const {
    EVP_MD_CTX* const context = EVP_MD_CTX_new();
    CHECK(EVP_DigestSignInit(context, nullptr, hash_, nullptr, key_) == 1);
    Bytes signature(static_cast<size_t>(EVP_PKEY_get_size(key_)));
    size_t size = signature.size();
    CHECK(EVP_DigestSign(context, signature.data(), &size, message.data(), message.size()) == 1);
    EVP_MD_CTX_free(context);
    signature.resize(size);
    return signature;
  }

 private:
  EVP_PKEY* key_ = nullptr;
  EVP_MD* hash_ = EVP_MD_fetch(nullptr, "SHA2-256", nullptr);
};

template <typename Operation>
double SecondsOf(const Operation& operation) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kSignaturesPerRound; ++i) operation();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace

int main() {
  // OpenSSL's memory is the locked heap, as in the daemon, for both.
  ProtectProcess();
  const AsymmetricKey key = AsymmetricKey::Generate(kSpec).value();
  const BareKey bare(key.ToPkcs8());
  const Bytes message(64, 'm');
  const MessageToSign to_sign{SigningAlgorithm::kEcdsaSha256, MessageType::kRaw, message};
  CHECK(key.Verify(to_sign, bare.Sign(message)));

  std::vector<double> ours;
  std::vector<double> theirs;
  std::vector<double> ratios;
  for (int round = 0; round < kRounds; ++round) {
    theirs.push_back(SecondsOf([&] { (void)bare.Sign(message); }));
    ours.push_back(SecondsOf([&] { CHECK(key.Sign(to_sign)); }));
    ratios.push_back(theirs.back() / ours.back());
  }
  const double ratio = Median(ratios);
  std::printf("P-256 signatures per second: secretfs %.0f, bare EVP %.0f; ratio %.3f (>= %.2f)\n",
              kSignaturesPerRound / Median(ours), kSignaturesPerRound / Median(theirs), ratio,
              kRatioMin);
  return ratio >= kRatioMin ? EXIT_SUCCESS : EXIT_FAILURE;
}
