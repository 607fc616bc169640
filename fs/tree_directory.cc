// Listing directories.
//
// A cursor is a place in a directory's fixed order, never a count, so that it stays right while
// entries come and go:
//
//   1, 2       "." and ".."
//   3..15      the entries that have a fixed place (Fixed)
//   16..2^62+  the rest, at kFirstFree plus a persistent number: a child's cursor of the store, a
//   label's selector, a
//              version's number, a key's slot

#include <algorithm>

#include "fs/tree.h"
#include "store/secret_name.h"

namespace secretfs::fs {
namespace {

enum Fixed : uint64_t {
  kSelf = 1,
  kParent = 2,
  kValue = 3,
  kKeys = 4,
  kVersionId = 5,
  kLabels = 6,
  kVersions = 7,
  kMeta = 8,
  // Of the root.
  kStatus = 3,
  kViews = 4,
  // Of `_labels`.
  kCurrentLabel = 3,
  kPendingLabel = 4,
  kPreviousLabel = 5,
};
// Added to a number that is at least 1.
constexpr uint64_t kFirstFree = 15;

uint64_t CursorOf(const store::Label& label) {
  if (label.name == store::kCurrent) return kCurrentLabel;
  if (label.name == store::kPending) return kPendingLabel;
  if (label.name == store::kPrevious) return kPreviousLabel;
  return kFirstFree + label.selector;
}

}  // namespace

// One call of ReadDirectory().
class Tree::Listing {
 public:
  Listing(Tree& tree, const store::Caller& caller, const DirectoryRead& read, const EmitEntry& emit)
      : tree_(tree), caller_(caller), read_(read), emit_(emit) {}

  const store::Caller& caller() const { return caller_; }
  bool full() const { return full_; }
  bool with_attributes() const { return read_.with_attributes; }
  // The number that the entries from kFirstFree on continue after.
  uint64_t After() const { return read_.cursor > kFirstFree ? read_.cursor - kFirstFree : 0; }

  bool Wants(uint64_t cursor) const { return !full_ && cursor > read_.cursor; }

  void AddDots(uint64_t self, uint64_t parent) {
    AddBare(kSelf, ".", self, S_IFDIR);
    AddBare(kParent, "..", parent, S_IFDIR);
  }

  void AddDirectory(uint64_t cursor, std::string_view name, const NodeId& node) {
    if (!Wants(cursor)) return;
    if (!with_attributes()) return AddBare(cursor, name, node.Encode(), S_IFDIR);
    Emit(cursor, name, tree_.DirectoryEntry(node));
  }

  // `entry` gives the Result<Entry> of READDIRPLUS. A file that went in this moment is left out.
  template <typename MakeEntry>
  void AddFile(uint64_t cursor, std::string_view name, const NodeId& node, MakeEntry entry) {
    if (!Wants(cursor)) return;
    if (!with_attributes()) return AddBare(cursor, name, node.Encode(), S_IFREG);
    if (const Result<Entry> made = entry()) Emit(cursor, name, *made);
  }

 private:
  void AddBare(uint64_t cursor, std::string_view name, uint64_t number, mode_t type) {
    if (!Wants(cursor)) return;
    Entry entry{.node = number};
    entry.attributes.st_ino = number;
    entry.attributes.st_mode = type;
    Emit(cursor, name, entry);
  }

  void Emit(uint64_t cursor, std::string_view name, const Entry& entry) {
    full_ = !emit_(name, cursor, entry);
  }

