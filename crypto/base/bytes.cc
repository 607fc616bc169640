#include "crypto/base/bytes.h"

#include <array>

#include "crypto/base/check.h"

namespace secretfs {
namespace {

template <typename T>
void AppendBigEndian(Bytes& out, T value) {
  std::array<uint8_t, sizeof(T)> bytes;
  for (size_t i = sizeof(T); i-- > 0; value = static_cast<T>(value >> 8)) {
    bytes[i] = static_cast<uint8_t>(value);
  }
  out.insert(out.end(), bytes.begin(), bytes.end());
}

template <typename T>
T LoadBigEndian(ByteSpan bytes) {
  T value = 0;
  for (uint8_t byte : bytes) value = static_cast<T>(value << 8 | byte);
  return value;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string ToHex(ByteSpan bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (uint8_t byte : bytes) {
    hex.push_back(kDigits[byte >> 4]);
    hex.push_back(kDigits[byte & 15]);
  }
  return hex;
}

std::optional<Bytes> FromHex(std::string_view hex) {
  if (hex.size() % 2 != 0) return std::nullopt;
  Bytes bytes;
  bytes.reserve(hex.size() / 2);
  for (size_t i = 0; i < hex.size(); i += 2) {
    int high = HexDigit(hex[i]);
    int low = HexDigit(hex[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<uint8_t>(high << 4 | low));
  }
  return bytes;
}

ByteWriter& ByteWriter::U8(uint8_t value) {
  bytes_.push_back(value);
  return *this;
}
ByteWriter& ByteWriter::U16(uint16_t value) {
  AppendBigEndian(bytes_, value);
  return *this;
}
ByteWriter& ByteWriter::U32(uint32_t value) {
  AppendBigEndian(bytes_, value);
  return *this;
}
ByteWriter& ByteWriter::U64(uint64_t value) {
  AppendBigEndian(bytes_, value);
  return *this;
}
ByteWriter& ByteWriter::Raw(ByteSpan bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  return *this;
}
ByteWriter& ByteWriter::Sized(ByteSpan bytes) {
  CHECK(bytes.size() <= UINT32_MAX);
  U32(static_cast<uint32_t>(bytes.size()));
  return Raw(bytes);
}

ByteSpan ByteReader::Raw(size_t size) {
  if (failed_ || size > rest_.size()) {
    failed_ = true;
    return {};
  }
  ByteSpan head = rest_.first(size);
  rest_ = rest_.subspan(size);
  return head;
}
uint8_t ByteReader::U8() {
  return LoadBigEndian<uint8_t>(Raw(1));
}
uint16_t ByteReader::U16() {
  return LoadBigEndian<uint16_t>(Raw(2));
}
uint32_t ByteReader::U32() {
  return LoadBigEndian<uint32_t>(Raw(4));
}
uint64_t ByteReader::U64() {
  return LoadBigEndian<uint64_t>(Raw(8));
}
ByteSpan ByteReader::Sized() {
  return Raw(U32());
}

}  // namespace secretfs
