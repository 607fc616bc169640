#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "crypto/base/bytes.h"

namespace secretfs::crypto {

// Bytes that must not leak: key material and plaintext. Lives in the locked heap
// (crypto/secret_memory.h), is wiped when it dies, moves but never copies, and has no conversion to
// a string and no operator<<. Bytes leave through Reveal() alone, so a search for that word lists
// every place that looks.
class SecretBuffer {
 public:
  SecretBuffer() = default;
  // Zero-filled.
  explicit SecretBuffer(size_t size_bytes);
  // With unspecified content, for who writes all of it.
  static SecretBuffer Unfilled(size_t size_bytes);
  static SecretBuffer CopyOf(ByteSpan bytes);
  SecretBuffer(SecretBuffer&& other) noexcept;
  SecretBuffer& operator=(SecretBuffer&& other) noexcept;
  SecretBuffer(const SecretBuffer&) = delete;
  SecretBuffer& operator=(const SecretBuffer&) = delete;
  ~SecretBuffer();

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  ByteSpan Reveal() const { return {data_, size_}; }
  std::span<uint8_t> Writable() { return {data_, size_}; }

  // Adds `bytes` at the end; grows by doubling, wiping what it leaves.
  void Append(ByteSpan bytes);
  // Keeps the first `size_bytes` bytes. REQUIRES: size_bytes <= size().
  void Truncate(size_t size_bytes);

  // Constant-time in the contents (CRYPTO_memcmp); lengths are not hidden.
  bool Equals(const SecretBuffer& other) const;

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace secretfs::crypto
