#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace secretfs {

using Bytes = std::vector<uint8_t>;
using ByteSpan = std::span<const uint8_t>;

inline ByteSpan AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view AsText(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Lower-case hexadecimal, two digits a byte. For identifiers and digests, never for key material.
std::string ToHex(ByteSpan bytes);

// The bytes of an even number of hexadecimal digits of either case, else nullopt.
std::optional<Bytes> FromHex(std::string_view hex);

// Appends fixed-width big-endian integers and length-prefixed byte strings: the encoding of every
// record and every associated data in secretfs. Injective: two different sequences of calls never
// give the same bytes.
class ByteWriter {
 public:
  ByteWriter() = default;
  // Allocates `expected_bytes` at once instead of growing into them.
  explicit ByteWriter(size_t expected_bytes) { bytes_.reserve(expected_bytes); }

  ByteWriter& U8(uint8_t value);
  ByteWriter& U16(uint16_t value);
  ByteWriter& U32(uint32_t value);
  ByteWriter& U64(uint64_t value);
  // The bytes alone; the reader must know their number.
  ByteWriter& Raw(ByteSpan bytes);
  // U32 length, then the bytes.
  ByteWriter& Sized(ByteSpan bytes);
  ByteWriter& Sized(std::string_view text) { return Sized(AsBytes(text)); }

  const Bytes& bytes() const { return bytes_; }
  Bytes Take() { return std::move(bytes_); }

 private:
  Bytes bytes_;
};

// Reads what ByteWriter wrote. The first read past the end makes the reader fail for good: later
// reads give zeros and empty spans, so a decoder checks Complete() once, at its end.
class ByteReader {
 public:
  // `bytes` must outlive the reader and the spans it returns.
  explicit ByteReader(ByteSpan bytes) : rest_(bytes) {}

  uint8_t U8();
  uint16_t U16();
  uint32_t U32();
  uint64_t U64();
  ByteSpan Raw(size_t size);
  ByteSpan Sized();
  std::string SizedText() { return std::string(AsText(Sized())); }

  bool failed() const { return failed_; }
  size_t remaining() const { return rest_.size(); }
  // True if no read failed and nothing is left over.
  bool Complete() const { return !failed_ && rest_.empty(); }

 private:
  ByteSpan rest_;
  bool failed_ = false;
};

}  // namespace secretfs
