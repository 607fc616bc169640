#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"

namespace secretfs::store {

// The page format of LMDB 0.9 on 64-bit little-endian machines (struct MDB_page, MDB_node, MDB_db
// and MDB_meta of its mdb.c), as far as it decides whether LMDB may be let loose on a page.
//
// LMDB takes the sizes that it moves and copies by from the page it works on. While it reads, a
// wrong one leads to a fault, which can be caught; while it writes, to a damaged heap, which
// cannot. So every page of the committed tree is checked here before a write transaction may touch
// it.

// MDB_MAXKEYSIZE, as every distribution builds it.
inline constexpr int kLmdbKeyBytesMax = 511;

bool LmdbPageSizeIsValid(size_t page_bytes);

enum class LmdbTree : uint8_t {
  kFree,       // Lists of free pages by the transaction that freed them.
  kDirectory,  // The tables by name.
  kTable,
};

struct LmdbPageRules {
  uint64_t number = 0;
  uint64_t last_page = 0;
  LmdbTree tree = LmdbTree::kTable;
  bool leaf = true;
};

// Whether `page`, a whole one, is a sound page of its tree by itself: its header, the places and
// sizes of its nodes, which must fill it without gap or overlap, and the order of its keys.
//
// Errors: kCorrupt, with the page's number and the rule that it violates.
Status CheckLmdbPage(ByteSpan page, const LmdbPageRules& rules);

// The snapshot that one write transaction starts from. Used by one thread, for that transaction
// alone: a page that was found sound is not checked again.
//
// All errors are kCorrupt and mean that the transaction must not be carried on.
class LmdbSnapshot {
 public:
  // `map` is the file's mapping, which must outlive this and may be longer than the file. `txn_id`
  // is the write transaction's own.
  LmdbSnapshot(ByteSpan map, size_t page_bytes, uint64_t txn_id);

  // Checks what every commit touches: the meta page, the free list and the table directory, all of
  // them. Once, first.
  Status Open();

  // The transaction has created this table.
  void AddTable(std::string_view table);

  // Check what mdb_put() and mdb_del() of `key` may touch: the pages on the way to it and the
  // overflow pages of its record; for a deletion also the neighbours that LMDB may merge with.
  Status CheckPut(std::string_view table, ByteSpan key);
  Status CheckDelete(std::string_view table, ByteSpan key);

 private:
  // A page's place in its tree. The keys below it are >= `lower` and < `upper`, where there are
  // such bounds. `level` is 1 for a leaf.
  struct Place {
    uint64_t number = 0;
    uint16_t level = 1;
    std::optional<Bytes> lower;
    std::optional<Bytes> upper;
  };
  struct Tree {
    LmdbTree kind = LmdbTree::kTable;
    uint32_t id = 0;
    uint64_t root = 0;
    uint16_t depth = 0;
    size_t deletions = 0;  // In this transaction.
    // The last leaf that a path led to, and how far its neighbours were checked: most writes of a
    // transaction lie close together.
    std::optional<Place> leaf;
    size_t leaf_reach = 0;
  };
  // A vector would clear what is overwritten at once.
  struct Copy {
    std::unique_ptr<uint8_t[]> bytes;
    size_t size = 0;
    ByteSpan view() const { return {bytes.get(), size}; }
  };
  // Pages next to each other on one level; `middle` is the one on the way to the key.
  struct Row {
    std::vector<Place> places;
    std::vector<Copy> pages;
    size_t middle = 0;
  };
  using VisitRecord = std::function<Status(ByteSpan page, size_t index)>;

  Status OpenMeta();
  Status OpenFreeList();
  Status OpenDirectory();
  Result<Tree> ReadTree(ByteSpan db, LmdbTree kind);
  Result<Copy> ReadPages(uint64_t number, uint64_t count) const;
  Result<Copy> LoadPage(const Tree& tree, const Place& place);
  Status Walk(const Tree& tree, const VisitRecord& visit);
  Status CheckPath(Tree& tree, ByteSpan key, size_t reach);
  Status CheckRecord(const Tree& tree, ByteSpan leaf, ByteSpan key);
  Status CheckLowest(const Tree& tree, Place place);
  static Row Descend(const Tree& tree, const Row& row, ByteSpan key, size_t reach);
  static Place Child(const Place& parent, ByteSpan page, size_t index);
  Status CheckOverflow(const Tree& tree, uint64_t number, uint64_t size_bytes);
  Status AddFreePages(const Tree& tree, ByteSpan page, size_t index);
  bool IsFree(uint64_t number) const;

  ByteSpan map_;
  size_t page_bytes_;
  uint64_t txn_id_;
  uint64_t last_page_ = 0;
  Tree free_list_;
  Tree directory_;
  std::map<std::string, Tree, std::less<>> tables_;
  std::vector<bool> free_pages_;
  std::unordered_map<uint64_t, uint32_t> roles_;  // Of sound pages: the tree and the level.
};

}  // namespace secretfs::store
