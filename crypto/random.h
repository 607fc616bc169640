#pragma once

#include <cstdint>
#include <span>

namespace secretfs::crypto {

// Uniform random bytes as a constructor argument. Implementations are thread-safe.
class RandomSource {
 public:
  virtual ~RandomSource() = default;
  virtual void Fill(std::span<uint8_t> out) = 0;
};

// OpenSSL's CSPRNG (RAND_priv_bytes). Stops the process if the kernel cannot seed it: going on
// would be worse.
class SystemRandom final : public RandomSource {
 public:
  void Fill(std::span<uint8_t> out) override;
};

}  // namespace secretfs::crypto
