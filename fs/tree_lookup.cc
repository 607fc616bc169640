// From a name in a directory to a node.

#include "fs/tree.h"
#include "store/secret_name.h"

namespace secretfs::fs {
namespace {

std::unexpected<Error> NoSuchName(std::string_view name) {
  return Fail(Code::kNotFound, "no file \"" + std::string(name) + "\"");
}

}  // namespace

Result<Entry> Tree::Lookup(const store::Caller& caller, uint64_t parent, std::string_view name) {
  auto entry = Find(caller, parent, name);
  if (entry && S_ISREG(entry->attributes.st_mode))
    memory_.recent_opens.Forget({caller.pid, entry->node});
  return entry;
}

Result<Entry> Tree::Find(const store::Caller& caller, uint64_t parent, std::string_view name) {
  const auto directory = NodeId::Decode(parent);
  if (!directory) return Fail(Code::kStale, "node " + std::to_string(parent) + " is unknown");
  if (name.size() > kFileNameBytesMax) return NoSuchName(name);
  switch (directory->kind) {
    case NodeKind::kRoot:
      if (name == "_status") return StatusEntry();
      if (name == "_views") return DirectoryEntry({.kind = NodeKind::kViews});
      return LookupPath(caller, store::kRootPath, name);
    case NodeKind::kPath:
      return LookupPath(caller, directory->id, name);
    case NodeKind::kLabels:
      return LookupLabel(directory->id, name);
    case NodeKind::kVersions:
      return LookupVersion(directory->id, name);
    case NodeKind::kTripleFirst:
      if (directory->member == Member::kDirectory) return LookupMember(caller, *directory, name);
      if (directory->member == Member::kKeys) return LookupKey(caller, *directory, name);
      break;
    case NodeKind::kStatus:
    case NodeKind::kViews:
    case NodeKind::kMeta:
      break;
  }
  return NoSuchName(name);
}

Result<Entry> Tree::LookupPath(const store::Caller& caller, store::PathId parent,
                               std::string_view name) {
  if (name.starts_with('_')) {
    if (parent == store::kRootPath) return NoSuchName(name);
    return LookupOwn(caller, parent, name);
  }
  if (const auto component = store::UnescapeNameComponent(name)) {
    TRY_ASSIGN(const auto child, service_.PeekChild(parent, *component));
    if (child) return DirectoryEntry(NodeId::OfPath(NodeKind::kPath, *child));
  }
  if (parent != store::kRootPath) TRY(CheckPathExists(parent));
  return NoSuchName(name);
}

// Names that begin with "_" in a path's directory.
Result<Entry> Tree::LookupOwn(const store::Caller& caller, store::PathId path,
                              std::string_view name) {
  const NodeId meta = NodeId::OfPath(NodeKind::kMeta, path);
  const auto located = LocateSecret(meta);
  if (!located) {
    if (located.error().code != Code::kStale) return std::unexpected(located.error());
    TRY(CheckPathExists(path));
    return NoSuchName(name);
  }
  if (name == "_meta") return MetaEntry(caller, meta, *located);
  if (name == "_labels") return DirectoryEntry(NodeId::OfPath(NodeKind::kLabels, path));
  if (name == "_versions") return DirectoryEntry(NodeId::OfPath(NodeKind::kVersions, path));
  if (located->version == nullptr) return NoSuchName(name);
  if (name == "_value") {
    return TripleFileEntry(caller, NodeId::OfTriple(Place::kSecret, Member::kValue, path),
                           *located);
  }
  if (name == "_version") {
    return TripleFileEntry(caller, NodeId::OfTriple(Place::kSecret, Member::kVersionId, path),
                           *located);
  }
  if (name == "_keys" && located->version->has_keys) {
    return DirectoryEntry(NodeId::OfTriple(Place::kSecret, Member::kKeys, path));
  }
  return NoSuchName(name);
}

Result<Entry> Tree::LookupLabel(store::PathId path, std::string_view name) {
  TRY_ASSIGN(const auto located, LocateSecret(NodeId::OfPath(NodeKind::kLabels, path)));
  const auto text = store::UnescapeFreeText(name);
  const store::Label* label = text ? located.secret->FindLabel(*text) : nullptr;
  if (label == nullptr) return NoSuchName(name);
  return DirectoryEntry(LabelDirectory(*label, path));
}

Result<Entry> Tree::LookupVersion(store::PathId path, std::string_view name) {
  TRY_ASSIGN(const auto located, LocateSecret(NodeId::OfPath(NodeKind::kVersions, path)));
  const store::Version* version = located.secret->FindVersionById(name);
  if (version == nullptr) return NoSuchName(name);
  return DirectoryEntry(NodeId::OfTriple(Place::kVersion, Member::kDirectory, version->number));
}

Result<Entry> Tree::LookupMember(const store::Caller& caller, const NodeId& directory,
                                 std::string_view name) {
  TRY_ASSIGN(const auto located, Locate(directory));
  NodeId member = directory;
  if (name == "_value" || name == "_version") {
    member.member = name == "_value" ? Member::kValue : Member::kVersionId;
    return TripleFileEntry(caller, member, located);
  }
  if (name == "_keys" && located.version->has_keys) {
    member.member = Member::kKeys;
    return DirectoryEntry(member);
  }
  return NoSuchName(name);
}

Result<Entry> Tree::LookupKey(const store::Caller& caller, const NodeId& directory,
                              std::string_view name) {
  TRY_ASSIGN(const auto located, Locate(directory));
  const auto key = store::UnescapeFreeText(name);
  if (!key) return NoSuchName(name);
  TRY_ASSIGN(const auto slot, service_.PeekKeySlot(*key));
  if (!slot) return NoSuchName(name);
  NodeId file = directory;
  file.member = Member::kKey;
  file.key = *slot;
  auto entry = TripleFileEntry(caller, file, located);
  // Another secret has the key, this version has not.
  if (!entry && entry.error().code == Code::kStale) return NoSuchName(name);
  return entry;
}

}  // namespace secretfs::fs
