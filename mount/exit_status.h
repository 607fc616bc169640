#pragma once

#include "crypto/base/result.h"

namespace secretfs::mount {

// What `secretfs` tells the shell. Scripts branch on these numbers: never renumber.
inline constexpr int kExitOk = 0;
inline constexpr int kExitError = 1;
inline constexpr int kExitUsage = 2;  // The command line, the config or the value cannot be right.
inline constexpr int kExitNotFound = 3;  // No such secret, version, label, key, store, mountpoint.
inline constexpr int kExitDenied = 4;
inline constexpr int kExitSealed = 5;  // The root key is wrong or missing.
// Well-formed, but what it is about is in another state: a lost compare-and-swap, a name that is
// taken, a secret that is marked for deletion, a store that has its daemon already.
inline constexpr int kExitConflict = 6;

// One switch, no default.
int ExitStatusOf(Code code);

}  // namespace secretfs::mount
