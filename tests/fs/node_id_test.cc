#include "fs/node_id.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

namespace secretfs::fs {
namespace {

constexpr uint64_t kIdMax = store::kPathIdMax;

std::vector<NodeId> EveryShape(uint64_t id, store::KeySlot key) {
  std::vector<NodeId> nodes{
      {},
      {.kind = NodeKind::kStatus},
      {.kind = NodeKind::kViews},
  };
  for (const NodeKind kind :
       {NodeKind::kPath, NodeKind::kMeta, NodeKind::kLabels, NodeKind::kVersions}) {
    nodes.push_back(NodeId::OfPath(kind, id));
  }
  for (int place = 0; place <= static_cast<int>(Place::kVersion); ++place) {
    for (int member = 0; member <= static_cast<int>(Member::kKey); ++member) {
      if (place == 0 && member == 0) continue;
      auto node = NodeId::OfTriple(static_cast<Place>(place), static_cast<Member>(member), id);
      if (node.member == Member::kKey) node.key = key;
      nodes.push_back(node);
    }
  }
  return nodes;
}

TEST(NodeIdTest, RootIsTheNumberThatTheKernelKnows) {
  EXPECT_EQ(NodeId{}.Encode(), 1u);
  EXPECT_EQ(NodeId::Decode(1), NodeId{});
}

// The kernel keeps them across restarts and upgrades: a change of these numbers breaks running
// mounts.
TEST(NodeIdTest, NumbersAreTheOnesThatWereReleased) {
  EXPECT_EQ(NodeId{.kind = NodeKind::kStatus}.Encode(), 0x0400000000000000u);
  EXPECT_EQ(NodeId{.kind = NodeKind::kViews}.Encode(), 0x0800000000000000u);
  EXPECT_EQ(NodeId::OfPath(NodeKind::kPath, 2).Encode(), 0x0C00000002000000u);
  EXPECT_EQ(NodeId::OfPath(NodeKind::kMeta, 2).Encode(), 0x1000000002000000u);
  EXPECT_EQ(NodeId::OfTriple(Place::kSecret, Member::kValue, 2).Encode(), 0x2400000002000000u);
  EXPECT_EQ(NodeId::OfTriple(Place::kCurrent, Member::kDirectory, 2).Encode(), 0x3400000002000000u);
  NodeId key = NodeId::OfTriple(Place::kVersion, Member::kKey, 3);
  key.key = 5;
  EXPECT_EQ(key.Encode(), 0x9400000003000005u);
}

TEST(NodeIdTest, ShapesOfOneIdHaveDifferentNumbers) {
  std::set<uint64_t> numbers;
  const auto nodes = EveryShape(kIdMax, store::kKeySlotMax);
  for (const NodeId& node : nodes) numbers.insert(node.Encode());
  EXPECT_EQ(numbers.size(), nodes.size());
}

RC_GTEST_PROP(NodeIdTest, DecodeGivesBackWhatWasEncoded, ()) {
  const auto id = *rc::gen::inRange<uint64_t>(store::kRootPath + 1, kIdMax + 1);
  const auto key = *rc::gen::inRange<store::KeySlot>(1, store::kKeySlotMax + 1);
  for (const NodeId& node : EveryShape(id, key)) RC_ASSERT(NodeId::Decode(node.Encode()) == node);
}

RC_GTEST_PROP(NodeIdTest, ANumberIsUnknownOrEncodesToItself, ()) {
  const auto kind = *rc::gen::inRange<uint64_t>(0, 64);
  const auto id = *rc::gen::element<uint64_t>(0, 1, 2, 77, kIdMax);
  const auto key = *rc::gen::element<uint64_t>(0, 1, store::kKeySlotMax);
  const uint64_t number = kind << 58 | id << 24 | key;
  const auto node = NodeId::Decode(number);
  if (node) RC_ASSERT(node->Encode() == number);
}

TEST(NodeIdTest, DecodeRefusesWhatEncodeNeverGives) {
  const auto path = uint64_t{2} << 24;
  EXPECT_FALSE(NodeId::Decode(0));
  EXPECT_FALSE(NodeId::Decode(2));
  EXPECT_FALSE(NodeId::Decode(uint64_t{1} << 58 | path)) << "_status of a path";
  EXPECT_FALSE(NodeId::Decode(uint64_t{3} << 58)) << "path 0";
  EXPECT_FALSE(NodeId::Decode(uint64_t{3} << 58 | uint64_t{1} << 24)) << "the root path";
  EXPECT_FALSE(NodeId::Decode(uint64_t{3} << 58 | path | 1)) << "a path with a key";
  EXPECT_FALSE(NodeId::Decode(uint64_t{7} << 58 | path)) << "a kind that is not given";
  EXPECT_FALSE(NodeId::Decode(uint64_t{8} << 58 | path)) << "the secret's place has no directory";
  EXPECT_FALSE(NodeId::Decode(uint64_t{9} << 58 | path | 1)) << "a value with a key";
  EXPECT_FALSE(NodeId::Decode(uint64_t{12} << 58 | path)) << "a key's file without a key";
  EXPECT_FALSE(NodeId::Decode(uint64_t{38} << 58 | path)) << "past the last place";
  EXPECT_FALSE(NodeId::Decode(~uint64_t{0}));
}

TEST(NodeIdTest, DirectoriesAreTold) {
  EXPECT_TRUE(NodeId{}.IsDirectory());
  EXPECT_TRUE(NodeId::OfPath(NodeKind::kLabels, 2).IsDirectory());
  EXPECT_TRUE(NodeId::OfTriple(Place::kSecret, Member::kKeys, 2).IsDirectory());
  EXPECT_FALSE(NodeId::OfPath(NodeKind::kMeta, 2).IsDirectory());
  EXPECT_FALSE(NodeId::OfTriple(Place::kCurrent, Member::kValue, 2).IsDirectory());
}

RC_GTEST_PROP(ValueHandleTest, DecodeGivesBackWhatWasEncoded, ()) {
  const auto version = *rc::gen::inRange<uint64_t>(0, store::kSelectorIdMax + 1);
  const auto size = *rc::gen::inRange<uint32_t>(0, 1 << 20);
  const auto handle = ValueHandle::Decode(ValueHandle{version, size}.Encode());
  RC_ASSERT(handle.version == version);
  RC_ASSERT(handle.size_bytes == size);
}

}  // namespace
}  // namespace secretfs::fs
