#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace secretfs::fs {

// The file system type of the mount that is on top at `mountpoint` (an absolute path without
// symbolic links), by the text of /proc/self/mountinfo (proc_pid_mountinfo(5)); nullopt if nothing
// is mounted there.
std::optional<std::string> MountedType(std::string_view mountinfo, std::string_view mountpoint);

}  // namespace secretfs::fs
