#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>

#include "crypto/root_key.h"
#include "tests/support/temp_directory.h"

namespace secretfs::crypto {

// A new directory with key files, which goes away with the object.
class KeyDirectory {
 public:
  std::string path() const { return directory_.path(); }
  std::string Path(const std::string& name) const { return directory_ / name; }

  // Writes a file and returns its path.
  std::string Write(const std::string& name, std::string_view content, mode_t mode = 0600) const {
    const std::string path = Path(name);
    std::ofstream(path, std::ios::binary) << content;
    EXPECT_EQ(chmod(path.c_str(), mode), 0);
    return path;
  }

 private:
  testing::TempDirectory directory_;
};

// The root key of a key file that holds 32 bytes of value `byte`.
inline std::unique_ptr<RootKey> NewLocalRootKey(uint8_t byte, RandomSource& random) {
  const KeyDirectory directory;
  const std::string content(kRootKeyBytesMin, static_cast<char>(byte));
  const std::string path = directory.Write("key", content);
  return OpenRootKey(KeyFileSource{path}, {}, random).value();
}

}  // namespace secretfs::crypto
