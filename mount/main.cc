#include <unistd.h>

#include "crypto/secret_memory.h"
#include "mount/cli.h"

int main(int argc, char** argv) {
  secretfs::crypto::ProtectProcess();
  return secretfs::mount::RunCli(argc, argv, {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO},
                                 secretfs::mount::Environment::OfProcess());
}
