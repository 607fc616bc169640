#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace secretfs::fs {

struct MountEntry {
  std::string device;      // "<major>:<minor>", the same for all mounts of one file system.
  std::string mountpoint;  // Absolute, without symbolic links.
  std::string type;
};

// The mounts of a namespace by the text of /proc/self/mountinfo (proc_pid_mountinfo(5)). Of mounts
// on one another the last is the one on top.
std::vector<MountEntry> ParseMountinfo(std::string_view mountinfo);

}  // namespace secretfs::fs
