#include "crypto/base64.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace secretfs::crypto {
namespace {

// Both mappings compute with masks instead of looking up a table or branching, so that neither
// cache lines nor branch predictors learn what a secret's bytes are.

// All ones if a < b, else 0, for values of a few bits: the sign of the difference, spread.
constexpr int MaskIfLess(int a, int b) {
  return (a - b) >> 31;
}

// The alphabet's character for 0..63: each range starts somewhere else in ASCII than the one before
// it ends.
constexpr uint8_t Character(int value) {
  int character = value + 'A';
  character += MaskIfLess(25, value) & ('a' - 'A' - 26);
  character += MaskIfLess(51, value) & ('0' - 'a' - 26);
  character += MaskIfLess(61, value) & ('+' - '0' - 10);
  character += MaskIfLess(62, value) & ('/' - '+' - 1);
  return static_cast<uint8_t>(character);
}

constexpr int MaskIfBetween(int value, int first, int last) {
  return ~(MaskIfLess(value, first) | MaskIfLess(last, value));
}

// 0..63, or a negative number for a character outside the alphabet.
constexpr int Sextet(int c) {
  int value = -1;
  value += MaskIfBetween(c, 'A', 'Z') & (c - 'A' + 1);
  value += MaskIfBetween(c, 'a', 'z') & (c - 'a' + 26 + 1);
  value += MaskIfBetween(c, '0', '9') & (c - '0' + 52 + 1);
  value += MaskIfBetween(c, '+', '+') & (62 + 1);
  value += MaskIfBetween(c, '/', '/') & (63 + 1);
  return value;
}

// Four characters as 24 bits, or a negative number.
constexpr int Group(const uint8_t* text) {
  const int a = Sextet(text[0]);
  const int b = Sextet(text[1]);
  const int c = Sextet(text[2]);
  const int d = Sextet(text[3]);
  return (a * 64 * 64 * 64 + b * 64 * 64 + c * 64 + d) | (a | b | c | d) >> 31;
}

}  // namespace

SecretBuffer Base64Encode(ByteSpan bytes) {
  SecretBuffer text((bytes.size() + 2) / 3 * 4);
  uint8_t* out = text.Writable().data();
  size_t i = 0;
  for (; i + 3 <= bytes.size(); i += 3, out += 4) {
    const int group = bytes[i] << 16 | bytes[i + 1] << 8 | bytes[i + 2];
    out[0] = Character(group >> 18);
    out[1] = Character(group >> 12 & 63);
    out[2] = Character(group >> 6 & 63);
    out[3] = Character(group & 63);
  }
  const size_t left = bytes.size() - i;
  if (left > 0) {
    const int group = bytes[i] << 16 | (left == 2 ? bytes[i + 1] << 8 : 0);
    out[0] = Character(group >> 18);
    out[1] = Character(group >> 12 & 63);
    out[2] = left == 2 ? Character(group >> 6 & 63) : '=';
    out[3] = '=';
  }
  return text;
}

std::optional<SecretBuffer> Base64Decode(ByteSpan text) {
  if (text.size() % 4 != 0) return std::nullopt;
  if (text.empty()) return SecretBuffer();
  const size_t padding = text.back() != '=' ? 0 : text[text.size() - 2] != '=' ? 1 : 2;
  SecretBuffer bytes(text.size() / 4 * 3);
  uint8_t* out = bytes.Writable().data();

  int invalid = 0;
  size_t i = 0;
  for (; i + 4 < text.size(); i += 4, out += 3) {
    const int group = Group(&text[i]);
    invalid |= group;
    out[0] = static_cast<uint8_t>(group >> 16);
    out[1] = static_cast<uint8_t>(group >> 8);
    out[2] = static_cast<uint8_t>(group);
  }
  // In the last group 'A', whose bits are zero, takes the place of padding.
  std::array<uint8_t, 4> last{'A', 'A', 'A', 'A'};
  std::copy_n(&text[i], last.size() - padding, last.begin());
  const int group = Group(last.data());
  invalid |= group;
  out[0] = static_cast<uint8_t>(group >> 16);
  out[1] = static_cast<uint8_t>(group >> 8);
  out[2] = static_cast<uint8_t>(group);
  // Each value has one encoding: the bits that padding leaves over must be zero.
  const int left_over = group & ((1 << 8 * padding) - 1);
  if (invalid < 0 || left_over != 0) return std::nullopt;
  bytes.Truncate(bytes.size() - padding);
  return bytes;
}

}  // namespace secretfs::crypto
