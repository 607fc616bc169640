#pragma once

#include "mount/settings.h"

namespace secretfs::mount {

// Standard input, output and error of a command, as descriptors that outlive it.
struct CliStreams {
  int in;
  int out;
  int err;
};

// The program: parses the command line, runs the verb, prints an error as one line and returns the
// exit status (mount/exit_status.h). Apart from `streams` and `environment` it takes nothing from
// the process, so tests can call it.
int RunCli(int argc, const char* const* argv, const CliStreams& streams,
           const Environment& environment);

}  // namespace secretfs::mount
