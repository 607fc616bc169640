#include "fs/node_id.h"

#include "crypto/base/check.h"

namespace secretfs::fs {
namespace {

constexpr uint64_t kRootNumber = 1;
constexpr unsigned kKindShift = 58;
constexpr unsigned kIdShift = 24;
constexpr uint64_t kTripleFirst = static_cast<uint64_t>(NodeKind::kTripleFirst);
constexpr uint64_t kMembers = 5;
constexpr uint64_t kPlaces = 6;

static_assert(store::kPathIdMax >> (kKindShift - kIdShift) == 0);
static_assert(store::kSelectorIdMax >> (kKindShift - kIdShift) == 0);
static_assert(uint64_t{store::kKeySlotMax} >> kIdShift == 0);
static_assert(kTripleFirst + kPlaces * kMembers <= uint64_t{1} << (64 - kKindShift));

bool IdFits(const NodeId& node) {
  switch (node.kind) {
    case NodeKind::kRoot:
    case NodeKind::kStatus:
    case NodeKind::kViews:
      return node.id == 0;
    case NodeKind::kPath:
    case NodeKind::kMeta:
    case NodeKind::kLabels:
    case NodeKind::kVersions:
      // The root path is shown by the mount's root and is no secret.
      return node.id > store::kRootPath && node.id <= store::kPathIdMax;
    case NodeKind::kTripleFirst:
      break;
  }
  if (node.place == Place::kCustomLabel || node.place == Place::kVersion) {
    return node.id > 0 && node.id <= store::kSelectorIdMax;
  }
  return node.id > store::kRootPath && node.id <= store::kPathIdMax;
}

bool IsCanonical(const NodeId& node) {
  const bool triple = node.kind == NodeKind::kTripleFirst;
  if (!triple && (node.place != Place{} || node.member != Member{})) return false;
  if (triple && node.place == Place::kSecret && node.member == Member::kDirectory) return false;
  const bool has_key = triple && node.member == Member::kKey;
  return (node.key != 0) == has_key && node.key <= store::kKeySlotMax && IdFits(node);
}

}  // namespace

bool NodeId::IsDirectory() const {
  switch (kind) {
    case NodeKind::kRoot:
    case NodeKind::kViews:
    case NodeKind::kPath:
    case NodeKind::kLabels:
    case NodeKind::kVersions:
      return true;
    case NodeKind::kStatus:
    case NodeKind::kMeta:
      return false;
    case NodeKind::kTripleFirst:
      break;
  }
  return member == Member::kDirectory || member == Member::kKeys;
}

uint64_t NodeId::Encode() const {
  CHECK(IsCanonical(*this));
  if (kind == NodeKind::kRoot) return kRootNumber;
  uint64_t code = static_cast<uint64_t>(kind);
  if (kind == NodeKind::kTripleFirst) {
    code += static_cast<uint64_t>(place) * kMembers + static_cast<uint64_t>(member);
  }
  return code << kKindShift | id << kIdShift | key;
}

std::optional<NodeId> NodeId::Decode(uint64_t number) {
  if (number == kRootNumber) return NodeId{};
  const uint64_t code = number >> kKindShift;
  NodeId node;
  node.id = (number >> kIdShift) & store::kPathIdMax;
  node.key = static_cast<store::KeySlot>(number & store::kKeySlotMax);
  if (code >= kTripleFirst) {
    const uint64_t triple = code - kTripleFirst;
    if (triple >= kPlaces * kMembers) return std::nullopt;
    node.kind = NodeKind::kTripleFirst;
    node.place = static_cast<Place>(triple / kMembers);
    node.member = static_cast<Member>(triple % kMembers);
  } else {
    if (code == 0 || code > static_cast<uint64_t>(NodeKind::kVersions)) return std::nullopt;
    node.kind = static_cast<NodeKind>(code);
  }
  if (!IsCanonical(node)) return std::nullopt;
  return node;
}

}  // namespace secretfs::fs
