#include "crypto/secret_buffer.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "crypto/base/check.h"
#include "crypto/secret_memory.h"

namespace secretfs::crypto {

SecretBuffer::SecretBuffer(size_t size_bytes) : SecretBuffer(Unfilled(size_bytes)) {
  if (size_bytes > 0) std::memset(data_, 0, size_bytes);
}

SecretBuffer SecretBuffer::Unfilled(size_t size_bytes) {
  SecretBuffer buffer;
  if (size_bytes == 0) return buffer;
  buffer.data_ = static_cast<uint8_t*>(SecretAllocate(size_bytes));
  buffer.size_ = buffer.capacity_ = size_bytes;
  return buffer;
}

SecretBuffer SecretBuffer::CopyOf(ByteSpan bytes) {
  SecretBuffer copy;
  copy.Append(bytes);
  return copy;
}

SecretBuffer::SecretBuffer(SecretBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)) {}

SecretBuffer& SecretBuffer::operator=(SecretBuffer&& other) noexcept {
  if (this != &other) {
    SecretFree(data_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
  }
  return *this;
}

SecretBuffer::~SecretBuffer() {
  SecretFree(data_);
}

void SecretBuffer::Append(ByteSpan bytes) {
  if (bytes.empty()) return;
  CHECK(bytes.size() <= std::numeric_limits<size_t>::max() / 2 - size_);
  const size_t new_size = size_ + bytes.size();
  if (new_size <= capacity_) {
    std::memcpy(data_ + size_, bytes.data(), bytes.size());
    size_ = new_size;
    return;
  }
  // The old block is freed last: `bytes` may be a part of it.
  const size_t new_capacity = std::max(new_size, capacity_ * 2);
  auto* grown = static_cast<uint8_t*>(SecretAllocate(new_capacity));
  if (size_ > 0) std::memcpy(grown, data_, size_);
  std::memcpy(grown + size_, bytes.data(), bytes.size());
  SecretFree(data_);
  data_ = grown;
  size_ = new_size;
  capacity_ = new_capacity;
}

void SecretBuffer::Truncate(size_t size_bytes) {
  CHECK(size_bytes <= size_);
  if (size_bytes == size_) return;
  OPENSSL_cleanse(data_ + size_bytes, size_ - size_bytes);
  size_ = size_bytes;
}

bool SecretBuffer::Equals(const SecretBuffer& other) const {
  return size_ == other.size_ && (size_ == 0 || CRYPTO_memcmp(data_, other.data_, size_) == 0);
}

}  // namespace secretfs::crypto
