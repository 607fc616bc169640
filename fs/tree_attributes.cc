// Attributes: what each caller sees of a node, and for how long the kernel may believe it.

#include <unistd.h>

#include "fs/tree.h"
#include "store/secret_json.h"

namespace secretfs::fs {
namespace {

constexpr blksize_t kPageBytes = 4096;
// Programs that read by buffers of st_blksize (Python's do; glibc's stdio goes up to 8 KiB) read
// such a file with one request, and so have it decrypted once, not once for each page of it.
constexpr blksize_t kLargeFileBlockBytes = store::kSecretValueBytesMax;

timespec ToTimespec(TimeMs at) {
  return {at / 1000, at % 1000 * 1'000'000};
}

struct stat DirectoryAttributes(uint64_t number, TimeMs at) {
  struct stat attributes{};
  attributes.st_ino = number;
  attributes.st_mode = S_IFDIR | 0555;
  attributes.st_nlink = 2;
  attributes.st_blksize = kPageBytes;
  attributes.st_mtim = ToTimespec(at);
  attributes.st_atim = attributes.st_mtim;
  attributes.st_ctim = attributes.st_mtim;
  return attributes;
}

// Of a file that the caller may not read.
struct stat BlankAttributes(uint64_t number) {
  struct stat attributes{};
  attributes.st_ino = number;
  attributes.st_mode = S_IFREG;
  attributes.st_nlink = 1;
  attributes.st_blksize = kPageBytes;
  return attributes;
}

void SetSize(struct stat& attributes, uint64_t size) {
  attributes.st_size = static_cast<off_t>(size);
  attributes.st_blocks = static_cast<blkcnt_t>((size + 511) / 512);
}

}  // namespace

Entry Tree::DirectoryEntry(const NodeId& node) const {
  const uint64_t number = node.Encode();
  Entry entry{number, DirectoryAttributes(number, directory_time_),
              options_.directory_entry_seconds, options_.attribute_seconds};
  // Paths, labels, versions and values come and go. A name that outlives its directory in the
  // kernel does no harm as long as every stat() of it asks: the answer kStale makes the kernel look
  // the name up again. So the walk through them stays free, and none is ever seen that is not
  // there.
  if (node.kind != NodeKind::kRoot && node.kind != NodeKind::kViews) entry.attribute_seconds = 0;
  return entry;
}

Entry Tree::StatusEntry() {
  const uint64_t number = NodeId{.kind = NodeKind::kStatus}.Encode();
  Entry entry{.node = number, .attributes = DirectoryAttributes(number, clock_.NowMs())};
  entry.attributes.st_mode = S_IFREG | 0444;
  entry.attributes.st_nlink = 1;
  SetSize(entry.attributes, StatusText(false).size());
  return entry;
}

Entry Tree::FileEntry(const store::Caller& caller, const NodeId& node, const FileFacts* facts,
                      const Caching& caching) {
  const uint64_t number = node.Encode();
  Entry entry{.node = number, .attributes = BlankAttributes(number)};
  if (facts != nullptr) {
    struct stat& attributes = entry.attributes;
    attributes.st_mode = S_IFREG | 0400;
    attributes.st_uid = caller.principal.uid;
    attributes.st_gid = caller.principal.gid;
    if (facts->size > kPageBytes) attributes.st_blksize = kLargeFileBlockBytes;
    SetSize(attributes, facts->size);
    attributes.st_mtim = ToTimespec(facts->modified_at);
    attributes.st_atim = attributes.st_mtim;
    attributes.st_ctim = ToTimespec(facts->changed_at);
  }
  // What secretfs itself asks, to raise events, says nothing of who reads.
  if (caller.door == store::Door::kInternal) return entry;
  const SoleAskers::Question question{number, caller.principal.uid};
  if (memory_.sole_askers.AsksAlone(question, caching.now / 1000) && caching.allowed) {
    entry.attribute_seconds = options_.attribute_seconds;
  }
  return entry;
}

Tree::FileFacts Tree::TripleFacts(const Located& located, uint64_t size) const {
  const TimeMs created_at = located.version->created_at;
  return {size, created_at, located.label ? located.label->moved_at : created_at};
}

bool Tree::MaySee(const store::Caller& caller, const NodeId& node,
                  const store::Secret& secret) const {
  const bool is_metadata = node.kind == NodeKind::kMeta || node.member == Member::kVersionId;
  return service_.May(caller.principal,
                      is_metadata ? store::Action::kDescribeSecret : store::Action::kGetSecretValue,
                      secret);
}

bool Tree::MovedLately(const Located& located, TimeMs now) const {
  return located.label && now - located.label->moved_at < settle_ms_;
}

Result<Entry> Tree::TripleFileEntry(const store::Caller& caller, const NodeId& node,
                                    const Located& located) {
  TRY_ASSIGN(const uint32_t size, ValueSize(node, *located.version));
  const TimeMs now = clock_.NowMs();
  const Caching caching{!MovedLately(located, now), now};
  if (!MaySee(caller, node, *located.secret)) return FileEntry(caller, node, nullptr, caching);
  const FileFacts facts = TripleFacts(located, size);
  return FileEntry(caller, node, &facts, caching);
}

Entry Tree::MetaEntry(const store::Caller& caller, const NodeId& node, const Located& located) {
  const store::Secret& secret = *located.secret;
  // Any change of the secret changes the text, so its size is never cached.
  const Caching caching{false, clock_.NowMs()};
  if (!MaySee(caller, node, secret)) return FileEntry(caller, node, nullptr, caching);
  const FileFacts facts{MetaText(secret).size(), secret.changed_at, secret.changed_at};
  return FileEntry(caller, node, &facts, caching);
}

Result<Entry> Tree::GetAttributes(const store::Caller& caller, uint64_t node,
                                  std::optional<uint64_t> handle) {
  const auto id = NodeId::Decode(node);
  if (!id) return Fail(Code::kStale, "node " + std::to_string(node) + " is unknown");
  switch (id->kind) {
    case NodeKind::kStatus:
      return StatusEntry();
    case NodeKind::kRoot:
    case NodeKind::kViews:
      return DirectoryEntry(*id);
    case NodeKind::kPath:
      TRY(CheckPathExists(id->id));
      return DirectoryEntry(*id);
    case NodeKind::kMeta:
    case NodeKind::kLabels:
    case NodeKind::kVersions:
    case NodeKind::kTripleFirst:
      break;
  }
  if (id->IsDirectory()) {
    TRY(Locate(*id));
    return DirectoryEntry(*id);
  }
  TRY_ASSIGN(auto located, LocateSecret(*id));
  if (id->kind == NodeKind::kMeta) return MetaEntry(caller, *id, located);

  auto pinned = memory_.recent_opens.Find({caller.pid, node});
  if (handle) pinned = ValueHandle::Decode(*handle).version;
  const store::Version* current = located.version;
  // A number that is not this secret's is a false match, and a version that was destroyed shows
  // nothing.
  const auto* opened = pinned ? located.secret->FindVersionByNumber(*pinned) : nullptr;
  if (opened) located.version = opened;
  if (located.version == nullptr) {
    return Fail(Code::kStale, "node " + std::to_string(node) + " is gone");
  }
  TRY_ASSIGN(auto entry, TripleFileEntry(caller, *id, located));
  // What the opener sees is not what the next one will.
  if (located.version != current) entry.attribute_seconds = 0;
  return entry;
}

Status Tree::CheckAccess(const store::Caller& caller, uint64_t node, int mask) {
  const auto id = NodeId::Decode(node);
  if (!id) return Fail(Code::kStale, "node " + std::to_string(node) + " is unknown");
  if (id->kind == NodeKind::kPath) return CheckPathExists(id->id);
  if (id->kind == NodeKind::kRoot || id->kind == NodeKind::kViews) return {};
  if (!id->IsDirectory() && (mask & X_OK) != 0) {
    return Fail(Code::kPermissionDenied, "files of a secret are not programs");
  }
  if (id->kind == NodeKind::kStatus) return {};
  TRY_ASSIGN(const auto located, Locate(*id));
  if (id->IsDirectory() || (mask & R_OK) == 0 || MaySee(caller, *id, *located.secret)) return {};
  return Fail(Code::kPermissionDenied, "not allowed to read " + located.secret->name);
}

}  // namespace secretfs::fs