  Tree& tree_;
  const store::Caller& caller_;
  const DirectoryRead& read_;
  const EmitEntry& emit_;
  bool full_ = false;
};

Result<uint64_t> Tree::OpenDirectory(const store::Caller& caller, uint64_t node) {
  const auto id = NodeId::Decode(node);
  if (!id) return Fail(Code::kStale, "node " + std::to_string(node) + " is unknown");
  if (!id->IsDirectory()) return Fail(Code::kInvalidArgument, "not a directory");
  if (id->kind == NodeKind::kViews) return 0;
  if (id->kind == NodeKind::kRoot) {
    const Status listed = service_.OpenPrefix(caller, store::kRootPath);
    // Everyone sees secretfs's own files; ListRoot() asks again for the secrets.
    if (listed || listed.error().code == Code::kPermissionDenied) return 0;
    return std::unexpected(listed.error());
  }
  if (id->kind == NodeKind::kPath) {
    TRY(CheckPathExists(id->id));
    TRY(service_.OpenPrefix(caller, id->id));
    return 0;
  }
  TRY_ASSIGN(const auto located, Locate(*id));
  const bool keys = id->kind == NodeKind::kTripleFirst && id->member == Member::kKeys;
  // Key names are part of the value.
  TRY(service_.OpenMetadata(
      caller, *located.secret,
      keys ? store::Action::kGetSecretValue : store::Action::kListSecretVersionIds));
  return keys ? ValueHandle{located.version->number, 0}.Encode() : 0;
}

// A descriptor may be handed on, and rules may change: what OPENDIR decided is decided again. Only
// a refusal is worth an event.
Status Tree::CheckMayGoOn(const store::Caller& caller, const NodeId& directory) {
  switch (directory.kind) {
    case NodeKind::kPath:
      if (service_.MayListSecrets(caller.principal)) return {};
      return service_.OpenPrefix(caller, directory.id);
    case NodeKind::kLabels:
    case NodeKind::kVersions:
    case NodeKind::kTripleFirst: {
      TRY_ASSIGN(const auto located, LocateSecret(directory));
      const auto action = directory.member == Member::kKeys ? store::Action::kGetSecretValue
                                                            : store::Action::kListSecretVersionIds;
      if (service_.May(caller.principal, action, *located.secret)) return {};
      return service_.OpenMetadata(caller, *located.secret, action);
    }
    case NodeKind::kRoot:  // Lists less to some, and asks for that itself.
    case NodeKind::kViews:
    case NodeKind::kStatus:
    case NodeKind::kMeta:
      break;
  }
  return {};
}

Status Tree::ReadDirectory(const store::Caller& caller, uint64_t node, const DirectoryRead& read,
                           const EmitEntry& emit) {
  const auto id = NodeId::Decode(node);
  if (!id) return Fail(Code::kStale, "node " + std::to_string(node) + " is unknown");
  Listing listing(*this, caller, read, emit);
  TRY(CheckMayGoOn(caller, *id));
  switch (id->kind) {
    case NodeKind::kRoot:
      return ListRoot(listing);
    case NodeKind::kViews:
      listing.AddDots(node, NodeId{}.Encode());
      return {};
    case NodeKind::kPath:
      return ListPath(listing, *id);
    case NodeKind::kLabels:
      return ListLabels(listing, *id);
    case NodeKind::kVersions:
      return ListVersions(listing, *id);
    case NodeKind::kTripleFirst:
      if (id->member == Member::kDirectory) return ListMembers(listing, *id);
      if (id->member == Member::kKeys) return ListKeys(listing, *id, read.handle);
      break;
    case NodeKind::kStatus:
    case NodeKind::kMeta:
      break;
  }
  return Fail(Code::kInvalidArgument, "not a directory");
}

Status Tree::ListRoot(Listing& listing) {
  const uint64_t root = NodeId{}.Encode();
  listing.AddDots(root, root);
  const NodeId status{.kind = NodeKind::kStatus};
  listing.AddFile(kStatus, "_status", status, [&] { return StatusEntry(); });
  listing.AddDirectory(kViews, "_views", {.kind = NodeKind::kViews});
  if (!service_.MayListSecrets(listing.caller().principal)) return {};
  return ListChildren(listing, store::kRootPath);
}

Status Tree::ListPath(Listing& listing, const NodeId& node) {
  // The store does not say where a path hangs; no program relies on the number of "..".
  listing.AddDots(node.Encode(), NodeId{}.Encode());
  if (listing.Wants(kMeta)) {
    const NodeId meta = NodeId::OfPath(NodeKind::kMeta, node.id);
    const auto located = LocateSecret(meta);
    if (!located && located.error().code != Code::kStale) {
      return std::unexpected(located.error());
    }
    if (located) {
      if (located->version != nullptr) {
        AddMembers(listing, NodeId::OfTriple(Place::kSecret, {}, node.id), *located);
      }
      listing.AddDirectory(kLabels, "_labels", NodeId::OfPath(NodeKind::kLabels, node.id));
      listing.AddDirectory(kVersions, "_versions", NodeId::OfPath(NodeKind::kVersions, node.id));
      listing.AddFile(kMeta, "_meta", meta,
                      [&] { return MetaEntry(listing.caller(), meta, *located); });
    }
  }
  return ListChildren(listing, node.id);
}

Status Tree::ListChildren(Listing& listing, store::PathId parent) {
  if (listing.full()) return {};
  return service_.ListChildren(
      parent, listing.After(),
      [&](uint64_t cursor, store::PathId child, std::string_view component) {
        listing.AddDirectory(kFirstFree + cursor, store::EscapeNameComponent(component),
                             NodeId::OfPath(NodeKind::kPath, child));
        return !listing.full();
      });
}

Status Tree::ListLabels(Listing& listing, const NodeId& node) {
  TRY_ASSIGN(const auto located, LocateSecret(node));
  listing.AddDots(node.Encode(), NodeId::OfPath(NodeKind::kPath, node.id).Encode());
  std::vector<const store::Label*> labels;
  for (const store::Label& label : located.secret->labels) labels.push_back(&label);
  std::ranges::sort(labels, {}, [](const auto* label) { return CursorOf(*label); });
  for (const auto* label : labels) {
    const std::string name = store::EscapeFreeText(label->name);
    if (name.size() > kFileNameBytesMax) continue;
    listing.AddDirectory(CursorOf(*label), name, LabelDirectory(*label, node.id));
  }
  return {};
}

Status Tree::ListVersions(Listing& listing, const NodeId& node) {
  TRY_ASSIGN(const auto located, LocateSecret(node));
  listing.AddDots(node.Encode(), NodeId::OfPath(NodeKind::kPath, node.id).Encode());
  std::vector<const store::Version*> versions;
  for (const auto& version : located.secret->versions) versions.push_back(&version);
  std::ranges::sort(versions, {}, &store::Version::number);
  for (const auto* version : versions) {
    listing.AddDirectory(kFirstFree + version->number, version->id,
                         NodeId::OfTriple(Place::kVersion, Member::kDirectory, version->number));
  }
  return {};
}

// The triple. `directory`: the node that holds it, whose place and id its files have too.
void Tree::AddMembers(Listing& listing, const NodeId& directory, const Located& located) {
  const auto file = [&](Fixed cursor, std::string_view name, Member member) {
    const NodeId node = NodeId::OfTriple(directory.place, member, directory.id);
    listing.AddFile(cursor, name, node,
                    [&] { return TripleFileEntry(listing.caller(), node, located); });
  };
  file(kValue, "_value", Member::kValue);
  if (located.version->has_keys) {
    listing.AddDirectory(kKeys, "_keys",
                         NodeId::OfTriple(directory.place, Member::kKeys, directory.id));
  }
  file(kVersionId, "_version", Member::kVersionId);
}

Status Tree::ListMembers(Listing& listing, const NodeId& node) {
  TRY_ASSIGN(const auto located, Locate(node));
  const NodeKind holder = node.place == Place::kVersion ? NodeKind::kVersions : NodeKind::kLabels;
  listing.AddDots(node.Encode(), NodeId::OfPath(holder, located.secret->path).Encode());
  AddMembers(listing, node, located);
  return {};
}

Status Tree::ListKeys(Listing& listing, const NodeId& node, uint64_t handle) {
  TRY_ASSIGN(auto located, LocateSecret(node));
  const store::Secret& secret = *located.secret;
  const store::Caller& caller = listing.caller();

  // One listing is of one version, though the label moves meanwhile.
  const store::Version* current = located.version;
  located.version = secret.FindVersionByNumber(ValueHandle::Decode(handle).version);
  if (!located.version) return Fail(Code::kStale, "a version of " + secret.name + " is gone");
  const NodeId directory = node.place == Place::kSecret
                               ? NodeId::OfPath(NodeKind::kPath, node.id)
                               : NodeId::OfTriple(node.place, Member::kDirectory, node.id);
  listing.AddDots(node.Encode(), directory.Encode());

  TRY_ASSIGN(auto keys, service_.ListKeys(located.version->number));
  std::ranges::sort(keys, {}, &store::SecretService::KeyFile::slot);
  const TimeMs now = clock_.NowMs();
  const Caching caching{located.version == current && !MovedLately(located, now), now};
  for (const auto& key : keys) {
    const uint64_t cursor = kFirstFree + key.slot;
    if (!listing.Wants(cursor)) continue;
    const std::string name = store::EscapeFreeText(key.key);
    if (name.size() > kFileNameBytesMax) continue;
    NodeId file = NodeId::OfTriple(node.place, Member::kKey, node.id);
    file.key = key.slot;
    listing.AddFile(cursor, name, file, [&] {
      const FileFacts facts = TripleFacts(located, key.size_bytes);
      return FileEntry(caller, file, &facts, caching);
    });
    if (listing.full()) break;
  }
  return {};
}

}  // namespace secretfs::fs
