// Opening and reading files.

#include <algorithm>

#include "fs/tree.h"
#include "store/secret_json.h"

namespace secretfs::fs {
namespace {

// How long a rendered `_status` stands for the file, so that stat(), open() and read() of one
// reader agree.
constexpr TimeMs kStatusKeptMs = 1000;

std::unexpected<Error> NoFile(uint64_t node) {
  return Fail(Code::kInvalidArgument, "node " + std::to_string(node) + " is no file");
}

FileBytes Part(crypto::SecretBuffer file, const ByteRange& range) {
  if (range.offset >= file.size()) return {};
  const size_t rest = file.size() - static_cast<size_t>(range.offset);
  return {std::move(file), {range.offset, std::min(range.size, rest)}};
}

FileBytes Part(std::string_view file, const ByteRange& range) {
  return Part(crypto::SecretBuffer::CopyOf(AsBytes(file)), range);
}

// FNV-1a, folded to the bits that a handle has for a version. Must not change between builds: a
// handle outlives the daemon that gave it.
uint64_t Fingerprint(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char byte : text) {
    hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001B3ULL;
  }
  return (hash ^ hash >> 34) & store::kSelectorIdMax;
}

uint64_t MetaHandle(std::string_view text) {
  return ValueHandle{Fingerprint(text), static_cast<uint32_t>(text.size())}.Encode();
}

}  // namespace

std::string Tree::MetaText(const store::Secret& secret) const {
  std::string text = store::DescribeSecretJson(secret, service_.realm(), true);
  if (!text.ends_with('\n')) text += '\n';
  return text;
}

std::string Tree::StatusText(bool may_be_older) {
  const TimeMs now = clock_.NowMs();
  {
    MutexLock lock(status_mutex_);
    const TimeMs age = now - status_rendered_at_;
    const bool fresh = may_be_older || (age >= 0 && age < kStatusKeptMs);
    if (!status_text_.empty() && fresh) return status_text_;
  }
  std::string text = options_.status ? options_.status() : std::string("{}\n");
  MutexLock lock(status_mutex_);
  status_text_ = text;
  status_rendered_at_ = now;
  return text;
}

Result<OpenFile> Tree::Open(const store::Caller& caller, uint64_t node) {
  const auto id = NodeId::Decode(node);
  if (!id) return Fail(Code::kStale, "node " + std::to_string(node) + " is unknown");
  if (id->IsDirectory()) return NoFile(node);
  if (id->kind == NodeKind::kStatus) return OpenFile{};

  TRY_ASSIGN(const auto located, Locate(*id));
  const store::Secret& secret = *located.secret;
  if (id->kind == NodeKind::kMeta) {
    TRY(service_.OpenMetadata(caller, secret, store::Action::kDescribeSecret));
    return OpenFile{.handle = MetaHandle(MetaText(secret))};
  }
  const store::Version& version = *located.version;
  TRY_ASSIGN(const uint32_t size, ValueSize(*id, version));
  if (id->member == Member::kVersionId) {
    TRY(service_.OpenMetadata(caller, secret, store::Action::kDescribeSecret));
  } else {
    const std::string_view stage = located.label ? std::string_view(located.label->name) : "";
    TRY(service_.OpenValue(caller, secret, version, stage));
  }
  memory_.recent_opens.Remember({caller.pid, node}, version.number);
  return OpenFile{ValueHandle{version.number, size}.Encode(), MovedLately(located, clock_.NowMs())};
}

Result<FileBytes> Tree::ReadMetadata(const store::Caller& caller, const NodeId& node,
                                     uint64_t handle, const ByteRange& range) const {
  TRY_ASSIGN(const auto located, LocateSecret(node));
  const store::Secret& secret = *located.secret;
  // Only a refusal is worth an event: the open was audited.
  if (!MaySee(caller, node, secret)) {
    TRY(service_.OpenMetadata(caller, secret, store::Action::kDescribeSecret));
  }
  if (node.member == Member::kVersionId) {
    const auto* version = secret.FindVersionByNumber(ValueHandle::Decode(handle).version);
    if (!version) return Fail(Code::kStale, "a version of " + secret.name + " is gone");
    return Part(version->id + '\n', range);
  }
  const std::string text = MetaText(secret);
  // One read from the start gets a whole new text; what goes on in the middle must not join two
  // texts.
  if (range.offset > 0 && range.offset < text.size() && MetaHandle(text) != handle) {
    return Fail(Code::kStale, "the metadata of " + secret.name + " changed while it was read");
  }
  return Part(text, range);
}

Result<FileBytes> Tree::Read(const store::Caller& caller, uint64_t node, uint64_t handle,
                             const ByteRange& range) {
  const auto id = NodeId::Decode(node);
  if (!id) return Fail(Code::kStale, "node " + std::to_string(node) + " is unknown");
  if (id->IsDirectory()) return NoFile(node);
  if (id->kind == NodeKind::kStatus) return Part(StatusText(true), range);
  const ValueHandle pinned = ValueHandle::Decode(handle);
  // Every reader asks once more at the end.
  if (range.offset > 0 && range.offset >= pinned.size_bytes) return FileBytes{};
  if (id->kind == NodeKind::kMeta || id->member == Member::kVersionId) {
    return ReadMetadata(caller, *id, handle, range);
  }
  if (pinned.size_bytes == 0) return FileBytes{};
  store::ValueFile file;
  if (id->member == Member::kKey) file.key = id->key;
  TRY_ASSIGN(auto bytes, service_.ReadValue(caller, pinned.version, file));
  return Part(std::move(bytes), range);
}

}  // namespace secretfs::fs
