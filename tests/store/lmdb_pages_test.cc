#include "store/lmdb_pages.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <map>
#include <random>

#include "store/lmdb_env.h"
#include "store/table_key.h"
#include "tests/support/temp_directory.h"

namespace secretfs::store {
namespace {

using testing::TempDirectory;

constexpr size_t kPageBytes = 4096;
constexpr uint64_t kNumber = 7;
constexpr uint64_t kLastPage = 100;

template <typename Integer>
void Store(Bytes& bytes, size_t at, Integer value) {
  std::memcpy(bytes.data() + at, &value, sizeof(value));
}
template <typename Integer>
Integer Load(const Bytes& bytes, size_t at) {
  Integer value;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

// A page by hand, its nodes from the end down, as LMDB lays them.
class PageBuilder {
 public:
  explicit PageBuilder(uint16_t flags) : bytes_(kPageBytes) {
    Store(bytes_, 0, kNumber);
    Store(bytes_, 10, flags);
    Store(bytes_, 12, lower_);
    Store(bytes_, 14, upper_);
  }
  PageBuilder& Node(std::string_view key, uint64_t first_fields, std::string_view data = "") {
    upper_ = static_cast<uint16_t>(upper_ - ((8 + key.size() + data.size() + 1) & ~size_t{1}));
    Store(bytes_, upper_, first_fields);
    Store(bytes_, upper_ + 6, static_cast<uint16_t>(key.size()));
    std::memcpy(bytes_.data() + upper_ + 8, key.data(), key.size());
    std::memcpy(bytes_.data() + upper_ + 8 + key.size(), data.data(), data.size());
    Store(bytes_, lower_, upper_);
    lower_ += 2;
    Store(bytes_, 12, lower_);
    Store(bytes_, 14, upper_);
    return *this;
  }
  PageBuilder& Leaf(std::string_view key, std::string_view data) {
    return Node(key, data.size(), data);
  }
  Bytes Take() { return std::move(bytes_); }

 private:
  uint16_t lower_ = 16;
  uint16_t upper_ = kPageBytes;
  Bytes bytes_;
};

std::string U64Text(uint64_t value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

Bytes SoundLeaf() {
  return PageBuilder(2)
      .Leaf("a", "first")
      .Leaf("b", "second")
      // 5,000 bytes on the overflow pages 90 and 91.
      .Node("c", 5000 | uint64_t{1} << 32, U64Text(90))
      .Take();
}
Bytes SoundBranch() {
  return PageBuilder(1).Node("", 10).Node("k", 11).Node("m", 12).Take();
}

std::string Problem(const Bytes& page, bool leaf, LmdbTree tree = LmdbTree::kTable) {
  auto checked =
      CheckLmdbPage(page, {.number = kNumber, .last_page = kLastPage, .tree = tree, .leaf = leaf});
  return checked ? "" : checked.error().message;
}

// `change` must make a sound page unsound, by the rule that `problem` names.
template <typename Change>
void ExpectProblem(Bytes page, bool leaf, const char* problem, const Change& change) {
  ASSERT_EQ(Problem(page, leaf), "");
  change(page);
  EXPECT_NE(Problem(page, leaf).find(problem), std::string::npos)
      << "wanted: " << problem << "; got: " << Problem(page, leaf);
}

size_t NodeAt(const Bytes& page, size_t index) {
  return Load<uint16_t>(page, 16 + 2 * index);
}

TEST(LmdbPageTest, EachRuleOfTheHeaderIsEnforced) {
  ExpectProblem(SoundLeaf(), true, "another number", [](Bytes& p) { Store(p, 0, kNumber + 1); });
  for (int flags : {0, 1, 3, 4, 8, 0x12, 0x22, 0x42, 0x4002, 0x8002}) {
    ExpectProblem(SoundLeaf(), true, "kind",
                  [=](Bytes& p) { Store(p, 10, static_cast<uint16_t>(flags)); });
  }
  ExpectProblem(SoundBranch(), false, "kind", [](Bytes& p) { Store(p, 10, uint16_t{2}); });
  for (int lower : {0, 15, 21, 4096, 0xffff}) {
    ExpectProblem(SoundLeaf(), true, "bounds",
                  [=](Bytes& p) { Store(p, 12, static_cast<uint16_t>(lower)); });
  }
  for (int upper : {0, 20, 4098, 0xffff}) {
    ExpectProblem(SoundLeaf(), true, "bounds",
                  [=](Bytes& p) { Store(p, 14, static_cast<uint16_t>(upper)); });
  }
  ExpectProblem(SoundLeaf(), true, "too few", [](Bytes& p) { Store(p, 12, uint16_t{16}); });
  ExpectProblem(SoundBranch(), false, "too few", [](Bytes& p) { Store(p, 12, uint16_t{18}); });
}

TEST(LmdbPageTest, EachRuleOfTheNodesPlacesIsEnforced) {
  for (int offset : {0, 16, 4000, 4095, 4096, 0xfffe}) {
    ExpectProblem(SoundLeaf(), true, "node area",
                  [=](Bytes& p) { Store(p, 16, static_cast<uint16_t>(offset)); });
  }
  ExpectProblem(SoundLeaf(), true, "node area",
                [](Bytes& p) { Store(p, 16, static_cast<uint16_t>(NodeAt(p, 0) + 1)); });
  ExpectProblem(SoundLeaf(), true, "node area",
                [](Bytes& p) { Store(p, NodeAt(p, 0), uint32_t{0xfffffff0}); });
  ExpectProblem(SoundLeaf(), true, "node area",
                [](Bytes& p) { Store(p, NodeAt(p, 2) + 6, uint16_t{0x8001}); });
  // Longer, shorter, one node twice, one too few, room that no node takes.
  ExpectProblem(SoundLeaf(), true, "overlap",
                [](Bytes& p) { Store(p, NodeAt(p, 1), uint32_t{6 + 2}); });
  ExpectProblem(SoundLeaf(), true, "overlap",
                [](Bytes& p) { Store(p, NodeAt(p, 1), uint32_t{6 - 2}); });
  ExpectProblem(SoundLeaf(), true, "overlap",
                [](Bytes& p) { Store(p, 16, static_cast<uint16_t>(NodeAt(p, 1))); });
  ExpectProblem(SoundLeaf(), true, "overlap", [](Bytes& p) { Store(p, 12, uint16_t{20}); });
  ExpectProblem(SoundLeaf(), true, "overlap",
                [](Bytes& p) { Store(p, 14, static_cast<uint16_t>(NodeAt(p, 2) - 2)); });
}

TEST(LmdbPageTest, EachRuleOfKeysAndDataIsEnforced) {
  ExpectProblem(SoundLeaf(), true, "order", [](Bytes& p) { p[NodeAt(p, 1) + 8] = 'a'; });
  ExpectProblem(SoundLeaf(), true, "order", [](Bytes& p) { p[NodeAt(p, 1) + 8] = 'd'; });
  ExpectProblem(SoundBranch(), false, "order", [](Bytes& p) { p[NodeAt(p, 2) + 8] = 'k'; });
  ExpectProblem(SoundLeaf(), true, "unknown kind", [](Bytes& p) { p[NodeAt(p, 0) + 4] = 2; });
  ExpectProblem(SoundLeaf(), true, "unknown kind", [](Bytes& p) { p[NodeAt(p, 0) + 4] = 4; });
  for (uint64_t page : {uint64_t{0}, uint64_t{1}, kLastPage, kLastPage + 1, ~uint64_t{0}}) {
    ExpectProblem(SoundLeaf(), true, "overflow pages",
                  [=](Bytes& p) { Store(p, NodeAt(p, 2) + 9, page); });
  }
  for (uint32_t page : {0u, 1u, static_cast<uint32_t>(kLastPage) + 1, 0xffffffffu}) {
    ExpectProblem(SoundBranch(), false, "not in the file",
                  [=](Bytes& p) { Store(p, NodeAt(p, 1), page); });
  }
  ExpectProblem(SoundBranch(), false, "not in the file", [](Bytes& p) { p[NodeAt(p, 1) + 4] = 1; });

  EXPECT_NE(Problem(PageBuilder(2).Leaf("", "x").Take(), true), "");
  EXPECT_EQ(Problem(PageBuilder(2).Leaf(std::string(511, 'k'), "x").Take(), true), "");
  EXPECT_NE(Problem(PageBuilder(2).Leaf(std::string(512, 'k'), "x").Take(), true), "");
  // LMDB moves what is larger to overflow pages, and could not split a page of such nodes.
  EXPECT_EQ(Problem(PageBuilder(2).Leaf("k", std::string(2029, 'x')).Take(), true), "");
  EXPECT_NE(Problem(PageBuilder(2).Leaf("k", std::string(2030, 'x')).Take(), true), "");
}

TEST(LmdbPageTest, EachTreeHasItsOwnRules) {
  // The free list's keys are integers: 256 is after 1, although its first byte is smaller.
  Bytes list = PageBuilder(2).Leaf(U64Text(1), U64Text(0)).Leaf(U64Text(256), U64Text(0)).Take();
  EXPECT_EQ(Problem(list, true, LmdbTree::kFree), "");
  EXPECT_NE(Problem(list, true, LmdbTree::kTable), "");
  EXPECT_NE(Problem(SoundLeaf(), true, LmdbTree::kFree), "");

  Bytes directory = PageBuilder(2).Node("t", 48 | uint64_t{2} << 32, std::string(48, '\0')).Take();
  EXPECT_EQ(Problem(directory, true, LmdbTree::kDirectory), "");
  EXPECT_NE(Problem(directory, true, LmdbTree::kTable), "");
  EXPECT_NE(Problem(SoundLeaf(), true, LmdbTree::kDirectory), "");
}

Bytes Record(size_t size, uint8_t byte) {
  return Bytes(size, byte);
}

// A file that LMDB wrote, in memory, where it can be damaged.
class LmdbSnapshotTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kRecords = 3000;

  LmdbSnapshotTest() {
    auto env = Env::Open(Directory(), Env::Mode::kCreate).value();
    Write(*env, [](WriteTxn& txn) {
      for (uint64_t i = 0; i < kRecords; ++i) {
        // Every hundredth lies in overflow pages.
        CHECK(txn.Put(Table::kSecrets, TableKey(i), Record(i % 100 == 0 ? 9000 : 150, 1)));
      }
    });
    Write(*env, [](WriteTxn& txn) {
      for (uint64_t i = 0; i < kRecords; i += 3) CHECK(txn.Delete(Table::kSecrets, TableKey(i)));
    });
    txn_id_ = env->LastTxnId() + 1;
    std::ifstream file(Directory() + "/data.mdb", std::ios::binary);
    file_.assign(std::istreambuf_iterator<char>(file), {});
  }
  std::string Directory() {
    std::string path = directory_ / "store";
    (void)mkdir(path.c_str(), 0700);
    return path;
  }
  template <typename Change>
  static void Write(Env& env, const Change& change) {
    auto txn = WriteTxn::Begin(env).value();
    change(*txn);
    CHECK(txn->Commit());
  }
  // What is found wrong when the snapshot is opened, or else when the records are touched.
  std::string FindProblem() {
    LmdbSnapshot snapshot(file_, kPageBytes, txn_id_);
    auto checked = snapshot.Open();
    for (uint64_t i = 0; checked && i < kRecords; ++i) {
      checked = snapshot.CheckPut(TableName(Table::kSecrets), TableKey(i));
      if (checked && i % 7 == 0) {
        checked = snapshot.CheckDelete(TableName(Table::kSecrets), TableKey(i));
      }
    }
    return checked ? "" : checked.error().message;
  }
  size_t MetaAt() const { return (txn_id_ - 1) % 2 * kPageBytes; }
  size_t PageAt(uint64_t number) const { return number * kPageBytes; }
  // Of the last record of the leaf at `root`.
  size_t LastDataAt(size_t root) const {
    size_t keys = (Load<uint16_t>(file_, root + 12) - 16) / 2;
    size_t node = root + Load<uint16_t>(file_, root + 16 + 2 * (keys - 1));
    return node + 8 + Load<uint16_t>(file_, node + 6);
  }
  template <typename Integer>
  void ExpectProblemWith(size_t at, Integer value, const char* problem) {
    auto sound = Load<Integer>(file_, at);
    Store(file_, at, value);
    EXPECT_NE(FindProblem().find(problem), std::string::npos)
        << "wanted: " << problem << "; got: " << FindProblem();
    Store(file_, at, sound);
  }

  TempDirectory directory_;
  uint64_t txn_id_ = 0;
  Bytes file_;
};

TEST_F(LmdbSnapshotTest, WhatLmdbWroteIsSound) {
  EXPECT_EQ(FindProblem(), "");
}

TEST_F(LmdbSnapshotTest, ADamagedMetaPageIsRefused) {
  for (size_t field : {0, 10, 16, 20, 40, 144}) {
    ExpectProblemWith<uint8_t>(MetaAt() + field, file_[MetaAt() + field] ^ 1, "meta page");
  }
  ExpectProblemWith<uint64_t>(MetaAt() + 136, ~uint64_t{0}, "number of pages");
  ExpectProblemWith<uint64_t>(MetaAt() + 136, file_.size() / kPageBytes, "number of pages");
  ExpectProblemWith<uint64_t>(MetaAt() + 136, 4, "not in");
  for (size_t tree : {40, 88}) {
    ExpectProblemWith<uint16_t>(MetaAt() + tree + 4, 4, "root");  // DUPSORT
    ExpectProblemWith<uint16_t>(MetaAt() + tree + 6, 0, "root");  // Depth.
    ExpectProblemWith<uint16_t>(MetaAt() + tree + 6, 33, "root");
    ExpectProblemWith<uint16_t>(MetaAt() + tree + 6, 9, "kind");
    ExpectProblemWith<uint64_t>(MetaAt() + tree + 40, 1, "not in the file");
    ExpectProblemWith<uint64_t>(MetaAt() + tree + 40, ~uint64_t{0}, "root");
  }
}

TEST_F(LmdbSnapshotTest, ADamagedListOfFreePagesIsRefused) {
  // The last record's list, in overflow pages.
  size_t data = LastDataAt(PageAt(Load<uint64_t>(file_, MetaAt() + 40 + 40)));
  auto first = Load<uint64_t>(file_, data);
  if (first < kLastPage * kPageBytes && Load<uint16_t>(file_, PageAt(first) + 10) == 4) {
    data = PageAt(first) + 16;
  }
  auto count = Load<uint64_t>(file_, data);
  ASSERT_GT(count, 2u);
  ExpectProblemWith<uint64_t>(data, count + 4096, "wrong size");
  ExpectProblemWith<uint64_t>(data, ~uint64_t{0}, "wrong size");
  ExpectProblemWith<uint64_t>(data + 16, Load<uint64_t>(file_, data + 8), "not in order");
  ExpectProblemWith<uint64_t>(data + 8, ~uint64_t{0}, "not in order");
  ExpectProblemWith<uint64_t>(data + 8 * count, 1, "not in order");
}

TEST_F(LmdbSnapshotTest, ALivePageInTheListOfFreePagesIsRefused) {
  size_t root = PageAt(Load<uint64_t>(file_, MetaAt() + 40 + 40));
  size_t data = LastDataAt(root);
  auto first = Load<uint64_t>(file_, data);
  if (Load<uint64_t>(file_, data) * kPageBytes < file_.size() &&
      Load<uint16_t>(file_, PageAt(first) + 10) == 4) {
    data = PageAt(first) + 16;
  }
  int refused = 0;
  // Each free page's number in turn becomes the next lower one, where there is a gap.
  auto count = Load<uint64_t>(file_, data);
  for (uint64_t i = 1; i < count; ++i) {
    auto number = Load<uint64_t>(file_, data + 8 * i);
    if (Load<uint64_t>(file_, data + 8 * (i + 1)) + 1 >= number) continue;
    Store(file_, data + 8 * i, number - 1);
    refused += FindProblem().find("listed as free") != std::string::npos;
    Store(file_, data + 8 * i, number);
  }
  EXPECT_GT(refused, 0);
}

TEST_F(LmdbSnapshotTest, ADamagedOverflowPageIsRefused) {
  uint64_t found = 0;
  for (uint64_t page = 2; page < file_.size() / kPageBytes && found == 0; ++page) {
    const size_t at = PageAt(page);
    if (Load<uint16_t>(file_, at + 10) != 4 || Load<uint64_t>(file_, at) != page) continue;
    Store(file_, at + 10, uint16_t{2});
    if (!FindProblem().empty()) found = page;
    Store(file_, at + 10, uint16_t{4});
  }
  ASSERT_NE(found, 0u);
  ExpectProblemWith<uint64_t>(PageAt(found), found + 1, "overflow");
  ExpectProblemWith<uint32_t>(PageAt(found) + 12, 2, "overflow");
  ExpectProblemWith<uint32_t>(PageAt(found) + 12, 0xffffffff, "overflow");
}

// The table's root is a branch: its children exchanged, doubled, or another table's.
TEST_F(LmdbSnapshotTest, APageInAWrongPlaceIsRefused) {
  size_t directory = PageAt(Load<uint64_t>(file_, MetaAt() + 88 + 40));
  const std::string table = TableName(Table::kSecrets);
  auto name = std::search(file_.begin() + directory, file_.begin() + directory + kPageBytes,
                          table.begin(), table.end());
  const size_t db = name - file_.begin() + table.size();
  const auto depth = Load<uint16_t>(file_, db + 6);
  ASSERT_GE(depth, 2);
  ExpectProblemWith<uint16_t>(db + 4, 4, "root");
  ExpectProblemWith<uint16_t>(db + 6, depth - 1, "kind");
  ExpectProblemWith<uint16_t>(db + 6, depth + 1, "kind");
  const size_t root = PageAt(Load<uint64_t>(file_, db + 40));
  const size_t first = root + Load<uint16_t>(file_, root + 16);
  const size_t second = root + Load<uint16_t>(file_, root + 18);
  ExpectProblemWith<uint16_t>(first, Load<uint16_t>(file_, second), "belong elsewhere");
  ExpectProblemWith<uint16_t>(second, Load<uint16_t>(file_, first), "belong elsewhere");
  ExpectProblemWith<uint16_t>(first, static_cast<uint16_t>(Load<uint64_t>(file_, directory)),
                              "in use twice");
}

// What LMDB itself leaves behind must never be refused.
TEST(LmdbSnapshotPropertyTest, NoWriteToASoundStoreIsRefused) {
  TempDirectory directory;
  ASSERT_EQ(mkdir((directory / "store").c_str(), 0700), 0);
  auto env = Env::Open(directory / "store", Env::Mode::kCreate).value();
  std::map<Bytes, Bytes> expected;
  std::mt19937 any(1);
  for (int round = 0; round < 120; ++round) {
    auto txn = WriteTxn::Begin(*env);
    ASSERT_TRUE(txn) << txn.error().message;
    // Rounds that fill, rounds that empty, in order and at random, with large and small records.
    const int writes = 1 << any() % 11;
    const bool fill = round / 20 % 2 == 0;
    const bool in_order = any() % 2 == 0;
    uint64_t at = any() % 5000;
    for (int i = 0; i < writes; ++i) {
      at = in_order ? at + 1 : any() % 5000;
      Bytes key = TableKey(at);
      key.resize(8 + at % 9 * 30);
      if ((any() % 8 != 0) == fill) {
        Bytes value(any() % 20 == 0 ? any() % 20000 : any() % 300, 'v');
        auto put = (*txn)->Put(Table::kSecrets, key, value);
        ASSERT_TRUE(put) << put.error().message;
        expected[key] = value;
      } else {
        auto removed = (*txn)->Delete(Table::kSecrets, key);
        ASSERT_TRUE(removed) << removed.error().message;
        EXPECT_EQ(*removed, expected.erase(key) > 0);
      }
    }
    ASSERT_TRUE((*txn)->Commit());
  }
  ReadTxn reader(*env);
  for (const auto& [key, value] : expected) {
    EXPECT_EQ(reader.Get(Table::kSecrets, key).value(), value);
  }
}

}  // namespace
}  // namespace secretfs::store
