#include <algorithm>
#include <set>

#include "tests/fs/tree_fixture.h"

namespace secretfs::fs {
namespace {

using store::Action;
using Names = std::vector<std::string>;

class TreeDirectoryTest : public TreeTest {
 protected:
  // Reads a whole directory `count` entries at a time; `between` runs after each buffer.
  Names ListInPieces(uint64_t node, size_t count, const std::function<void()>& between = {}) {
    const uint64_t handle = tree_.OpenDirectory(As(kOwner), node).value();
    Names names;
    uint64_t cursor = 0;
    while (true) {
      const auto some = ReadSome(node, {handle, cursor, false}, count);
      if (!some || some->empty()) return names;
      for (const Listed& each : *some) names.push_back(each.name);
      cursor = some->back().cursor;
      if (between) between();
    }
  }
};

TEST_F(TreeDirectoryTest, DirectoriesListWhatTheLayoutSays) {
  service_.PutValue("prod/db/replica", {VersionId('4'), "r", {}});
  service_.PutValue("prod/db", {VersionId('3'), "x", {}}, {"AWSPENDING", "team/blue"});
  EXPECT_EQ(List(""), (Names{"_status", "_views", "prod"}));
  EXPECT_EQ(List("_views"), Names{});
  EXPECT_EQ(List("prod"), Names{"db"});
  EXPECT_EQ(List("prod/db"),
            (Names{"_value", "_keys", "_version", "_labels", "_versions", "_meta", "replica"}));
  EXPECT_EQ(List("prod/db/_labels"),
            (Names{"AWSCURRENT", "AWSPENDING", "AWSPREVIOUS", "team%2Fblue"}));
  EXPECT_EQ(List("prod/db/_versions"), (Names{VersionId('1'), VersionId('2'), VersionId('3')}));
  EXPECT_EQ(List("prod/db/_labels/AWSCURRENT"), (Names{"_value", "_keys", "_version"}));
  EXPECT_EQ(List("prod/db/_labels/AWSPREVIOUS"), (Names{"_value", "_version"}));
  EXPECT_EQ(List("prod/db/_keys"), (Names{"password", "user"}));
  EXPECT_EQ(List("prod/db/_versions/" + VersionId('2') + "/_keys"), (Names{"password", "user"}));
}

TEST_F(TreeDirectoryTest, ASecretWithoutValueListsMetadataOnly) {
  service_.AddSecret("empty");
  EXPECT_EQ(List("empty"), (Names{"_labels", "_versions", "_meta"}));
  service_.MarkForDeletion("empty");
  EXPECT_EQ(List("empty"), Names{});
}

TEST_F(TreeDirectoryTest, EveryListedNameResolvesToItsNode) {
  service_.PutValue("a//b", Json('5', {{"x/y", "1"}, {"", "2"}, {".", "3"}}),
                    {"AWSCURRENT", "l/m"});
  service_.PutValue("_y", {VersionId('6'), "y", {}});
  std::vector<uint64_t> pending{kRootNode};
  size_t files = 0;
  while (!pending.empty()) {
    const uint64_t directory = pending.back();
    pending.pop_back();
    const uint64_t handle = tree_.OpenDirectory(As(kOwner), directory).value();
    const auto bare = ReadSome(directory, {handle, 0, false}, 1000).value();
    const auto full = ReadSome(directory, {handle, 0, true}, 1000).value();
    ASSERT_EQ(bare.size(), full.size());
    for (size_t i = 0; i < full.size(); ++i) {
      EXPECT_EQ(bare[i].name, full[i].name);
      EXPECT_EQ(bare[i].cursor, full[i].cursor);
      EXPECT_EQ(bare[i].entry.node, full[i].entry.node);
      EXPECT_EQ(bare[i].entry.attributes.st_mode & S_IFMT,
                full[i].entry.attributes.st_mode & S_IFMT);
      if (full[i].name == "." || full[i].name == "..") continue;
      const auto found = tree_.Lookup(As(kOwner), directory, full[i].name);
      ASSERT_TRUE(found) << full[i].name;
      EXPECT_EQ(full[i].entry.node, found->node);
      EXPECT_EQ(full[i].entry.attributes.st_mode, found->attributes.st_mode);
      EXPECT_EQ(full[i].entry.attributes.st_size, found->attributes.st_size) << full[i].name;
      EXPECT_EQ(full[i].entry.attributes.st_ctim.tv_sec, found->attributes.st_ctim.tv_sec);
      EXPECT_EQ(full[i].entry.entry_seconds, found->entry_seconds);
      EXPECT_EQ(full[i].entry.attribute_seconds, found->attribute_seconds) << full[i].name;
      if (S_ISDIR(found->attributes.st_mode)) pending.push_back(found->node);
      files += S_ISREG(found->attributes.st_mode);
    }
  }
  EXPECT_EQ(files, 46u);
}

TEST_F(TreeDirectoryTest, DotsComeFirstAndNameTheParentWhereItIsKnown) {
  const uint64_t labels = NodeOf("prod/db/_labels");
  const auto listed = ReadSome(labels, {}, 2).value();
  EXPECT_EQ(listed[0].name, ".");
  EXPECT_EQ(listed[0].entry.node, labels);
  EXPECT_EQ(listed[1].name, "..");
  EXPECT_EQ(listed[1].entry.node, NodeOf("prod/db"));
  const uint64_t place = NodeOf("prod/db/_versions/" + VersionId('2'));
  EXPECT_EQ(ReadSome(place, {}, 2)->at(1).entry.node, NodeOf("prod/db/_versions"));
}

TEST_F(TreeDirectoryTest, ReaddirplusOfAPrefixLoadsNoSecret) {
  for (int i = 0; i < 100; ++i) {
    service_.PutValue("many/" + std::to_string(i), {VersionId('1'), "x", {}});
  }
  const uint64_t node = NodeOf("many");
  const auto calls = service_.calls();
  EXPECT_EQ(ReadSome(node, {0, 0, true}, 1000)->size(), 102u);
  EXPECT_LE(service_.calls() - calls, 3u);
  EXPECT_EQ(service_.decryptions(), 0u);
}

TEST_F(TreeDirectoryTest, CursorsArePositiveAndGrow) {
  for (const char* path : {"", "prod", "prod/db", "prod/db/_labels", "prod/db/_versions",
                           "prod/db/_keys", "prod/db/_labels/AWSCURRENT"}) {
    const uint64_t node = NodeOf(path);
    const uint64_t handle = tree_.OpenDirectory(As(kOwner), node).value();
    uint64_t last = 0;
    const auto listed = ReadSome(node, {handle, 0, false}, 1000).value();
    for (const Listed& each : listed) {
      EXPECT_GT(each.cursor, last) << path << "/" << each.name;
      EXPECT_LE(each.cursor, static_cast<uint64_t>(INT64_MAX));
      last = each.cursor;
    }
  }
}

TEST_F(TreeDirectoryTest, AnyCursorContinuesRightAfterItsEntry) {
  service_.PutValue("prod/db/x", {VersionId('4'), "r", {}});
  service_.PutValue("prod/db/y", {VersionId('4'), "r", {}});
  for (const char* path :
       {"", "prod/db", "prod/db/_labels", "prod/db/_versions", "prod/db/_keys"}) {
    const uint64_t node = NodeOf(path);
    const uint64_t handle = tree_.OpenDirectory(As(kOwner), node).value();
    const auto all = ReadSome(node, {handle, 0, false}, 1000).value();
    for (size_t i = 0; i < all.size(); ++i) {
      const auto rest = ReadSome(node, {handle, all[i].cursor, false}, 1000).value();
      ASSERT_EQ(rest.size(), all.size() - i - 1) << path << "/" << all[i].name;
      if (!rest.empty()) {
        EXPECT_EQ(rest[0].name, all[i + 1].name);
      }
    }
    for (size_t count = 1; count < 6; ++count) {
      EXPECT_EQ(ListInPieces(node, count).size(), all.size()) << path;
    }
  }
}

TEST_F(TreeDirectoryTest, LabelsThatComeAndGoDoNotMoveTheOthers) {
  const auto version = service_.PutValue("prod/db", {VersionId('3'), "x", {}}, {"b", "d", "f"});
  int round = 0;
  const auto names = ListInPieces(NodeOf("prod/db/_labels"), 1, [&] {
    if (++round == 2) service_.MoveLabel("prod/db", "a", version);
    if (round == 4) service_.MoveLabel("prod/db", "AWSPENDING", version);
    if (round == 5) service_.RemoveLabel("prod/db", "b");
  });
  for (const char* kept : {"AWSCURRENT", "AWSPREVIOUS", "d", "f", "a"}) {
    EXPECT_EQ(std::ranges::count(names, kept), 1) << kept;
  }
}

TEST_F(TreeDirectoryTest, AListingOfKeysIsOfOneVersion) {
  int round = 0;
  const auto names = ListInPieces(NodeOf("prod/db/_keys"), 1, [&] {
    if (++round == 3) service_.PutValue("prod/db", Json('3', {{"other", "x"}}));
  });
  EXPECT_EQ(names, (Names{".", "..", "password", "user"}));
  EXPECT_EQ(List("prod/db/_keys"), Names{"other"});
}

TEST_F(TreeDirectoryTest, KeysThatAreTooLongForAFileNameAreNotShown) {
  service_.PutValue("s", Json('3', {{std::string(255, 'k'), "1"},
                                    {std::string(256, 'k'), "2"},
                                    {std::string(86, '/'), "3"},
                                    {std::string(85, '/'), "4"}}));
  EXPECT_EQ(List("s/_keys")->size(), 2u);
}

TEST_F(TreeDirectoryTest, AHundredThousandChildrenAreListedOnceEachWhileOthersCome) {
  constexpr int kChildren = 100'000;
  for (int i = 0; i < kChildren; ++i) service_.AddSecret("big/secret-" + std::to_string(i));
  int added = 0;
  const auto names = ListInPieces(
      NodeOf("big"), 40, [&] { service_.AddSecret("big/new-" + std::to_string(added++)); });
  EXPECT_GT(added, kChildren / 40);
  std::set<std::string> distinct(names.begin(), names.end());
  EXPECT_EQ(distinct.size(), names.size()) << "nothing twice";
  const auto old = std::ranges::count_if(
      names, [](const std::string& name) { return name.starts_with("secret-"); });
  EXPECT_EQ(old, kChildren) << "nothing left out";
}

TEST_F(TreeDirectoryTest, ListingIsDecidedAndAudited) {
  using Audited = Fake::Audited;
  const auto one = [](Action action, const char* name) {
    return std::vector<Audited>{{action, 1000, name, "", "", true}};
  };
  ASSERT_TRUE(List("", 1000));
  EXPECT_EQ(service_.TakeAudited(), one(Action::kListSecrets, ""));
  ASSERT_TRUE(List("prod", 1000));
  EXPECT_EQ(service_.TakeAudited(), one(Action::kListSecrets, "prod"));
  ASSERT_TRUE(List("prod/db/_labels", 1000));
  EXPECT_EQ(service_.TakeAudited(), one(Action::kListSecretVersionIds, "prod/db"));
  ASSERT_TRUE(List("prod/db/_versions", 1000));
  EXPECT_EQ(service_.TakeAudited(), one(Action::kListSecretVersionIds, "prod/db"));
  ASSERT_TRUE(List("prod/db/_labels/AWSCURRENT", 1000));
  EXPECT_EQ(service_.TakeAudited(), one(Action::kListSecretVersionIds, "prod/db"));
  ASSERT_TRUE(List("prod/db/_keys", 1000));
  EXPECT_EQ(service_.TakeAudited(), one(Action::kGetSecretValue, "prod/db"));
  ASSERT_TRUE(List("_views", 1000));
  EXPECT_TRUE(service_.TakeAudited().empty());
}

TEST_F(TreeDirectoryTest, AStrangerListsOnlyThePublicPartOfTheRoot) {
  EXPECT_EQ(List("", kStranger), (Names{"_status", "_views"}));
  EXPECT_EQ(List("", kStranger, true), (Names{"_status", "_views"}));
  EXPECT_EQ(List("_views", kStranger), Names{});
  for (const char* path : {"prod", "prod/db", "prod/db/_keys", "prod/db/_labels",
                           "prod/db/_versions", "prod/db/_labels/AWSCURRENT"}) {
    EXPECT_EQ(CodeOf(List(path, kStranger)), Code::kPermissionDenied) << path;
  }
}

TEST_F(TreeDirectoryTest, KeyNamesArePartOfTheValue) {
  service_.Deny(1000, Action::kGetSecretValue);
  EXPECT_TRUE(List("prod/db", 1000));
  EXPECT_EQ(CodeOf(List("prod/db/_keys", 1000)), Code::kPermissionDenied);
  const uint64_t node = NodeOf("prod/db/_keys");
  const uint64_t handle = tree_.OpenDirectory(As(kOwner), node).value();
  EXPECT_EQ(CodeOf(ReadSome(node, {handle, 0, false}, 10, 1000)), Code::kPermissionDenied)
      << "also for a reader that was given the descriptor";
}

TEST_F(TreeDirectoryTest, AnOpenDirectoryStopsForThoseWhoMayNotListIt) {
  for (const char* path : {"prod", "prod/db", "prod/db/_labels", "prod/db/_versions",
                           "prod/db/_labels/AWSCURRENT", "prod/db/_keys"}) {
    const uint64_t node = NodeOf(path);
    const uint64_t handle = tree_.OpenDirectory(As(kOwner), node).value();
    EXPECT_TRUE(ReadSome(node, {handle, 0, false}, 10)) << path;
    service_.TakeAudited();
    EXPECT_EQ(CodeOf(ReadSome(node, {handle, 0, false}, 10, kStranger)), Code::kPermissionDenied)
        << path;
    EXPECT_EQ(service_.TakeAudited().size(), 1u) << path;
  }
  const uint64_t root = NodeOf("");
  const auto listed = ReadSome(root, {0, 0, false}, 10, kStranger).value();
  EXPECT_EQ(std::ranges::find(listed, "prod", &Listed::name), listed.end());
}

TEST_F(TreeDirectoryTest, WhoMayListButNotReadSeesBlankFiles) {
  service_.Deny(1000, Action::kGetSecretValue);
  const auto listed = ReadSome(NodeOf("prod/db"), {0, 0, true}, 100, 1000).value();
  const auto value = std::ranges::find(listed, "_value", &Listed::name);
  ASSERT_NE(value, listed.end());
  EXPECT_EQ(value->entry.attributes.st_mode, mode_t{S_IFREG});
  EXPECT_EQ(value->entry.attributes.st_size, 0);
}

TEST_F(TreeDirectoryTest, AFailingTrailIsNotAnEmptyDirectory) {
  service_.FailAudit(true);
  EXPECT_EQ(CodeOf(List("")), Code::kUnavailable);
  EXPECT_EQ(CodeOf(List("prod")), Code::kUnavailable);
}

TEST_F(TreeDirectoryTest, FilesAreNotListed) {
  EXPECT_EQ(CodeOf(tree_.OpenDirectory(As(kOwner), NodeOf("prod/db/_value"))),
            Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(ReadSome(NodeOf("prod/db/_meta"), {}, 1)), Code::kInvalidArgument);
}

}  // namespace
}  // namespace secretfs::fs
