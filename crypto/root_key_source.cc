#include <string_view>
#include <utility>

#include "crypto/root_key.h"

namespace secretfs::crypto {
namespace {

constexpr std::string_view kFilePrefix = "file:";
constexpr std::string_view kPassphraseText = "passphrase";
constexpr std::string_view kCredentialPrefix = "credential:";
constexpr size_t kSaltBytes = 16;
constexpr size_t kNameBytesMax = 255;   // NAME_MAX of limits.h.
constexpr size_t kPathBytesMax = 4095;  // PATH_MAX of limits.h, without the closing NUL.

// The first byte of an encoded source. Stored for ever: add, never renumber.
enum class Kind : uint8_t { kKeyFile = 1, kPassphrase = 2, kCredential = 3 };

bool IsAbsolutePath(std::string_view path) {
  return path.starts_with('/') && path.size() <= kPathBytesMax &&
         path.find('\0') == std::string_view::npos;
}

bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

struct Encoder {
  Bytes operator()(const KeyFileSource& source) const {
    ByteWriter out;
    out.U8(static_cast<uint8_t>(Kind::kKeyFile)).Sized(source.path);
    return out.Take();
  }
  Bytes operator()(const PassphraseSource& source) const {
    ByteWriter out;
    out.U8(static_cast<uint8_t>(Kind::kPassphrase))
        .U32(source.params.memory_kib)
        .U32(source.params.passes)
        .U32(source.params.lanes)
        .Sized(source.salt);
    return out.Take();
  }
  Bytes operator()(const CredentialSource& source) const {
    ByteWriter out;
    out.U8(static_cast<uint8_t>(Kind::kCredential)).Sized(source.name);
    return out.Take();
  }
};

struct Describer {
  std::string operator()(const KeyFileSource& source) const {
    return std::string(kFilePrefix) + source.path;
  }
  std::string operator()(const PassphraseSource&) const { return std::string(kPassphraseText); }
  std::string operator()(const CredentialSource& source) const {
    return std::string(kCredentialPrefix) + source.name;
  }
};

}  // namespace

Result<RootKeySource> ParseRootKeySource(std::string_view text, RandomSource& random) {
  if (text.starts_with(kFilePrefix)) {
    const std::string_view path = text.substr(kFilePrefix.size());
    if (IsAbsolutePath(path)) return KeyFileSource{std::string(path)};
    return Fail(Code::kInvalidArgument, "root key source \"" + std::string(text) +
                                            "\": the path after file: must be absolute");
  }
  if (text.starts_with(kCredentialPrefix)) {
    const std::string_view name = text.substr(kCredentialPrefix.size());
    if (IsPlainFileName(name)) return CredentialSource{std::string(name)};
    return Fail(Code::kInvalidArgument,
                "root key source \"" + std::string(text) +
                    "\": the name after credential: must be a plain file name");
  }
  if (text == kPassphraseText) {
    PassphraseSource source{{}, Bytes(kSaltBytes)};
    random.Fill(source.salt);
    return source;
  }
  return Fail(Code::kInvalidArgument, "root key source \"" + std::string(text) +
                                          "\" is none of file:PATH, passphrase, credential:NAME");
}

std::string DescribeRootKeySource(const RootKeySource& source) {
  return std::visit(Describer{}, source);
}

Bytes EncodeRootKeySource(const RootKeySource& source) {
  return std::visit(Encoder{}, source);
}

Result<RootKeySource> DecodeRootKeySource(ByteSpan encoded) {
  ByteReader in(encoded);
  switch (static_cast<Kind>(in.U8())) {
    case Kind::kKeyFile: {
      KeyFileSource source{in.SizedText()};
      if (in.Complete() && IsAbsolutePath(source.path)) return source;
      break;
    }
    case Kind::kPassphrase: {
      PassphraseSource source;
      source.params.memory_kib = in.U32();
      source.params.passes = in.U32();
      source.params.lanes = in.U32();
      const ByteSpan salt = in.Sized();
      source.salt.assign(salt.begin(), salt.end());
      if (in.Complete() && source.salt.size() == kSaltBytes) return source;
      break;
    }
    case Kind::kCredential: {
      CredentialSource source{in.SizedText()};
      if (in.Complete() && IsPlainFileName(source.name)) return source;
      break;
    }
  }
  return Fail(Code::kCorrupt, "root key source in the store's header is malformed");
}

}  // namespace secretfs::crypto
