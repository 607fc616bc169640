#include <fcntl.h>
#include <unistd.h>

#include "crypto/base/log.h"
#include "crypto/secret_memory.h"
#include "mount/cli.h"

namespace {

// A caller may have closed them; the next file to be opened would then take the place of standard
// output.
void OccupyStandardStreams() {
  int fd = 0;
  while (fd >= 0 && fd <= STDERR_FILENO) fd = open("/dev/null", O_RDWR);
  if (fd > STDERR_FILENO) close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  secretfs::crypto::ProtectProcess();
  OccupyStandardStreams();
  secretfs::OpenLog();
  return secretfs::mount::RunCli(argc, argv, {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO},
                                 secretfs::mount::Environment::OfProcess());
}
