// What a node number stands for at this moment.

#include "fs/tree.h"

namespace secretfs::fs {
namespace {

std::unexpected<Error> Gone(const NodeId& node) {
  return Fail(Code::kStale, "node " + std::to_string(node.Encode()) + " is gone");
}

// Which label a place shows; for a custom label, its name is looked up.
std::string_view LabelOf(Place place) {
  switch (place) {
    case Place::kSecret:
    case Place::kCurrent:
      return store::kCurrent;
    case Place::kPrevious:
      return store::kPrevious;
    case Place::kPending:
      return store::kPending;
    case Place::kCustomLabel:
    case Place::kVersion:
      break;
  }
  return {};
}

}  // namespace

Tree::Tree(store::SecretService& service, CallerMemory& memory, const Clock& clock, Options options)
    : service_(service),
      memory_(memory),
      clock_(clock),
      options_(std::move(options)),
      directory_time_(service.header().created_at),
      settle_ms_(static_cast<TimeMs>(options_.attribute_seconds * 2000)) {}

Result<Tree::Located> Tree::LocateSecret(const NodeId& node) const {
  Located located;
  std::optional<store::PathId> path = node.id;
  std::string custom_label;
  if (node.kind == NodeKind::kTripleFirst && node.place == Place::kVersion) {
    TRY_ASSIGN(path, service_.PeekVersionPath(node.id));
  } else if (node.kind == NodeKind::kTripleFirst && node.place == Place::kCustomLabel) {
    TRY_ASSIGN(auto label, service_.PeekLabel(node.id));
    path = label ? std::optional(label->path) : std::nullopt;
    if (label) custom_label = std::move(label->text);
  }
  if (!path) return Gone(node);
  TRY_ASSIGN(located.secret, service_.PeekSecret(*path));
  if (located.secret == nullptr) return Gone(node);

  const store::Secret& secret = *located.secret;
  if (node.kind != NodeKind::kTripleFirst) {
    located.label = secret.FindLabel(store::kCurrent);
  } else if (node.place == Place::kVersion) {
    located.version = secret.FindVersionByNumber(node.id);
    return located;
  } else if (node.place == Place::kCustomLabel) {
    located.label = secret.FindLabel(custom_label);
    // A label that went and came back has another selector.
    if (located.label && located.label->selector != node.id) located.label = nullptr;
  } else {
    located.label = secret.FindLabel(LabelOf(node.place));
  }
  if (located.label) located.version = secret.FindVersionByNumber(located.label->version);
  return located;
}

Result<Tree::Located> Tree::Locate(const NodeId& node) const {
  TRY_ASSIGN(auto located, LocateSecret(node));
  if (node.kind == NodeKind::kTripleFirst) {
    if (located.version == nullptr) return Gone(node);
    if (node.member == Member::kKeys && !located.version->has_keys) return Gone(node);
  }
  return located;
}

Result<uint32_t> Tree::ValueSize(const NodeId& node, const store::Version& version) const {
  if (node.member == Member::kVersionId) return static_cast<uint32_t>(version.id.size() + 1);
  if (node.member == Member::kValue) return version.size_bytes;
  TRY_ASSIGN(const auto size, service_.PeekKeySize(version.number, node.key));
  if (!size) return Gone(node);
  return *size;
}

NodeId Tree::LabelDirectory(const store::Label& label, store::PathId path) {
  for (const Place place : {Place::kCurrent, Place::kPrevious, Place::kPending}) {
    if (label.name == LabelOf(place)) return NodeId::OfTriple(place, Member::kDirectory, path);
  }
  return NodeId::OfTriple(Place::kCustomLabel, Member::kDirectory, label.selector);
}

Status Tree::CheckPathExists(store::PathId path) const {
  TRY_ASSIGN(const bool exists, service_.PeekPathExists(path));
  if (!exists) return Fail(Code::kStale, "path " + std::to_string(path) + " is gone");
  return {};
}

}  // namespace secretfs::fs
