#include "store/json_object.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "crypto/base/check.h"
#include "store/secret_name.h"

namespace secretfs::store {
namespace {

bool IsSpace(uint8_t c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
bool IsDigit(uint8_t c) {
  return c >= '0' && c <= '9';
}

std::optional<uint32_t> HexDigit(uint8_t c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

// Calls `emit(bytes)` with the UTF-8 encoding of a code point.
template <typename Emit>
void EmitUtf8(uint32_t point, const Emit& emit) {
  std::array<uint8_t, 4> out{};
  size_t size = 0;
  if (point < 0x80) {
    out[size++] = static_cast<uint8_t>(point);
  } else if (point < 0x800) {
    out[size++] = static_cast<uint8_t>(0xC0 | point >> 6);
    out[size++] = static_cast<uint8_t>(0x80 | (point & 63));
  } else if (point < 0x10000) {
    out[size++] = static_cast<uint8_t>(0xE0 | point >> 12);
    out[size++] = static_cast<uint8_t>(0x80 | (point >> 6 & 63));
    out[size++] = static_cast<uint8_t>(0x80 | (point & 63));
  } else {
    out[size++] = static_cast<uint8_t>(0xF0 | point >> 18);
    out[size++] = static_cast<uint8_t>(0x80 | (point >> 12 & 63));
    out[size++] = static_cast<uint8_t>(0x80 | (point >> 6 & 63));
    out[size++] = static_cast<uint8_t>(0x80 | (point & 63));
  }
  emit(ByteSpan(out.data(), size));
}

// A recursive-descent reader of RFC 8259 over one text. Every method returns false, for good, on
// the first byte that does not belong.
class Scanner {
 public:
  explicit Scanner(ByteSpan text) : text_(text) {}

  size_t position() const { return position_; }
  void SkipSpace() {
    while (position_ < text_.size() && IsSpace(text_[position_])) ++position_;
  }
  bool AtEnd() const { return position_ == text_.size(); }
  bool Take(uint8_t c) {
    if (Peek() != c || AtEnd()) return false;
    ++position_;
    return true;
  }

  // A string with its quotes; `emit` gets its unescaped content piece by piece.
  template <typename Emit>
  bool String(const Emit& emit) {
    if (!Take('"')) return false;
    size_t plain = position_;
    auto flush = [&] {
      if (plain < position_) emit(text_.subspan(plain, position_ - plain));
    };
    for (;;) {
      if (AtEnd() || text_[position_] < 0x20) return false;
      uint8_t c = text_[position_];
      if (c != '"' && c != '\\') {
        ++position_;
        continue;
      }
      flush();
      ++position_;
      if (c == '"') return true;
      if (!Escape(emit)) return false;
      plain = position_;
    }
  }

  bool Value(int depth) {
    if (depth > kJsonDepthMax) return false;
    switch (Peek()) {
      case '"':
        return String([](ByteSpan) {});
      case '{':
        return Container('}', depth, /*keyed=*/true);
      case '[':
        return Container(']', depth, /*keyed=*/false);
      case 't':
        return Word("true");
      case 'f':
        return Word("false");
      case 'n':
        return Word("null");
      default:
        return Number();
    }
  }

 private:
  uint8_t Peek() const { return AtEnd() ? 0 : text_[position_]; }

  bool Word(std::string_view word) {
    if (!AsText(text_.subspan(position_)).starts_with(word)) return false;
    position_ += word.size();
    return true;
  }

  bool Digits() {
    size_t start = position_;
    while (IsDigit(Peek())) ++position_;
    return position_ > start;
  }

  bool Number() {
    Take('-');
    if (!Take('0') && !Digits()) return false;
    if (Take('.') && !Digits()) return false;
    if (Peek() == 'e' || Peek() == 'E') {
      ++position_;
      if (!Take('+')) Take('-');
      return Digits();
    }
    return true;
  }

  bool Container(uint8_t close, int depth, bool keyed) {
    ++position_;
    SkipSpace();
    if (Take(close)) return true;
    for (;;) {
      SkipSpace();
      if (keyed) {
        if (!String([](ByteSpan) {})) return false;
        SkipSpace();
        if (!Take(':')) return false;
        SkipSpace();
      }
      if (!Value(depth + 1)) return false;
      SkipSpace();
      if (Take(close)) return true;
      if (!Take(',')) return false;
    }
  }

  std::optional<uint32_t> FourHexDigits() {
    uint32_t unit = 0;
    for (int i = 0; i < 4; ++i) {
      auto digit = HexDigit(Peek());
      if (!digit) return std::nullopt;
      unit = unit << 4 | *digit;
      ++position_;
    }
    return unit;
  }

  // What follows a backslash.
  template <typename Emit>
  bool Escape(const Emit& emit) {
    static constexpr std::string_view kNames = "\"\\/bfnrt";
    static constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    if (Take('u')) {
      auto unit = FourHexDigits();
      if (!unit) return false;
      uint32_t point = *unit;
      if (point >= 0xDC00 && point <= 0xDFFF) return false;
      if (point >= 0xD800 && point <= 0xDBFF) {
        if (!Take('\\') || !Take('u')) return false;
        auto low = FourHexDigits();
        if (!low || *low < 0xDC00 || *low > 0xDFFF) return false;
        point = 0x10000 + ((point - 0xD800) << 10) + (*low - 0xDC00);
      }
      EmitUtf8(point, emit);
      return true;
    }
    size_t index = AtEnd() ? std::string_view::npos : kNames.find(static_cast<char>(Peek()));
    if (index == std::string_view::npos) return false;
    ++position_;
    emit(AsBytes(kMeanings.substr(index, 1)));
    return true;
  }

  ByteSpan text_;
  size_t position_ = 0;
};

}  // namespace

std::optional<std::vector<JsonMember>> ScanJsonObject(ByteSpan text) {
  if (!IsValidUtf8(AsText(text))) return std::nullopt;
  Scanner scanner(text);
  std::vector<JsonMember> members;
  std::unordered_map<std::string, size_t> positions;
  scanner.SkipSpace();
  if (!scanner.Take('{')) return std::nullopt;
  scanner.SkipSpace();
  if (!scanner.Take('}')) {
    for (;;) {
      JsonMember member;
      scanner.SkipSpace();
      if (!scanner.String([&](ByteSpan piece) { member.key.append(AsText(piece)); })) {
        return std::nullopt;
      }
      scanner.SkipSpace();
      if (!scanner.Take(':')) return std::nullopt;
      scanner.SkipSpace();
      member.begin = scanner.position();
      if (!scanner.Value(1)) return std::nullopt;
      member.end = scanner.position();
      auto [known, is_new] = positions.try_emplace(member.key, members.size());
      if (is_new) {
        members.push_back(std::move(member));
      } else {
        members[known->second] = std::move(member);
      }
      scanner.SkipSpace();
      if (scanner.Take('}')) break;
      if (!scanner.Take(',')) return std::nullopt;
    }
  }
  scanner.SkipSpace();
  if (!scanner.AtEnd()) return std::nullopt;
  return members;
}

crypto::SecretBuffer JsonMemberContent(ByteSpan text, const JsonMember& member) {
  ByteSpan value = text.subspan(member.begin, member.end - member.begin);
  // The content is never longer than its text, so one allocation serves.
  crypto::SecretBuffer content(value.size());
  size_t size = 0;
  auto emit = [&](ByteSpan piece) {
    std::ranges::copy(piece, content.Writable().begin() + static_cast<ptrdiff_t>(size));
    size += piece.size();
  };
  if (value.front() == '"') {
    Scanner scanner(value);
    CHECK(scanner.String(emit));
  } else {
    bool in_string = false;
    for (size_t i = 0; i < value.size(); ++i) {
      if (!in_string && IsSpace(value[i])) continue;
      if (value[i] == '"') in_string = !in_string;
      if (in_string && value[i] == '\\') emit(value.subspan(i++, 1));
      emit(value.subspan(i, 1));
    }
  }
  content.Truncate(size);
  return content;
}

void AppendJsonString(ByteSpan bytes, crypto::SecretBuffer& out) {
  static constexpr char kHex[] = "0123456789abcdef";
  out.Append(AsBytes("\""));
  size_t plain = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    uint8_t c = bytes[i];
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.Append(bytes.subspan(plain, i - plain));
    plain = i + 1;
    if (c == '"' || c == '\\') {
      std::array<uint8_t, 2> escaped{'\\', c};
      out.Append(escaped);
    } else {
      std::array<uint8_t, 6> escaped{'\\',
                                     'u',
                                     '0',
                                     '0',
                                     static_cast<uint8_t>(kHex[c >> 4]),
                                     static_cast<uint8_t>(kHex[c & 15])};
      out.Append(escaped);
    }
  }
  out.Append(bytes.subspan(plain));
  out.Append(AsBytes("\""));
}

}  // namespace secretfs::store
