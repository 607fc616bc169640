#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/fs/tree_fixture.h"

namespace secretfs::fs {
namespace {

class TreeChangesTest : public TreeTest {
 protected:
  // The paths of the files that a change of prod/db at `at` altered; each must be what its path
  // leads to.
  std::set<std::string> Changed(store::ChangeKind kind, TimeMs at) {
    const store::PathId path = NodeId::Decode(NodeOf("prod/db"))->id;
    std::set<std::string> paths;
    const auto files = tree_.FilesChangedBy({1, path, kind, at});
    EXPECT_TRUE(files);
    for (const ShownFile& file : *files) {
      EXPECT_EQ(file.node, NodeOf(file.path)) << file.path;
      EXPECT_EQ(file.directory, NodeOf(file.path.substr(0, file.path.rfind('/')))) << file.path;
      paths.insert(file.path);
    }
    return paths;
  }
};

TEST_F(TreeChangesTest, ALabelsMoveChangesWhatItShows) {
  const TimeMs before = clock_.NowMs() - 60'000;
  EXPECT_EQ(Changed(store::ChangeKind::kLabelsMoved, before),
            (std::set<std::string>{
                "prod/db/_meta", "prod/db/_value", "prod/db/_version", "prod/db/_keys/password",
                "prod/db/_keys/user", "prod/db/_labels/AWSCURRENT/_value",
                "prod/db/_labels/AWSCURRENT/_version", "prod/db/_labels/AWSCURRENT/_keys/password",
                "prod/db/_labels/AWSCURRENT/_keys/user", "prod/db/_labels/AWSPREVIOUS/_value",
                "prod/db/_labels/AWSPREVIOUS/_version"}));
}

TEST_F(TreeChangesTest, LabelsThatStayedShowWhatTheyShowed) {
  clock_.Advance(1000);
  const store::SelectorId held = service_.PutValue("prod/db", {VersionId('3'), "x", {}}, {"blue"});
  EXPECT_NE(held, 0u);
  EXPECT_EQ(Changed(store::ChangeKind::kLabelsMoved, clock_.NowMs()),
            (std::set<std::string>{"prod/db/_meta", "prod/db/_labels/blue/_value",
                                   "prod/db/_labels/blue/_version"}));
}

TEST_F(TreeChangesTest, AKeysStateChangesWhatEveryLabelShows) {
  const TimeMs before = clock_.NowMs() - 60'000;
  const std::set<std::string> all = Changed(store::ChangeKind::kLabelsMoved, before);
  clock_.Advance(1000);
  EXPECT_EQ(Changed(store::ChangeKind::kKeyState, clock_.NowMs()), all);
}

TEST_F(TreeChangesTest, MetadataChangesMetaAlone) {
  EXPECT_EQ(Changed(store::ChangeKind::kMetadata, 0), (std::set<std::string>{"prod/db/_meta"}));
}

TEST_F(TreeChangesTest, ADestroyedSecretHasNobodyToTell) {
  const store::PathId path = NodeId::Decode(NodeOf("prod/db"))->id;
  service_.DestroySecret("prod/db");
  EXPECT_TRUE(tree_.FilesChangedBy({1, path, store::ChangeKind::kRemoved, 0})->empty());
}

TEST_F(TreeChangesTest, AnOpenFileIsOutdatedWhenItsPathShowsAnother) {
  const uint64_t node = NodeOf("prod/db/_value");
  const uint64_t handle = tree_.Open(As(kOwner), node)->handle;
  EXPECT_FALSE(tree_.IsOutdated(node, handle));
  service_.PutValue("prod/db", {VersionId('3'), "x", {}});
  EXPECT_TRUE(tree_.IsOutdated(node, handle));
  const uint64_t fixed = NodeOf("prod/db/_versions/" + VersionId('1') + "/_value");
  EXPECT_FALSE(tree_.IsOutdated(fixed, tree_.Open(As(kOwner), fixed)->handle));
}

}  // namespace
}  // namespace secretfs::fs
