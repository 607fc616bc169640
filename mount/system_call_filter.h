#pragma once

#include <cstdint>
#include <string>

#include "crypto/base/result.h"

namespace secretfs::mount {

// Which system calls a process may make from now on, if an attacker should come to run code in it:
// a list of those that it needs, for each process that outsiders talk to. Nothing on the lists
// starts a program, opens a network socket, reaches into another process, mounts, or makes memory
// executable. The lists are in the source file, grouped by what uses each call.
//
// Three answers:
// - On the list: the call is made. Calls that only read, wait or tell the time are listed
//   generously, since a healthy process that ends over a rare one is worse than what they give.
// - Refused with an error, where libraries try a call and can do without it: sockets (EACCES),
//   executable memory (EACCES), signals to others (EPERM), clone3() (ENOSYS, as its flags cannot be
//   looked at: the C library then uses clone()), and every call that is younger than this list
//   (ENOSYS, as an older kernel would say).
// - All else ends the process with SIGSYS, and a line on standard error that names the call.
//
// Sockets are accepted, never made: an endpoint on TCP needs no entry here, if the keeper binds it
// and hands it over as it does with the Unix socket. A sink that must connect by itself would need
// socket() for its address family alone, and connect().
enum class FilteredProcess : uint8_t { kDaemon, kToucher };

// Puts this process, with all threads that it has and will have, under its filter for good. To be
// called when privileges are given up (no_new_privs is set if it was not). False: this kernel, or
// the container's own filter, does not let us, which is worth a warning in the log. (What
// /proc/<pid>/status says does not tell, since a container's filter shows there too.) Errors:
// kInternal.
Result<bool> FilterSystemCalls(FilteredProcess process);

// The filter in libseccomp's notation (seccomp_export_pfc(3)), for one of its architectures
// (SCMP_ARCH_AARCH64); 0: this machine's. Errors: kInternal.
Result<std::string> DescribeSystemCallFilter(FilteredProcess process, uint32_t architecture = 0);

}  // namespace secretfs::mount
