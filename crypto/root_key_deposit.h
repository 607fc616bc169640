#pragma once

#include <vector>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"
#include "crypto/secret_buffer.h"

namespace secretfs::crypto {

// Where a process leaves the secret behind its root key for its successor, so that a restart asks
// nobody: memory of memfd_secret(2), which the kernel takes out of its own map, never swaps and
// shows to no one but those who map the descriptor. Who holds the descriptor can map it, so its
// holder (the keeper, which does not) is trusted like the process itself.

//
// It has two places, since a store that goes over to another root key is opened by the old one
// until the very moment when it is opened by the new one: who leaves both need not know when that
// was.

inline constexpr size_t kDepositBytesMax = 4096;

struct LeftSecret {
  int place = 0;  // 0 or 1.
  SecretBuffer secret;
};

// An empty deposit. Errors: kUnavailable, on a kernel without memfd_secret too.
Result<UniqueFd> CreateDeposit();
// Puts `secret` beside what is there, and returns its place. Errors: kFailedPrecondition if there
// is no place left; kUnavailable. REQUIRES: at most kDepositBytesMax bytes.
Result<int> LeaveInDeposit(int fd, const SecretBuffer& secret);
// Wipes the other place. Errors: kUnavailable.
Status KeepInDeposit(int fd, int place);
// Wipes both. Errors: kUnavailable.
Status EmptyDeposit(int fd);
// All that has been left. Errors: kUnavailable.
Result<std::vector<LeftSecret>> TakeFromDeposit(int fd);

}  // namespace secretfs::crypto
