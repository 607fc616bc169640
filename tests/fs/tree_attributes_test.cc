#include <unistd.h>

#include "tests/fs/tree_fixture.h"

namespace secretfs::fs {
namespace {

constexpr TimeMs kStart = 1'704'067'200'000;  // Of the fake clock.

class TreeAttributesTest : public TreeTest {
 protected:
  TimeMs ModifiedAt(const Entry& entry) {
    return entry.attributes.st_mtim.tv_sec * 1000 + entry.attributes.st_mtim.tv_nsec / 1'000'000;
  }
  TimeMs ChangedAt(const Entry& entry) {
    return entry.attributes.st_ctim.tv_sec * 1000 + entry.attributes.st_ctim.tv_nsec / 1'000'000;
  }
};

TEST_F(TreeAttributesTest, DirectoriesLookTheSameToEveryone) {
  for (const char* path : {"", "_views", "prod", "prod/db", "prod/db/_keys", "prod/db/_labels",
                           "prod/db/_labels/AWSCURRENT", "prod/db/_versions"}) {
    for (const uint32_t uid : {kOwner, 1000u, kStranger}) {
      const auto entry = Walk(path, uid);
      ASSERT_TRUE(entry) << path;
      EXPECT_EQ(entry->attributes.st_mode, mode_t{S_IFDIR | 0555}) << path;
      EXPECT_EQ(entry->attributes.st_uid, 0u);
      EXPECT_EQ(entry->attributes.st_gid, 0u);
      EXPECT_EQ(entry->attributes.st_nlink, 2u);
      EXPECT_EQ(entry->attributes.st_size, 0);
      EXPECT_EQ(ModifiedAt(*entry), kStart) << path;
    }
  }
}

TEST_F(TreeAttributesTest, AReaderIsTheOwnerOfWhatItMayRead) {
  for (const char* path : {"prod/db/_value", "prod/db/_version", "prod/db/_meta",
                           "prod/db/_keys/user", "prod/db/_labels/AWSPREVIOUS/_value"}) {
    const auto entry = Walk(path, 1000);
    ASSERT_TRUE(entry) << path;
    EXPECT_EQ(entry->attributes.st_mode, mode_t{S_IFREG | 0400}) << path;
    EXPECT_EQ(entry->attributes.st_uid, 1000u);
    EXPECT_EQ(entry->attributes.st_gid, 1001u);
    EXPECT_EQ(entry->attributes.st_nlink, 1u);
    EXPECT_EQ(entry->attributes.st_blksize, 4096);
    EXPECT_EQ(entry->attributes.st_blocks, 1);
    EXPECT_EQ(entry->attributes.st_size, static_cast<off_t>(Read(path, 1000)->size())) << path;
  }
}

TEST_F(TreeAttributesTest, LargeFilesAreToBeReadAtOnce) {
  service_.PutValue("fits", {VersionId('3'), std::string(4096, 'x'), {}});
  service_.PutValue("large", {VersionId('4'), std::string(4097, 'x'), {}});
  EXPECT_EQ(Walk("fits/_value", 1000)->attributes.st_blksize, 4096);
  EXPECT_EQ(Walk("large/_value", 1000)->attributes.st_blksize, 65536);
  EXPECT_EQ(Walk("large/_version", 1000)->attributes.st_blksize, 4096);
  EXPECT_EQ(Walk("large/_value", kStranger)->attributes.st_blksize, 4096);
}

TEST_F(TreeAttributesTest, OthersSeeNothingOfAFile) {
  for (const char* path : {"prod/db/_value", "prod/db/_version", "prod/db/_meta",
                           "prod/db/_keys/user", "prod/db/_labels/AWSPREVIOUS/_value"}) {
    const auto entry = Walk(path, kStranger);
    ASSERT_TRUE(entry) << path;
    EXPECT_EQ(entry->attributes.st_mode, mode_t{S_IFREG}) << path;
    EXPECT_EQ(entry->attributes.st_uid, 0u);
    EXPECT_EQ(entry->attributes.st_gid, 0u);
    EXPECT_EQ(entry->attributes.st_size, 0);
    EXPECT_EQ(entry->attributes.st_blocks, 0);
    EXPECT_EQ(ModifiedAt(*entry), 0);
    EXPECT_EQ(ChangedAt(*entry), 0);
  }
}

TEST_F(TreeAttributesTest, ReadingAndDescribingAreDecidedApart) {
  service_.Deny(1000, store::Action::kGetSecretValue);
  service_.Deny(1001, store::Action::kDescribeSecret);
  EXPECT_EQ(Walk("prod/db/_value", 1000)->attributes.st_mode, mode_t{S_IFREG});
  EXPECT_EQ(Walk("prod/db/_keys/user", 1000)->attributes.st_mode, mode_t{S_IFREG});
  EXPECT_EQ(Walk("prod/db/_version", 1000)->attributes.st_mode, mode_t{S_IFREG | 0400});
  EXPECT_EQ(Walk("prod/db/_meta", 1000)->attributes.st_mode, mode_t{S_IFREG | 0400});
  EXPECT_EQ(Walk("prod/db/_value", 1001)->attributes.st_mode, mode_t{S_IFREG | 0400});
  EXPECT_EQ(Walk("prod/db/_version", 1001)->attributes.st_mode, mode_t{S_IFREG});
  EXPECT_EQ(Walk("prod/db/_meta", 1001)->attributes.st_mode, mode_t{S_IFREG});
}

TEST_F(TreeAttributesTest, StatusIsPublic) {
  for (const uint32_t uid : {kOwner, kStranger}) {
    const auto entry = Walk("_status", uid);
    EXPECT_EQ(entry->attributes.st_mode, mode_t{S_IFREG | 0444});
    EXPECT_EQ(entry->attributes.st_uid, 0u);
    EXPECT_EQ(entry->attributes.st_size, static_cast<off_t>(status_.size()));
  }
}

TEST_F(TreeAttributesTest, TimesAreTheVersionsMakingAndTheLabelsMove) {
  const TimeMs made_at = clock_.NowMs() + 1234;
  clock_.Set(made_at);
  const auto pending = service_.PutValue("prod/db", {VersionId('3'), "x", {}}, {"AWSPENDING"});
  clock_.Advance(5000);
  service_.MoveLabel("prod/db", "AWSCURRENT", pending);
  const auto value = Walk("prod/db/_value");
  EXPECT_EQ(ModifiedAt(*value), made_at);
  EXPECT_EQ(ChangedAt(*value), made_at + 5000);
  const auto version = Walk("prod/db/_versions/" + VersionId('3') + "/_value");
  EXPECT_EQ(ModifiedAt(*version), made_at);
  EXPECT_EQ(ChangedAt(*version), made_at) << "a version does not change";
  EXPECT_EQ(ModifiedAt(*Walk("prod/db/_meta")), made_at + 5000);
}

TEST_F(TreeAttributesTest, NamesOfFilesAreNeverCachedAndThoseOfDirectoriesLong) {
  for (const char* path : {"_status", "prod/db/_value", "prod/db/_meta", "prod/db/_keys/user"}) {
    EXPECT_EQ(Walk(path)->entry_seconds, 0) << path;
  }
  for (const char* path : {"_views", "prod", "prod/db/_keys", "prod/db/_labels/AWSCURRENT"}) {
    EXPECT_EQ(Walk(path)->entry_seconds, 60) << path;
  }
}

// So that a stat() of one that is gone asks, is told "stale", and looks the name up again.
TEST_F(TreeAttributesTest, AttributesOfDirectoriesThatComeAndGoAreNotCached) {
  for (const char* path : {"prod", "prod/db", "prod/db/_keys", "prod/db/_labels",
                           "prod/db/_labels/AWSCURRENT", "prod/db/_versions"}) {
    EXPECT_EQ(Walk(path)->attribute_seconds, 0) << path;
  }
  EXPECT_EQ(Walk("_views")->attribute_seconds, 1);
}

TEST_F(TreeAttributesTest, AttributesOfAFileAreCachedWhileOneUidAloneAsks) {
  EXPECT_EQ(Walk("prod/db/_value", 1000)->attribute_seconds, 1);
  EXPECT_EQ(Walk("prod/db/_value", 1000)->attribute_seconds, 1);
  EXPECT_EQ(Walk("prod/db/_value", kStranger)->attribute_seconds, 0);
  EXPECT_EQ(Walk("prod/db/_value", 1000)->attribute_seconds, 0);
  clock_.Advance(SoleAskers::kMemorySeconds * 1000);
  EXPECT_EQ(Walk("prod/db/_value", 1000)->attribute_seconds, 1);
}

TEST_F(TreeAttributesTest, AttributesAreNotCachedRightAfterALabelMoved) {
  EXPECT_EQ(Walk("prod/db/_value")->attribute_seconds, 1);
  service_.PutValue("prod/db", {VersionId('3'), "new", {}});
  EXPECT_EQ(Walk("prod/db/_value")->attribute_seconds, 0);
  EXPECT_EQ(Walk("prod/db/_versions/" + VersionId('3') + "/_value")->attribute_seconds, 1);
  clock_.Advance(2000);
  EXPECT_EQ(Walk("prod/db/_value")->attribute_seconds, 1);
}

TEST_F(TreeAttributesTest, AnOpenersFstatAgreesWithItsHandle) {
  const auto opener = As(1000, 501);
  const auto node = Walk("prod/db/_value", opener)->node;
  const auto file = tree_.Open(opener, node);
  const auto old_size = static_cast<off_t>(Read("prod/db/_value")->size());
  service_.PutValue("prod/db", {VersionId('3'), "a longer value than before", {}});

  const auto fstat = tree_.GetAttributes(opener, node, {});
  EXPECT_EQ(fstat->attributes.st_size, old_size);
  EXPECT_EQ(fstat->attribute_seconds, 0) << "nobody else may see that";
  EXPECT_EQ(ReadAll(node, file->handle)->size(), static_cast<size_t>(old_size));
  EXPECT_EQ(tree_.GetAttributes(As(1000, 502), node, {})->attributes.st_size, 26)
      << "another thread did not open it";
  EXPECT_EQ(tree_.GetAttributes(As(1000, 502), node, file->handle)->attributes.st_size, old_size)
      << "unless the kernel says which handle it means";

  EXPECT_EQ(Walk("prod/db/_value", opener)->attributes.st_size, 26);
  EXPECT_EQ(tree_.GetAttributes(opener, node, {})->attributes.st_size, 26)
      << "a new walk to the file is about the file of now";
}

TEST_F(TreeAttributesTest, AnOpenRightAfterAMoveDropsWhatTheKernelHolds) {
  const auto node = NodeOf("prod/db/_value");
  EXPECT_FALSE(tree_.Open(As(kOwner), node)->drop_cached_attributes);
  service_.PutValue("prod/db", {VersionId('3'), "new", {}});
  EXPECT_TRUE(tree_.Open(As(kOwner), node)->drop_cached_attributes);
  clock_.Advance(2000);
  EXPECT_FALSE(tree_.Open(As(kOwner), node)->drop_cached_attributes);
}

TEST_F(TreeAttributesTest, AnOpenFileKeepsItsAttributesWhenItsLabelGoes) {
  service_.PutValue("prod/db", {VersionId('3'), "pending", {}}, {"AWSPENDING"});
  const auto node = Walk("prod/db/_labels/AWSPENDING/_value")->node;
  const auto file = tree_.Open(As(kOwner), node);
  service_.RemoveLabel("prod/db", "AWSPENDING");
  EXPECT_EQ(tree_.GetAttributes(As(kOwner), node, {})->attributes.st_size, 7);
  EXPECT_EQ(ReadAll(node, file->handle), "pending");
  EXPECT_EQ(CodeOf(tree_.GetAttributes(As(kOwner, 502), node, {})), Code::kStale);
}

TEST_F(TreeAttributesTest, AccessSaysWhatAnOpenWould) {
  const auto value = NodeOf("prod/db/_value");
  EXPECT_TRUE(tree_.CheckAccess(As(kOwner), value, R_OK));
  EXPECT_TRUE(tree_.CheckAccess(As(kOwner), value, F_OK));
  EXPECT_EQ(CodeOf(tree_.CheckAccess(As(kOwner), value, X_OK)), Code::kPermissionDenied);
  EXPECT_EQ(CodeOf(tree_.CheckAccess(As(kStranger), value, R_OK)), Code::kPermissionDenied);
  EXPECT_TRUE(tree_.CheckAccess(As(kStranger), value, F_OK));
  EXPECT_TRUE(tree_.CheckAccess(As(kStranger), NodeOf("prod/db"), X_OK));
  EXPECT_TRUE(tree_.CheckAccess(As(kStranger), NodeOf("prod/db/_keys"), X_OK));
  EXPECT_TRUE(tree_.CheckAccess(As(kStranger), NodeOf("_status"), R_OK));
  EXPECT_TRUE(tree_.CheckAccess(As(kStranger), kRootNode, R_OK | X_OK));
  EXPECT_TRUE(service_.TakeAudited().empty());
}

}  // namespace
}  // namespace secretfs::fs
