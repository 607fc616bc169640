#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

#include "crypto/base/result.h"

namespace secretfs::fs {

// Where a reader thread gets its requests: reads /dev/fuse into a buffer that it owns, one request
// at a time. The one place that knows where a request lies while it is being answered. Used by one
// thread.
class RequestSource {
 public:
  // `device` must outlive the source. A request has at most `request_bytes_max` bytes.
  RequestSource(int device, size_t request_bytes_max);

  // Waits for a request. It stays valid, and counts as being answered, until Done(). An empty one:
  // the file system is unmounted. Errors: kUnavailable.
  Result<std::span<uint8_t>> Next();
  void Done() {}

 private:
  struct Free {
    void operator()(uint8_t* memory) const { free(memory); }
  };
  const int device_;
  const size_t size_bytes_;
  std::unique_ptr<uint8_t, Free> buffer_;
};

}  // namespace secretfs::fs
