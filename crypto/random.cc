#include "crypto/random.h"

#include <openssl/rand.h>

#include <climits>

#include "crypto/base/check.h"

namespace secretfs::crypto {

void SystemRandom::Fill(std::span<uint8_t> out) {
  CHECK(out.size() <= INT_MAX);
  CHECK(RAND_priv_bytes(out.data(), static_cast<int>(out.size())) == 1);
}

}  // namespace secretfs::crypto
