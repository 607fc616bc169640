#include "fs/request_source.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "crypto/base/check.h"

namespace secretfs::fs {
namespace {

constexpr size_t kPageBytes = 4096;

size_t WholePages(size_t bytes) {
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

}  // namespace

RequestSource::RequestSource(int device, size_t request_bytes_max)
    : device_(device),
      size_bytes_(WholePages(request_bytes_max)),
      buffer_(static_cast<uint8_t*>(aligned_alloc(kPageBytes, size_bytes_))) {
  CHECK(buffer_ != nullptr);
}

Result<std::span<uint8_t>> RequestSource::Next() {
  while (true) {
    const ssize_t size = read(device_, buffer_.get(), size_bytes_);
    if (size > 0) return std::span(buffer_.get(), static_cast<size_t>(size));
    if (size == 0 || errno == ENODEV) return std::span<uint8_t>();
    if (errno == EAGAIN) {
      pollfd readable{device_, POLLIN, 0};
      poll(&readable, 1, -1);
      continue;
    }
    // ENOENT: the request was interrupted while it was on its way to us.
    if (errno != EINTR && errno != ENOENT) {
      return FailErrno(Code::kUnavailable, "read a request from /dev/fuse", errno);
    }
  }
}

}  // namespace secretfs::fs
