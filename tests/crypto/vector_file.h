#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "crypto/base/bytes.h"

namespace secretfs::crypto {

// One record of a file in tests/vectors: `name = value` lines up to an empty line.
class Vector {
 public:
  void Set(std::string name, std::string value) { fields_[std::move(name)] = std::move(value); }
  bool empty() const { return fields_.empty(); }

  const std::string& Text(const std::string& name) const {
    const auto found = fields_.find(name);
    if (found == fields_.end()) throw std::runtime_error("test vector without " + name);
    return found->second;
  }
  // The value, which is written in hexadecimal.
  Bytes Hex(const std::string& name) const { return FromHex(Text(name)).value(); }
  uint32_t Number(const std::string& name) const {
    return static_cast<uint32_t>(std::stoul(Text(name)));
  }

 private:
  std::map<std::string, std::string> fields_;
};

// The records of tests/vectors/`name`; lines that start with '#' say where they come from.
inline std::vector<Vector> ReadVectors(const std::string& name) {
  std::ifstream file(std::string(SECRETFS_SOURCE_DIR "/tests/vectors/") + name);
  EXPECT_TRUE(file.is_open()) << name;
  std::vector<Vector> vectors;
  Vector current;
  const auto finish = [&] {
    if (!current.empty()) vectors.push_back(std::exchange(current, {}));
  };
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    const size_t equals = line.find(" =");
    if (equals == std::string::npos) {
      finish();
    } else {
      current.Set(line.substr(0, equals), line.substr(std::min(equals + 3, line.size())));
    }
  }
  finish();
  EXPECT_FALSE(vectors.empty()) << name;
  return vectors;
}

}  // namespace secretfs::crypto
