#include "store/lmdb_pages.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "crypto/base/check.h"
#include "store/fault_guard.h"

namespace secretfs::store {
namespace {

static_assert(std::endian::native == std::endian::little && sizeof(size_t) == 8);

// struct MDB_page. An overflow page has its number of pages, a u32, at kLowerAt.
constexpr size_t kFlagsAt = 10;
constexpr size_t kLowerAt = 12;
constexpr size_t kUpperAt = 14;
constexpr size_t kPageHeaderBytes = 16;
constexpr uint16_t kBranchPage = 0x01;
constexpr uint16_t kLeafPage = 0x02;
constexpr uint16_t kOverflowPage = 0x04;
constexpr uint16_t kMetaPage = 0x08;
constexpr size_t kPageBytesMax = 0x8000;

// struct MDB_node. A branch's three first fields are the number of a page.
constexpr size_t kNodeFlagsAt = 4;
constexpr size_t kKeySizeAt = 6;
constexpr size_t kNodeHeaderBytes = 8;
constexpr uint16_t kBigData = 0x01;
constexpr uint16_t kSubData = 0x02;

// struct MDB_db.
constexpr size_t kDbFlagsAt = 4;
constexpr size_t kDbDepthAt = 6;
constexpr size_t kDbRootAt = 40;
constexpr size_t kDbBytes = 48;
constexpr uint16_t kOrderFlags = 0x7e;  // All flags that change how keys or data lie.
constexpr uint16_t kIntegerKey = 0x08;
constexpr uint64_t kNoRoot = ~uint64_t{0};
constexpr uint16_t kDepthMax = 32;  // CURSOR_STACK

// struct MDB_meta, after the page's header.
constexpr size_t kVersionAt = kPageHeaderBytes + 4;
constexpr size_t kDbsAt = kPageHeaderBytes + 24;
constexpr size_t kLastPageAt = kDbsAt + 2 * kDbBytes;
constexpr size_t kTxnIdAt = kLastPageAt + 8;
constexpr size_t kMetaEnd = kTxnIdAt + 8;
constexpr uint32_t kMagic = 0xBEEFC0DE;
constexpr uint32_t kVersion = 1;
constexpr uint64_t kFirstPage = 2;

// Each deletion may merge one more neighbour into the page of its key. A page never holds the
// remains of more neighbours than this, since of two that LMDB leaves side by side at least one is
// filled to a quarter.
constexpr size_t kReachMax = 12;

std::unexpected<Error> Unsound(uint64_t page, const char* what) {
  return Fail(Code::kCorrupt, "page " + std::to_string(page) + " " + what);
}

template <typename Integer>
Integer Load(ByteSpan bytes, size_t at) {
  Integer value;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

constexpr size_t Even(size_t size) {
  return (size + 1) & ~size_t{1};
}

struct Node {
  uint64_t child = 0;
  uint16_t flags = 0;
  uint32_t data_bytes = 0;
  ByteSpan key;
  ByteSpan data;  // In a leaf; of kBigData the page's number.
  size_t bytes = 0;
};

// A page's fields. Nothing is assumed of the bytes before they were checked.
class Page {
 public:
  explicit Page(ByteSpan bytes) : bytes_(bytes) {}

  uint64_t number() const { return Load<uint64_t>(bytes_, 0); }
  uint16_t flags() const { return Load<uint16_t>(bytes_, kFlagsAt); }
  size_t lower() const { return Load<uint16_t>(bytes_, kLowerAt); }
  size_t upper() const { return Load<uint16_t>(bytes_, kUpperAt); }
  uint32_t overflow_pages() const { return Load<uint32_t>(bytes_, kLowerAt); }
  bool leaf() const { return flags() == kLeafPage; }
  size_t keys() const { return (lower() - kPageHeaderBytes) / 2; }
  size_t offset(size_t index) const { return Load<uint16_t>(bytes_, kPageHeaderBytes + 2 * index); }
  size_t node_bytes_max() const {
    return (((bytes_.size() - kPageHeaderBytes) / 2) & ~size_t{1}) - sizeof(uint16_t);
  }

  // nullopt: it does not lie wholly inside the page.
  std::optional<Node> NodeAt(size_t offset) const {
    if (offset + kNodeHeaderBytes > bytes_.size()) return std::nullopt;
    Node node;
    node.flags = Load<uint16_t>(bytes_, offset + kNodeFlagsAt);
    node.data_bytes = Load<uint32_t>(bytes_, offset);
    node.child = node.data_bytes | uint64_t{node.flags} << 32;
    const size_t key_bytes = Load<uint16_t>(bytes_, offset + kKeySizeAt);
    size_t inside = 0;
    if (leaf()) inside = (node.flags & kBigData) != 0 ? sizeof(uint64_t) : node.data_bytes;
    node.bytes = kNodeHeaderBytes + key_bytes + inside;
    if (offset + Even(node.bytes) > bytes_.size()) return std::nullopt;
    node.key = bytes_.subspan(offset + kNodeHeaderBytes, key_bytes);
    node.data = bytes_.subspan(offset + kNodeHeaderBytes + key_bytes, inside);
    return node;
  }
  // REQUIRES: the page is sound.
  Node node(size_t index) const { return *NodeAt(offset(index)); }

 private:
  ByteSpan bytes_;
};

// In LMDB's order.
int Compare(LmdbTree tree, ByteSpan a, ByteSpan b) {
  if (tree == LmdbTree::kFree) {
    uint64_t left = Load<uint64_t>(a, 0);
    uint64_t right = Load<uint64_t>(b, 0);
    return left < right ? -1 : left > right;
  }
  const size_t common = std::min(a.size(), b.size());
  const int difference = common == 0 ? 0 : std::memcmp(a.data(), b.data(), common);
  if (difference != 0) return difference;
  return a.size() < b.size() ? -1 : a.size() > b.size();
}

Status CheckHeader(const Page& page, size_t page_bytes, const LmdbPageRules& rules) {
  if (page.number() != rules.number) return Unsound(rules.number, "bears another number");
  if (page.flags() != (rules.leaf ? kLeafPage : kBranchPage)) {
    return Unsound(rules.number, "is not of the kind that its place asks for");
  }
  if (page.lower() < kPageHeaderBytes || page.lower() > page.upper() || page.upper() > page_bytes ||
      page.lower() % 2 != 0) {
    return Unsound(rules.number, "has wrong bounds of its free space");
  }
  // LMDB allows a branch of the free list a single child.
  size_t keys_min = rules.leaf || rules.tree == LmdbTree::kFree ? 1 : 2;
  if (page.keys() < keys_min) return Unsound(rules.number, "has too few keys");
  return {};
}

// LMDB closes up a page's nodes at once, and counts on it: they fill its end, each begins where
// another one ends.
Status CheckPlacesOfNodes(const Page& page, size_t page_bytes, const LmdbPageRules& rules) {
  std::array<uint16_t, kPageBytesMax / 2> bytes_at;
  std::memset(bytes_at.data(), 0, page_bytes);
  for (size_t i = 0; i < page.keys(); ++i) {
    const size_t offset = page.offset(i);
    std::optional<Node> node = page.NodeAt(offset);
    if (offset % 2 != 0 || offset < page.upper() || !node) {
      return Unsound(rules.number, "has a node that does not lie in its node area");
    }
    bytes_at[offset / 2] = static_cast<uint16_t>(Even(node->bytes));
  }
  size_t found = 0;
  size_t at = page.upper();
  while (at < page_bytes && bytes_at[at / 2] != 0) {
    at += bytes_at[at / 2];
    ++found;
  }
  if (at != page_bytes || found != page.keys()) {
    return Unsound(rules.number, "has nodes that overlap or leave a gap");
  }
  return {};
}

constexpr uint64_t OverflowPages(uint64_t size_bytes, size_t page_bytes) {
  return (kPageHeaderBytes - 1 + size_bytes) / page_bytes + 1;
}

bool InFile(uint64_t number, uint64_t count, uint64_t last_page) {
  return number >= kFirstPage && number <= last_page && count <= last_page - number + 1;
}

Status CheckData(const Page& page, const Node& node, size_t page_bytes,
                 const LmdbPageRules& rules) {
  const bool big = (node.flags & kBigData) != 0;
  if (rules.tree == LmdbTree::kDirectory) {
    if (node.flags == kSubData && node.data_bytes == kDbBytes) return {};
    return Unsound(rules.number, "has a record that is not a table's");
  }
  if ((node.flags & ~kBigData) != 0) return Unsound(rules.number, "has a node of unknown kind");
  if (!big && node.bytes > page.node_bytes_max()) {
    return Unsound(rules.number, "has a node that is too large");
  }
  if (big && !InFile(Load<uint64_t>(node.data, 0), OverflowPages(node.data_bytes, page_bytes),
                     rules.last_page)) {
    return Unsound(rules.number, "has a record whose overflow pages are not in the file");
  }
  return {};
}

Status CheckNodes(const Page& page, size_t page_bytes, const LmdbPageRules& rules) {
  Node previous;
  for (size_t i = 0; i < page.keys(); ++i) {
    const Node node = page.node(i);
    // The first key of a branch is not used, and is mostly empty.
    const bool unused = i == 0 && !rules.leaf;
    if (node.key.size() > kLmdbKeyBytesMax || (node.key.empty() && !unused) ||
        (rules.tree == LmdbTree::kFree && !unused && node.key.size() != sizeof(uint64_t))) {
      return Unsound(rules.number, "has a key of wrong size");
    }
    if (i > (rules.leaf ? 0 : 1) && Compare(rules.tree, previous.key, node.key) >= 0) {
      return Unsound(rules.number, "has keys that are not in order");
    }
    if (rules.leaf) {
      TRY(CheckData(page, node, page_bytes, rules));
    } else if (!InFile(node.child, 1, rules.last_page)) {
      return Unsound(rules.number, "points to a page that is not in the file");
    }
    previous = node;
  }
  return {};
}

// The index of the child whose keys `key` would be among; in a leaf, of the first key >= `key`.
size_t Search(LmdbTree tree, const Page& page, ByteSpan key) {
  size_t low = page.leaf() ? 0 : 1;
  size_t high = page.keys();
  while (low < high) {
    const size_t middle = (low + high) / 2;
    const int order = Compare(tree, page.node(middle).key, key);
    if (order < 0 || (order == 0 && !page.leaf())) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return page.leaf() ? low : low - 1;
}

}  // namespace

bool LmdbPageSizeIsValid(size_t page_bytes) {
  return std::has_single_bit(page_bytes) && page_bytes >= kMetaEnd && page_bytes <= kPageBytesMax;
}

Status CheckLmdbPage(ByteSpan page, const LmdbPageRules& rules) {
  CHECK(LmdbPageSizeIsValid(page.size()));
  const Page view(page);
  TRY(CheckHeader(view, page.size(), rules));
  TRY(CheckPlacesOfNodes(view, page.size(), rules));
  return CheckNodes(view, page.size(), rules);
}

LmdbSnapshot::LmdbSnapshot(ByteSpan map, size_t page_bytes, uint64_t txn_id)
    : map_(map), page_bytes_(page_bytes), txn_id_(txn_id) {}

Status LmdbSnapshot::Open() {
  TRY(OpenMeta());
  TRY(OpenFreeList());
  return OpenDirectory();
}

// A transaction's predecessor is in the meta page of its parity, whatever the ids in these say.
Status LmdbSnapshot::OpenMeta() {
  const uint64_t number = (txn_id_ - 1) % 2;
  std::array<uint8_t, kMetaEnd> meta{};
  if (!LmdbPageSizeIsValid(page_bytes_)) return Unsound(number, "has a wrong page size");
  if (!FaultGuard::Run(
          [&] { std::memcpy(meta.data(), map_.data() + number * page_bytes_, meta.size()); })) {
    return Unsound(number, "cannot be read");
  }
  const Page page(meta);
  if (page.number() != number || page.flags() != kMetaPage ||
      Load<uint32_t>(meta, kPageHeaderBytes) != kMagic ||
      Load<uint32_t>(meta, kVersionAt) != kVersion || Load<uint32_t>(meta, kDbsAt) != page_bytes_ ||
      Load<uint64_t>(meta, kTxnIdAt) != txn_id_ - 1) {
    return Unsound(number, "is not the newest meta page");
  }
  last_page_ = Load<uint64_t>(meta, kLastPageAt);
  if (last_page_ < kFirstPage - 1 || last_page_ >= map_.size() / page_bytes_) {
    return Unsound(number, "has a wrong number of pages");
  }
  const ByteSpan dbs = ByteSpan(meta).subspan(kDbsAt);
  TRY_ASSIGN(free_list_, ReadTree(dbs.first(kDbBytes), LmdbTree::kFree));
  TRY_ASSIGN(directory_, ReadTree(dbs.subspan(kDbBytes, kDbBytes), LmdbTree::kDirectory));
  return {};
}

Result<LmdbSnapshot::Tree> LmdbSnapshot::ReadTree(ByteSpan db, LmdbTree kind) {
  Tree tree;
  tree.kind = kind;
  tree.id = static_cast<uint32_t>(tables_.size()) + static_cast<uint32_t>(kind);
  tree.root = Load<uint64_t>(db, kDbRootAt);
  tree.depth = Load<uint16_t>(db, kDbDepthAt);
  const uint16_t flags = Load<uint16_t>(db, kDbFlagsAt) & kOrderFlags;
  if (flags != (kind == LmdbTree::kFree ? kIntegerKey : 0) || tree.depth > kDepthMax ||
      (tree.depth == 0) != (tree.root == kNoRoot)) {
    return Unsound(tree.root, "is not the root of a tree of this kind and depth");
  }
  return tree;
}

Status LmdbSnapshot::OpenFreeList() {
  free_pages_.assign(last_page_ + 1, false);
  TRY(Walk(free_list_,
           [this](ByteSpan page, size_t index) { return AddFreePages(free_list_, page, index); }));
  // The list's own pages were visited before it was complete.
  for (const auto& [number, role] : roles_) {
    if (IsFree(number)) return Unsound(number, "is in use and listed as free");
  }
  return {};
}

Status LmdbSnapshot::AddFreePages(const Tree& tree, ByteSpan page, size_t index) {
  const Node node = Page(page).node(index);
  ByteSpan list = node.data;
  Copy overflow;
  if ((node.flags & kBigData) != 0) {
    const uint64_t first = Load<uint64_t>(node.data, 0);
    TRY(CheckOverflow(tree, first, node.data_bytes));
    TRY_ASSIGN(overflow, ReadPages(first, OverflowPages(node.data_bytes, page_bytes_)));
    list = overflow.view().subspan(kPageHeaderBytes, node.data_bytes);
  }
  // A list may be shorter than its record: LMDB reserves room before it knows how much it needs.
  const size_t room = list.size() / sizeof(uint64_t);
  if (room == 0 || list.size() % sizeof(uint64_t) != 0 || Load<uint64_t>(list, 0) > room - 1) {
    return Unsound(Page(page).number(), "has a list of free pages of wrong size");
  }
  const uint64_t count = Load<uint64_t>(list, 0);
  uint64_t previous = last_page_ + 1;
  for (uint64_t i = 1; i <= count; ++i) {
    const uint64_t number = Load<uint64_t>(list, i * sizeof(number));
    if (number < kFirstPage || number >= previous || free_pages_[number]) {
      return Unsound(Page(page).number(), "has a list of free pages that is not in order");
    }
    free_pages_[number] = true;
    previous = number;
  }
  return {};
}

Status LmdbSnapshot::OpenDirectory() {
  return Walk(directory_, [this](ByteSpan page, size_t index) -> Status {
    const Node node = Page(page).node(index);
    TRY_ASSIGN(Tree table, ReadTree(node.data, LmdbTree::kTable));
    tables_.emplace(AsText(node.key), table);
    return {};
  });
}

void LmdbSnapshot::AddTable(std::string_view table) {
  Tree tree;
  tree.id = static_cast<uint32_t>(tables_.size()) + static_cast<uint32_t>(LmdbTree::kTable);
  tree.root = kNoRoot;
  tables_.emplace(table, std::move(tree));
}

Status LmdbSnapshot::CheckPut(std::string_view table, ByteSpan key) {
  auto found = tables_.find(table);
  if (found == tables_.end()) return Unsound(directory_.root, "lacks a table");
  return CheckPath(found->second, key, 0);
}

Status LmdbSnapshot::CheckDelete(std::string_view table, ByteSpan key) {
  auto found = tables_.find(table);
  if (found == tables_.end()) return Unsound(directory_.root, "lacks a table");
  found->second.deletions += 1;
  return CheckPath(found->second, key, std::min(found->second.deletions, kReachMax));
}

Result<LmdbSnapshot::Copy> LmdbSnapshot::ReadPages(uint64_t number, uint64_t count) const {
  if (!InFile(number, count, last_page_)) return Unsound(number, "is not in the file");
  Copy copy{std::make_unique_for_overwrite<uint8_t[]>(count * page_bytes_), count * page_bytes_};
  if (!FaultGuard::Run(
          [&] { std::memcpy(copy.bytes.get(), map_.data() + number * page_bytes_, copy.size); })) {
    return Unsound(number, "cannot be read");
  }
  return copy;
}

bool LmdbSnapshot::IsFree(uint64_t number) const {
  return number < free_pages_.size() && free_pages_[number];
}

Result<LmdbSnapshot::Copy> LmdbSnapshot::LoadPage(const Tree& tree, const Place& place) {
  if (IsFree(place.number)) return Unsound(place.number, "is in use and listed as free");
  TRY_ASSIGN(Copy bytes, ReadPages(place.number, 1));
  const uint32_t role = tree.id << 8 | place.level;
  auto [known, fresh] = roles_.try_emplace(place.number, role);
  if (known->second != role) return Unsound(place.number, "is in use twice");
  if (fresh) {
    TRY(CheckLmdbPage(bytes.view(), {.number = place.number,
                                     .last_page = last_page_,
                                     .tree = tree.kind,
                                     .leaf = place.level == 1}));
  }
  const Page page(bytes.view());
  const size_t first = page.leaf() ? 0 : 1;
  if (first < page.keys() &&
      ((place.lower && Compare(tree.kind, page.node(first).key, *place.lower) < 0) ||
       (place.upper && Compare(tree.kind, page.node(page.keys() - 1).key, *place.upper) >= 0))) {
    return Unsound(place.number, "has keys that belong elsewhere");
  }
  return bytes;
}

LmdbSnapshot::Place LmdbSnapshot::Child(const Place& parent, ByteSpan page, size_t index) {
  const Page view(page);
  const Node node = view.node(index);
  Place place;
  place.number = node.child;
  place.level = static_cast<uint16_t>(parent.level - 1);
  place.lower = index == 0 ? parent.lower : Bytes(node.key.begin(), node.key.end());
  place.upper = parent.upper;
  if (index + 1 < view.keys()) {
    const ByteSpan next = view.node(index + 1).key;
    place.upper = Bytes(next.begin(), next.end());
  }
  return place;
}

Status LmdbSnapshot::Walk(const Tree& tree, const VisitRecord& visit) {
  std::vector<Place> waiting;
  if (tree.depth > 0) waiting.push_back({tree.root, tree.depth, {}, {}});
  while (!waiting.empty()) {
    const Place place = std::move(waiting.back());
    waiting.pop_back();
    TRY_ASSIGN(Copy page, LoadPage(tree, place));
    for (size_t i = 0; i < Page(page.view()).keys(); ++i) {
      if (place.level > 1) {
        waiting.push_back(Child(place, page.view(), i));
      } else {
        TRY(visit(page.view(), i));
      }
    }
  }
  return {};
}

Status LmdbSnapshot::CheckPath(Tree& tree, ByteSpan key, size_t reach) {
  if (tree.depth == 0) return {};
  if (tree.leaf && tree.leaf_reach >= reach &&
      (!tree.leaf->lower || Compare(tree.kind, key, *tree.leaf->lower) >= 0) &&
      (!tree.leaf->upper || Compare(tree.kind, key, *tree.leaf->upper) < 0)) {
    TRY_ASSIGN(Copy leaf, LoadPage(tree, *tree.leaf));
    return CheckRecord(tree, leaf.view(), key);
  }
  Row row;
  row.places.push_back({tree.root, tree.depth, {}, {}});
  for (;;) {
    for (const Place& place : row.places) {
      TRY_ASSIGN(Copy page, LoadPage(tree, place));
      if (reach > 0 && place.level > 1) TRY(CheckLowest(tree, Child(place, page.view(), 0)));
      row.pages.push_back(std::move(page));
    }
    if (row.places[row.middle].level == 1) break;
    row = Descend(tree, row, key, reach);
  }
  tree.leaf = std::move(row.places[row.middle]);
  tree.leaf_reach = reach;
  return CheckRecord(tree, row.pages[row.middle].view(), key);
}

// The overflow pages of the record that is replaced or deleted.
Status LmdbSnapshot::CheckRecord(const Tree& tree, ByteSpan leaf, ByteSpan key) {
  const Page page(leaf);
  const size_t index = Search(tree.kind, page, key);
  if (index == page.keys()) return {};
  const Node node = page.node(index);
  if ((node.flags & kBigData) == 0 || Compare(tree.kind, node.key, key) != 0) return {};
  return CheckOverflow(tree, Load<uint64_t>(node.data, 0), node.data_bytes);
}

// When LMDB moves the first child of a branch, it takes the lowest key below it along.
Status LmdbSnapshot::CheckLowest(const Tree& tree, Place place) {
  for (;;) {
    TRY_ASSIGN(Copy page, LoadPage(tree, place));
    if (place.level == 1) return {};
    place = Child(place, page.view(), 0);
  }
}

// The children of a row from `reach` left to `reach` right of the one on the way to `key`.
LmdbSnapshot::Row LmdbSnapshot::Descend(const Tree& tree, const Row& row, ByteSpan key,
                                        size_t reach) {
  size_t middle = Search(tree.kind, Page(row.pages[row.middle].view()), key);
  for (size_t i = 0; i < row.middle; ++i) middle += Page(row.pages[i].view()).keys();
  const size_t begin = middle - std::min(middle, reach);
  const size_t end = middle + reach + 1;
  Row children;
  children.middle = middle - begin;
  size_t first = 0;
  for (size_t i = 0; i < row.pages.size(); ++i) {
    const size_t keys = Page(row.pages[i].view()).keys();
    for (size_t at = std::max(begin, first); at < std::min(end, first + keys); ++at) {
      children.places.push_back(Child(row.places[i], row.pages[i].view(), at - first));
    }
    first += keys;
  }
  return children;
}

// LMDB frees as many pages as the first one says. These may be more than the record needs: LMDB
// leaves it so when one transaction writes a large record and then a smaller one in its place.
Status LmdbSnapshot::CheckOverflow(const Tree& tree, uint64_t number, uint64_t size_bytes) {
  TRY_ASSIGN(Copy bytes, ReadPages(number, 1));
  const Page page(bytes.view());
  const uint64_t count = page.overflow_pages();
  if (page.number() != number || page.flags() != kOverflowPage ||
      count < OverflowPages(size_bytes, page_bytes_) || !InFile(number, count, last_page_)) {
    return Unsound(number, "is not the overflow page that its record asks for");
  }
  const uint32_t role = tree.id << 8;
  for (uint64_t i = number; i < number + count; ++i) {
    if (IsFree(i)) return Unsound(i, "is in use and listed as free");
    if (roles_.try_emplace(i, role).first->second != role) return Unsound(i, "is in use twice");
  }
  return {};
}

}  // namespace secretfs::store
