#include "crypto/base/check.h"

#include <cstdlib>
#include <string>

#include "crypto/base/log.h"

namespace secretfs {

void CheckFailed(const char* file, int line, const char* condition) {
  Log(LogLevel::kError,
      std::string(file) + ":" + std::to_string(line) + ": check failed: " + condition);
  std::abort();
}

}  // namespace secretfs
