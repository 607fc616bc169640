#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

#include "tests/fs/tree_fixture.h"

namespace secretfs::fs {
namespace {

class TreeLookupTest : public TreeTest {};

TEST_F(TreeLookupTest, EveryNameOfTheLayoutResolves) {
  service_.PutValue("prod/db", Json('3', {{"token", "t"}}), {"AWSPENDING", "blue"});
  std::vector<std::string> directories{"",        "_views",          "prod",
                                       "prod/db", "prod/db/_labels", "prod/db/_versions"};
  std::vector<std::string> files{"_status", "prod/db/_meta"};
  for (const std::string& place :
       {std::string("prod/db"), std::string("prod/db/_labels/AWSCURRENT"),
        std::string("prod/db/_labels/AWSPENDING"), std::string("prod/db/_labels/blue"),
        "prod/db/_versions/" + VersionId('2'), "prod/db/_versions/" + VersionId('3')}) {
    directories.push_back(place);
    directories.push_back(place + "/_keys");
    files.push_back(place + "/_value");
    files.push_back(place + "/_version");
  }
  directories.push_back("prod/db/_labels/AWSPREVIOUS");
  files.push_back("prod/db/_labels/AWSPREVIOUS/_value");
  files.push_back("prod/db/_keys/password");
  files.push_back("prod/db/_labels/blue/_keys/token");
  std::set<uint64_t> numbers;
  for (const std::string& path : directories) {
    const auto entry = Walk(path);
    ASSERT_TRUE(entry) << path;
    EXPECT_TRUE(S_ISDIR(entry->attributes.st_mode)) << path;
    EXPECT_EQ(entry->attributes.st_ino, entry->node) << path;
    numbers.insert(entry->node);
  }
  for (const std::string& path : files) {
    const auto entry = Walk(path);
    ASSERT_TRUE(entry) << path;
    EXPECT_TRUE(S_ISREG(entry->attributes.st_mode)) << path;
    EXPECT_EQ(entry->attributes.st_ino, entry->node) << path;
    numbers.insert(entry->node);
  }
  // "prod/db" was listed twice.
  EXPECT_EQ(numbers.size(), directories.size() + files.size() - 1);
}

TEST_F(TreeLookupTest, NamesResolveForThoseWhoMayReadNothing) {
  for (const char* path : {"_status", "prod", "prod/db/_value", "prod/db/_keys/password",
                           "prod/db/_meta", "prod/db/_labels/AWSPREVIOUS/_version"}) {
    const auto seen = Walk(path, kStranger);
    ASSERT_TRUE(seen) << path;
    EXPECT_EQ(seen->node, NodeOf(path));
  }
  EXPECT_TRUE(service_.TakeAudited().empty()) << "a lookup is not an access";
}

TEST_F(TreeLookupTest, AbsentNamesAreNotFound) {
  for (const char* path : {"nosuch",
                           "_value",
                           "_keys",
                           "_meta",
                           "_labels",
                           "_secret",
                           "prod/nosuch",
                           "prod/_value",
                           "prod/_meta",
                           "prod/_labels",
                           "prod/db/_nosuch",
                           "prod/db/_status",
                           "prod/db/_keys/nosuch",
                           "prod/db/_keys/AWSCURRENT",
                           "prod/db/_labels/nosuch",
                           "prod/db/_labels/AWSPENDING",
                           "prod/db/_labels/AWSPREVIOUS/_keys",
                           "prod/db/_labels/AWSCURRENT/_meta",
                           "prod/db/_versions/1",
                           "_views/x",
                           ".",
                           "..",
                           "",
                           "prod/%64b",
                           "prod/db/_keys/%70assword"}) {
    EXPECT_EQ(CodeOf(Walk(path)), *path ? std::optional(Code::kNotFound) : std::nullopt) << path;
  }
}

TEST_F(TreeLookupTest, ANameLongerThanAFileNameIsNotFound) {
  service_.PutValue("long", Json('3', {{std::string(256, 'k'), "x"}, {"k", "y"}}));
  EXPECT_EQ(CodeOf(Walk("long/_keys/" + std::string(256, 'k'))), Code::kNotFound);
  EXPECT_TRUE(Walk("long/_keys/k"));
}

TEST_F(TreeLookupTest, AKeyOfAnotherVersionIsNotFound) {
  service_.PutValue("prod/db", Json('3', {{"user", "joe"}}));
  EXPECT_EQ(CodeOf(Walk("prod/db/_keys/password")), Code::kNotFound);
  EXPECT_TRUE(Walk("prod/db/_labels/AWSPREVIOUS/_keys/password"));
}

TEST_F(TreeLookupTest, ASecretWithoutValueHasMetadataOnly) {
  service_.AddSecret("empty");
  EXPECT_TRUE(Walk("empty/_meta"));
  EXPECT_TRUE(Walk("empty/_labels"));
  EXPECT_TRUE(Walk("empty/_versions"));
  EXPECT_EQ(CodeOf(Walk("empty/_value")), Code::kNotFound);
  EXPECT_EQ(CodeOf(Walk("empty/_version")), Code::kNotFound);
  EXPECT_EQ(CodeOf(Walk("empty/_keys")), Code::kNotFound);
}

TEST_F(TreeLookupTest, ASecretMarkedForDeletionIsAPrefix) {
  service_.MarkForDeletion("prod/db");
  EXPECT_TRUE(Walk("prod/db"));
  EXPECT_EQ(CodeOf(Walk("prod/db/_value")), Code::kNotFound);
  EXPECT_EQ(CodeOf(Walk("prod/db/_meta")), Code::kNotFound);
}

TEST_F(TreeLookupTest, AwkwardNamesHaveTheirEscapedPaths) {
  const std::vector<std::pair<std::string, std::string>> paths{
      {"a//b", "a/%/b"},          {"/lead", "%/lead"}, {"trail/", "trail/%"}, {"x/..", "x/%2E%2E"},
      {"x/.", "x/%2E"},           {"_y", "%5Fy"},      {".", "%2E"},          {"..", "%2E%2E"},
      {"z/_value", "z/%5Fvalue"}, {"x/...", "x/..."},  {"a_b/c", "a_b/c"},    {"@=+!-", "@=+!-"},
  };
  for (const auto& [name, path] : paths) service_.PutValue(name, {VersionId('7'), name, {}});
  for (const auto& [name, path] : paths) {
    EXPECT_EQ(Read(path + "/_value").value_or("none"), name) << path;
  }
  EXPECT_EQ(CodeOf(Walk("_y")), Code::kNotFound);
}

TEST_F(TreeLookupTest, AwkwardKeysAndLabelsHaveTheirEscapedPaths) {
  service_.PutValue("s",
                    Json('3', {{"a/b", "slash"},
                               {"", "empty"},
                               {"..", "dots"},
                               {"50%", "percent"},
                               {"_x", "under"},
                               {"tab\t", "tab"}}),
                    {"AWSCURRENT", "team/blue"});
  EXPECT_EQ(Read("s/_keys/a%2Fb"), "slash");
  EXPECT_EQ(Read("s/_keys/%"), "empty");
  EXPECT_EQ(Read("s/_keys/%2E%2E"), "dots");
  EXPECT_EQ(Read("s/_keys/50%25"), "percent");
  EXPECT_EQ(Read("s/_keys/_x"), "under");
  EXPECT_EQ(Read("s/_keys/tab%09"), "tab");
  EXPECT_EQ(Read("s/_labels/team%2Fblue/_keys/a%2Fb"), "slash");
}

TEST_F(TreeLookupTest, NodesOfWhatIsGoneAreStale) {
  const auto version = service_.PutValue("prod/db", {VersionId('3'), "x", {}}, {"blue"});
  const uint64_t path = NodeOf("prod/db");
  const uint64_t label = NodeOf("prod/db/_labels/blue");
  const uint64_t label_value = NodeOf("prod/db/_labels/blue/_value");
  const uint64_t version_place = NodeOf("prod/db/_versions/" + VersionId('3'));
  const uint64_t keys = NodeOf("prod/db/_keys");
  const uint64_t key = NodeOf("prod/db/_keys/password");
  const auto expect_stale = [&](uint64_t node) {
    EXPECT_EQ(CodeOf(tree_.GetAttributes(As(kOwner), node, {})), Code::kStale) << node;
    const auto id = NodeId::Decode(node);
    if (id->IsDirectory()) {
      EXPECT_EQ(CodeOf(tree_.Lookup(As(kOwner), node, "_value")), Code::kStale) << node;
      EXPECT_EQ(CodeOf(tree_.OpenDirectory(As(kOwner), node)), Code::kStale) << node;
    } else {
      EXPECT_EQ(CodeOf(tree_.Open(As(kOwner), node)), Code::kStale) << node;
    }
  };

  service_.RemoveLabel("prod/db", "blue");
  expect_stale(label);
  expect_stale(label_value);
  service_.MoveLabel("prod/db", "blue", version);
  EXPECT_NE(NodeOf("prod/db/_labels/blue"), label) << "an id is never given twice";
  expect_stale(label);
  service_.DestroyVersion("prod/db", version);
  expect_stale(version_place);
  service_.PutValue("prod/db", {VersionId('4'), "no longer JSON", {}});
  expect_stale(keys);
  expect_stale(key);
  service_.DestroySecret("prod/db");
  expect_stale(path);
  service_.PutValue("prod/db", {VersionId('5'), "made anew", {}});
  expect_stale(path);
  EXPECT_EQ(Read("prod/db/_value"), "made anew");
}

TEST_F(TreeLookupTest, NumbersThatAreNoNodesAreStale) {
  for (const uint64_t node : {uint64_t{0}, uint64_t{2}, ~uint64_t{0}}) {
    EXPECT_EQ(CodeOf(tree_.Lookup(As(kOwner), node, "x")), Code::kStale);
    EXPECT_EQ(CodeOf(tree_.GetAttributes(As(kOwner), node, {})), Code::kStale);
    EXPECT_EQ(CodeOf(tree_.Open(As(kOwner), node)), Code::kStale);
    EXPECT_EQ(CodeOf(tree_.Read(As(kOwner), node, 0, {0, 1})), Code::kStale);
    EXPECT_EQ(CodeOf(tree_.OpenDirectory(As(kOwner), node)), Code::kStale);
    EXPECT_EQ(CodeOf(ReadSome(node, {}, 1)), Code::kStale);
    EXPECT_EQ(CodeOf(tree_.CheckAccess(As(kOwner), node, 4)), Code::kStale);
    EXPECT_EQ(CodeOf(tree_.GetXattr(As(kOwner), node, "user.secretfs.arn")), Code::kStale);
    EXPECT_EQ(CodeOf(tree_.ListXattr(As(kOwner), node)), Code::kStale);
  }
}

// A name of AWS's alphabet, short enough to collide and awkward enough to need escapes.
rc::Gen<std::string> AnyName() {
  return rc::gen::suchThat(
      rc::gen::container<std::string>(rc::gen::element('a', 'b', '/', '.', '_', '-')),
      [](const std::string& name) { return !name.empty() && name.size() <= 12; });
}

std::string PathOf(const std::string& name) {
  std::string path, component;
  for (const char byte : name + "/") {
    if (byte != '/') {
      component += byte;
      continue;
    }
    path += (path.empty() ? "" : "/") + store::EscapeNameComponent(component);
    component.clear();
  }
  return path;
}

RC_GTEST_FIXTURE_PROP(TreeLookupTest, APathNeverMovesWhenOthersComeAndGo, ()) {
  const std::string name = *AnyName();
  service_.PutValue(name, {VersionId('9'), name, {}});
  const auto before = Walk(PathOf(name) + "/_value");
  RC_ASSERT(before.has_value());
  for (const std::string& other : *rc::gen::container<std::vector<std::string>>(AnyName())) {
    if (other == name) continue;
    if (*rc::gen::arbitrary<bool>()) {
      service_.PutValue(other, {VersionId('8'), other, {}});
      RC_ASSERT(Read(PathOf(other) + "/_value").value() == other);
    } else {
      service_.DestroySecret(other);
    }
    const auto after = Walk(PathOf(name) + "/_value");
    RC_ASSERT(after.has_value());
    RC_ASSERT(after->node == before->node);
    RC_ASSERT(Read(PathOf(name) + "/_value").value() == name);
  }
}

}  // namespace
}  // namespace secretfs::fs
