// Which files a commit changed.

#include "fs/tree.h"
#include "store/secret_name.h"

namespace secretfs::fs {
namespace {

std::string PathOf(const store::Secret& secret) {
  std::string path;
  const auto name = store::SecretName::Parse(secret.name);
  if (!name) return path;
  for (const std::string_view component : name->Components()) {
    if (!path.empty()) path += '/';
    path += store::EscapeNameComponent(component);
  }
  return path;
}

}  // namespace

// The triple that `directory` (a place's directory, or a path's) shows.
Status Tree::AddShownTriple(const NodeId& directory, const std::string& path,
                            const store::Version& version, std::vector<ShownFile>& files) const {
  const auto node = [&](Member member, store::KeySlot key) {
    NodeId id = NodeId::OfTriple(directory.place, member, directory.id);
    id.key = key;
    return id.Encode();
  };
  const uint64_t parent = directory.Encode();
  files.push_back({node(Member::kValue, 0), parent, path + "/_value"});
  files.push_back({node(Member::kVersionId, 0), parent, path + "/_version"});
  if (!version.has_keys) return {};
  TRY_ASSIGN(const auto keys, service_.ListKeys(version.number));
  for (const auto& key : keys) {
    const std::string name = store::EscapeFreeText(key.key);
    if (name.size() > kFileNameBytesMax) continue;
    files.push_back(
        {node(Member::kKey, key.slot), node(Member::kKeys, 0), path + "/_keys/" + name});
  }
  return {};
}

bool Tree::IsOutdated(uint64_t node, uint64_t handle) const {
  const auto id = NodeId::Decode(node);
  if (!id || id->kind != NodeKind::kTripleFirst || id->IsDirectory()) return false;
  const auto located = Locate(*id);
  return !located || located->version->number != ValueHandle::Decode(handle).version;
}

Result<std::vector<ShownFile>> Tree::FilesChangedBy(const store::Change& change) const {
  std::vector<ShownFile> files;
  TRY_ASSIGN(const store::SecretPtr secret, service_.PeekSecret(change.path));
  // Destroyed, or out of sight for its recovery window: its names are gone, and with them whatever
  // could be told.
  if (secret == nullptr) return files;
  const std::string path = PathOf(*secret);
  if (path.empty()) return files;
  const NodeId directory = NodeId::OfPath(NodeKind::kPath, change.path);
  files.push_back(
      {NodeId::OfPath(NodeKind::kMeta, change.path).Encode(), directory.Encode(), path + "/_meta"});
  if (change.kind == store::ChangeKind::kMetadata) return files;
  for (const store::Label& label : secret->labels) {
    const store::Version* version = secret->FindVersionByNumber(label.version);
    const bool shows_other =
        change.kind == store::ChangeKind::kKeyState || label.moved_at >= change.at;
    if (!shows_other || version == nullptr) continue;
    TRY(AddShownTriple(LabelDirectory(label, change.path),
                       path + "/_labels/" + store::EscapeFreeText(label.name), *version, files));
    if (label.name == store::kCurrent) TRY(AddShownTriple(directory, path, *version, files));
  }
  return files;
}

}  // namespace secretfs::fs
