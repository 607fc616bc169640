#pragma once

#include <optional>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"
#include "crypto/secret_buffer.h"

namespace secretfs::crypto {

// Where a process leaves the secret behind its root key for its successor, so that a restart asks
// nobody: memory of memfd_secret(2), which the kernel takes out of its own map, never swaps and
// shows to no one but those who map the descriptor. Who holds the descriptor can map it, so its
// holder (the keeper, which does not) is trusted like the process itself.

inline constexpr size_t kDepositBytesMax = 4096;

// An empty deposit. Errors: kUnavailable, on a kernel without memfd_secret too.
Result<UniqueFd> CreateDeposit();
// Errors: kUnavailable. REQUIRES: at most kDepositBytesMax bytes.
Status LeaveInDeposit(int fd, const SecretBuffer& secret);
// nullopt: nothing has been left. Errors: kUnavailable.
Result<std::optional<SecretBuffer>> TakeFromDeposit(int fd);

}  // namespace secretfs::crypto
