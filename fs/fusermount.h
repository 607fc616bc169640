#pragma once

#include <string>
#include <vector>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"

namespace secretfs::fs {

// What fusermount3, the set-uid helper of libfuse, did.
struct FusermountResult {
  bool succeeded = false;
  UniqueFd device;      // Of a mount.
  std::string message;  // What it complained of: one line, without its name.
};

// Runs fusermount3 with `arguments` and waits for it. Errors: kUnavailable if it cannot be run.
Result<FusermountResult> RunFusermount(const std::vector<std::string>& arguments);

}  // namespace secretfs::fs
