#include "fs/mountinfo.h"

namespace secretfs::fs {
namespace {

bool IsOctal(char digit) {
  return digit >= '0' && digit <= '7';
}

// The kernel writes space, tab, newline and backslash as "\" and three octal digits.
std::string Unescape(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && text[i + 1] <= '3' && IsOctal(text[i + 1]) &&
        IsOctal(text[i + 2]) && IsOctal(text[i + 3])) {
      const int byte = (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
      plain.push_back(static_cast<char>(byte));
      i += 3;
    } else {
      plain.push_back(text[i]);
    }
  }
  return plain;
}

// Takes what is before the next `separator` off the front of `text`.
std::string_view TakeUntil(std::string_view& text, char separator) {
  const size_t end = text.find(separator);
  const std::string_view taken = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return taken;
}

}  // namespace

std::vector<MountEntry> ParseMountinfo(std::string_view mountinfo) {
  std::vector<MountEntry> mounts;
  while (!mountinfo.empty()) {
    std::string_view line = TakeUntil(mountinfo, '\n');
    MountEntry entry;
    TakeUntil(line, ' ');  // Mount id.
    TakeUntil(line, ' ');  // Parent id.
    entry.device = TakeUntil(line, ' ');
    TakeUntil(line, ' ');  // Root.
    entry.mountpoint = Unescape(TakeUntil(line, ' '));
    // Options and a varying number of optional fields, up to "-".
    while (!line.empty() && TakeUntil(line, ' ') != "-") {
    }
    entry.type = Unescape(TakeUntil(line, ' '));
    if (!entry.mountpoint.empty()) mounts.push_back(std::move(entry));
  }
  return mounts;
}

}  // namespace secretfs::fs
