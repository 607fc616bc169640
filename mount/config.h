#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "crypto/base/result.h"

namespace secretfs::mount {

// What a user may set, in one place: packaging/secretfs.toml describes each for people, and a test
// holds the two together. Paths are absolute, or empty where there is no default.
struct Config {
  std::string store;
  std::string mountpoint;
  std::string socket;

  // [mount]
  bool allow_other = false;
  bool refuse_mapping = false;
  std::string user = "secretfs";  // Whom the daemon becomes when root starts it.
  int64_t reader_threads = 0;     // 0: by the number of CPUs.
  bool system_call_filter = true;

  // [audit]
  std::string audit_directory;  // Empty: <store>/audit.
  int64_t audit_segment_mib = 4;
  int64_t audit_sync_interval_ms = 1000;

  bool operator==(const Config&) const = default;
};

// Reads TOML over `defaults`. The whole file must make sense: an unknown key is refused with the
// nearest one that exists, because a misspelt option that is silently ignored is how a guard rail
// goes missing. Errors: kInvalidArgument, "<file_name>:<line>: ...".
Result<Config> ParseConfig(std::string_view text, std::string_view file_name,
                           const Config& defaults);

// The inverse: every option, as a file that ParseConfig() reads.
std::string FormatConfig(const Config& config);

// Errors: kNotFound, kPermissionDenied, kUnavailable, and those of ParseConfig().
Result<Config> LoadConfig(const std::string& path, const Config& defaults);

}  // namespace secretfs::mount
