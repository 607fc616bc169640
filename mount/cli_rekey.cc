#include "mount/cli_verbs.h"
namespace secretfs::mount {
void AddRekeyVerb(CLI::App&, Cli&) {}
}  // namespace secretfs::mount
