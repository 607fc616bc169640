#include <algorithm>

#include "tests/fs/tree_fixture.h"

namespace secretfs::fs {
namespace {

using Names = std::vector<std::string>;

class TreeXattrTest : public TreeTest {
 protected:
  Result<std::string> Get(std::string_view path, std::string_view name, uint32_t uid = kOwner) {
    return tree_.GetXattr(As(uid), NodeOf(path), name);
  }
  Result<Names> ListNames(std::string_view path, uint32_t uid = kOwner) {
    return tree_.ListXattr(As(uid), NodeOf(path));
  }
};

TEST_F(TreeXattrTest, FilesSayWhatTheyAre) {
  for (const char* path : {"prod/db/_value", "prod/db/_keys/user", "prod/db/_version",
                           "prod/db/_meta", "prod/db", "prod/db/_labels/AWSCURRENT/_value"}) {
    EXPECT_EQ(Get(path, "user.secretfs.arn"),
              "arn:aws:secretsmanager:local-1:000000000000:secret:prod/db-AbCdEf");
    EXPECT_EQ(Get(path, "user.secretfs.name"), "prod/db") << path;
    EXPECT_EQ(Get(path, "user.secretfs.version"), VersionId('2')) << path;
    EXPECT_EQ(Get(path, "user.secretfs.labels"), "AWSCURRENT") << path;
    EXPECT_EQ(Get(path, "user.secretfs.kms_key"), "00000000-0000-0000-0000-000000000000");
  }
}

TEST_F(TreeXattrTest, VersionAndLabelsAreThoseOfThePlace) {
  service_.PutValue("prod/db", {VersionId('3'), "x", {}}, {"AWSPENDING", "blue"});
  EXPECT_EQ(Get("prod/db/_labels/AWSPENDING/_value", "user.secretfs.version"), VersionId('3'));
  EXPECT_EQ(Get("prod/db/_labels/AWSPENDING/_value", "user.secretfs.labels"), "AWSPENDING,blue");
  EXPECT_EQ(Get("prod/db/_versions/" + VersionId('1') + "/_value", "user.secretfs.labels"),
            "AWSPREVIOUS");
}

TEST_F(TreeXattrTest, OtherNamesAreAnsweredWithoutTheStore) {
  const uint64_t node = NodeOf("prod/db/_value");
  const auto calls = service_.calls();
  for (const char* name : {"security.selinux", "system.posix_acl_access", "security.capability",
                           "user.secretfs", "user.other", "user.secretfs.nosuch", ""}) {
    EXPECT_EQ(CodeOf(tree_.GetXattr(As(kOwner), node, name)), Code::kNotFound) << name;
  }
  EXPECT_EQ(service_.calls(), calls);
  EXPECT_TRUE(service_.TakeAudited().empty());
}

TEST_F(TreeXattrTest, GettingIsDecidedAndAuditedAndListingIsNot) {
  ASSERT_TRUE(ListNames("prod/db/_value"));
  EXPECT_TRUE(service_.TakeAudited().empty());
  ASSERT_TRUE(Get("prod/db/_value", "user.secretfs.arn"));
  const auto audited = service_.TakeAudited();
  ASSERT_EQ(audited.size(), 1u);
  EXPECT_EQ(audited[0].action, store::Action::kDescribeSecret);
  EXPECT_EQ(CodeOf(Get("prod/db/_value", "user.secretfs.arn", kStranger)), Code::kPermissionDenied);
  EXPECT_FALSE(service_.TakeAudited().at(0).allowed);
}

TEST_F(TreeXattrTest, NamesAreListedForThoseWhoMayDescribe) {
  EXPECT_EQ(ListNames("prod/db/_value"),
            (Names{"user.secretfs.arn", "user.secretfs.name", "user.secretfs.version",
                   "user.secretfs.labels", "user.secretfs.kms_key"}));
  EXPECT_EQ(ListNames("prod/db/_value", kStranger), Names{});
}

TEST_F(TreeXattrTest, EveryListedNameCanBeGot) {
  service_.AddSecret("empty");
  for (const char* path : {"", "_status", "_views", "prod", "prod/db", "prod/db/_labels", "empty",
                           "empty/_meta", "prod/db/_keys"}) {
    const auto names = ListNames(path);
    ASSERT_TRUE(names) << path;
    for (const std::string& name : *names) EXPECT_TRUE(Get(path, name)) << path << " " << name;
  }
  EXPECT_EQ(ListNames("empty")->size(), 3u);
  EXPECT_EQ(ListNames("prod"), Names{}) << "no secret";
  EXPECT_EQ(ListNames("_status"), Names{});
  EXPECT_EQ(CodeOf(Get("prod", "user.secretfs.arn")), Code::kNotFound);
  EXPECT_EQ(CodeOf(Get("empty", "user.secretfs.version")), Code::kNotFound);
}

}  // namespace
}  // namespace secretfs::fs
