#pragma once

#include <string>

#include "crypto/base/result.h"
#include "crypto/random.h"
#include "crypto/root_key.h"
#include "mount/cli_verbs.h"

// What commands do with root keys themselves.
namespace secretfs::mount {

inline constexpr size_t kPassphraseBytesMax = 1024;

// "file:PATH" with the path made absolute; other forms as they are.
std::string AbsoluteSource(const std::string& text);
// Creates the key file if there is none. Returns whether it did.
Result<bool> EnsureKeyFile(const crypto::RootKeySource& source, crypto::RandomSource& random);
// For a new root key: a passphrase is asked for twice. `cli` must outlive both.
crypto::RootKeyEnvironment NewRootKeyEnvironment(Cli& cli);
crypto::RootKeyEnvironment CurrentRootKeyEnvironment(Cli& cli);

}  // namespace secretfs::mount
