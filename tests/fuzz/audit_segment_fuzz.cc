#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "crypto/base/check.h"
#include "store/audit_trail.h"
#include "tests/support/temp_directory.h"

// Any bytes as the segment that a trail finds: it opens, reports, and goes on.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace secretfs;
  static crypto::SystemRandom random;
  testing::TempDirectory directory;
  CHECK(mkdir((directory / "audit").c_str(), 0700) == 0);
  int fd =
      open((directory / "audit/00000001.segment").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  CHECK(write(fd, data, size) == static_cast<ssize_t>(size));
  close(fd);
  auto trail = store::AuditTrail::Open({directory / "audit", 4096},
                                       crypto::SecretBuffer::CopyOf(Bytes(32, 1)), {}, 0, random);
  if (!trail) return 0;
  CHECK((*trail)->Append(store::AuditEvent{}, 0));
  CHECK((*trail)->Read([](uint64_t, const store::AuditEvent&) { return true; }));
  return 0;
}
