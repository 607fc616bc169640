#include "tests/fs/tree_fixture.h"

namespace secretfs::fs {
namespace {

using store::Action;

class TreeFileTest : public TreeTest {
 protected:
  std::string Part(std::string_view path, const ByteRange& range) {
    const uint64_t node = NodeOf(path);
    const auto file = tree_.Open(As(kOwner), node);
    const auto part = tree_.Read(As(kOwner), node, file->handle, range);
    return part ? std::string(AsText(part->Reveal())) : "error";
  }
};

TEST_F(TreeFileTest, FilesHoldExactlyTheirBytes) {
  EXPECT_EQ(Read("prod/db/_value"), "{the whole object}");
  EXPECT_EQ(Read("prod/db/_version"), VersionId('2') + "\n");
  EXPECT_EQ(Read("prod/db/_keys/password"), "hunter2");
  EXPECT_EQ(Read("prod/db/_labels/AWSCURRENT/_value"), "{the whole object}");
  EXPECT_EQ(Read("prod/db/_labels/AWSPREVIOUS/_value"), "old");
  EXPECT_EQ(Read("prod/db/_labels/AWSPREVIOUS/_version"), VersionId('1') + "\n");
  EXPECT_EQ(Read("prod/db/_versions/" + VersionId('1') + "/_value"), "old");
  EXPECT_EQ(Read("prod/db/_versions/" + VersionId('2') + "/_keys/user"), "joe");
  EXPECT_EQ(Read("_status"), status_);
  EXPECT_EQ(Read("_status", kStranger), status_);
}

TEST_F(TreeFileTest, MetaIsTheDescriptionAndEndsItsLine) {
  const std::string meta = Read("prod/db/_meta").value();
  EXPECT_NE(meta.find("\"prod/db\""), std::string::npos) << meta;
  EXPECT_TRUE(meta.ends_with("\n"));
  EXPECT_FALSE(meta.ends_with("\n\n"));
  EXPECT_EQ(meta.find("whole object"), std::string::npos) << "never a value";
}

TEST_F(TreeFileTest, BinaryValuesAreNotTouched) {
  std::string bytes;
  for (int i = 0; i < 65536; ++i) bytes.push_back(static_cast<char>(i * 7 + i / 256));
  service_.PutValue("binary", {VersionId('7'), bytes, {}});
  EXPECT_EQ(Read("binary/_value"), bytes);
}

TEST_F(TreeFileTest, PartsOfAFileAreItsParts) {
  EXPECT_EQ(Part("prod/db/_keys/password", {0, 3}), "hun");
  EXPECT_EQ(Part("prod/db/_keys/password", {3, 2}), "te");
  EXPECT_EQ(Part("prod/db/_keys/password", {3, 100}), "ter2");
  EXPECT_EQ(Part("prod/db/_keys/password", {7, 1}), "");
  EXPECT_EQ(Part("prod/db/_keys/password", {UINT64_MAX, 1}), "");
  EXPECT_EQ(Part("prod/db/_version", {30, 100}), "22\n");
  EXPECT_EQ(Part("_status", {2, 5}), "state");
}

TEST_F(TreeFileTest, NothingIsDecryptedForAReadAtTheEnd) {
  const uint64_t node = NodeOf("prod/db/_value");
  const auto file = tree_.Open(As(kOwner), node);
  const auto calls = service_.calls();
  EXPECT_TRUE(tree_.Read(As(kOwner), node, file->handle, {18, 4096})->Reveal().empty());
  EXPECT_TRUE(tree_.Read(As(kOwner), node, file->handle, {70'000, 4096})->Reveal().empty());
  EXPECT_EQ(service_.calls(), calls);
  EXPECT_EQ(service_.decryptions(), 0u);
}

TEST_F(TreeFileTest, AnEmptyKeyIsAnEmptyFile) {
  service_.PutValue("s", Json('3', {{"none", ""}}));
  EXPECT_EQ(Walk("s/_keys/none")->attributes.st_size, 0);
  EXPECT_EQ(Read("s/_keys/none"), "");
  EXPECT_EQ(service_.decryptions(), 0u);
  EXPECT_EQ(CodeOf(Read("s/_keys/none", kStranger)), Code::kPermissionDenied);
}

TEST_F(TreeFileTest, AnOpenIsDecidedAndAudited) {
  using Audited = Fake::Audited;
  const std::string id = VersionId('2');
  ASSERT_TRUE(Read("prod/db/_value", 1000));
  EXPECT_EQ(
      service_.TakeAudited(),
      (std::vector<Audited>{{Action::kGetSecretValue, 1000, "prod/db", id, "AWSCURRENT", true}}));
  ASSERT_TRUE(Read("prod/db/_versions/" + id + "/_keys/user", 1000));
  EXPECT_EQ(service_.TakeAudited(),
            (std::vector<Audited>{{Action::kGetSecretValue, 1000, "prod/db", id, "", true}}));
  ASSERT_TRUE(Read("prod/db/_meta", 1000));
  ASSERT_TRUE(Read("prod/db/_version", 1000));
  const Audited described{Action::kDescribeSecret, 1000, "prod/db", "", "", true};
  EXPECT_EQ(service_.TakeAudited(), (std::vector<Audited>{described, described}));
  ASSERT_TRUE(Read("_status", 1000));
  EXPECT_TRUE(service_.TakeAudited().empty());
}

TEST_F(TreeFileTest, TheStageIsTheLabelInThePath) {
  service_.PutValue("prod/db", {VersionId('3'), "x", {}}, {"blue"});
  for (const char* label : {"AWSCURRENT", "AWSPREVIOUS", "blue"}) {
    ASSERT_TRUE(Read(std::string("prod/db/_labels/") + label + "/_value"));
    EXPECT_EQ(service_.TakeAudited().at(0).stage, label);
  }
}

TEST_F(TreeFileTest, AStrangerOpensNothingAndIsAudited) {
  for (const char* path : {"prod/db/_value", "prod/db/_version", "prod/db/_meta",
                           "prod/db/_keys/password", "prod/db/_labels/AWSPREVIOUS/_value"}) {
    EXPECT_EQ(CodeOf(Read(path, kStranger)), Code::kPermissionDenied) << path;
    const auto audited = service_.TakeAudited();
    ASSERT_EQ(audited.size(), 1u) << path;
    EXPECT_FALSE(audited[0].allowed);
  }
  EXPECT_EQ(service_.decryptions(), 0u);
}

TEST_F(TreeFileTest, NothingOpensWhenTheTrailCannotBeWritten) {
  service_.FailAudit(true);
  EXPECT_EQ(CodeOf(Read("prod/db/_value")), Code::kUnavailable);
  EXPECT_EQ(CodeOf(Read("prod/db/_meta")), Code::kUnavailable);
  EXPECT_EQ(Read("_status"), status_);
}

TEST_F(TreeFileTest, AnOpenHandleStaysWithItsVersion) {
  const uint64_t node = NodeOf("prod/db/_value");
  const uint64_t key = NodeOf("prod/db/_keys/password");
  const uint64_t version = NodeOf("prod/db/_version");
  const auto file = tree_.Open(As(kOwner), node);
  const auto key_file = tree_.Open(As(kOwner), key);
  const auto version_file = tree_.Open(As(kOwner), version);
  service_.PutValue("prod/db", Json('3', {{"password", "a much longer one"}}));

  EXPECT_EQ(ReadAll(node, file->handle), "{the whole object}");
  EXPECT_EQ(ReadAll(key, key_file->handle), "hunter2");
  EXPECT_EQ(ReadAll(version, version_file->handle), VersionId('2') + "\n");
  EXPECT_EQ(Read("prod/db/_keys/password"), "a much longer one") << "a new open sees the new one";
  EXPECT_EQ(NodeOf("prod/db/_keys/password"), key) << "under the same node";
}

TEST_F(TreeFileTest, AHandleWhoseVersionIsGoneIsStale) {
  const auto doomed = service_.PutValue("prod/db", {VersionId('3'), "x", {}}, {"blue"});
  const uint64_t node = NodeOf("prod/db/_labels/blue/_value");
  const uint64_t version = NodeOf("prod/db/_labels/blue/_version");
  const auto file = tree_.Open(As(kOwner), node);
  const auto version_file = tree_.Open(As(kOwner), version);
  service_.DestroyVersion("prod/db", doomed);
  EXPECT_EQ(CodeOf(ReadAll(node, file->handle)), Code::kStale);
  EXPECT_EQ(CodeOf(ReadAll(version, version_file->handle)), Code::kStale);
}

TEST_F(TreeFileTest, AHandleWorksInANewDaemon) {
  const uint64_t node = NodeOf("prod/db/_keys/password");
  const auto file = tree_.Open(As(kOwner), node);
  CallerMemory memory;
  Tree restarted(service_, memory, clock_, {});
  const auto bytes = restarted.Read(As(kOwner), node, file->handle, {0, 4096});
  EXPECT_EQ(AsText(bytes->Reveal()), "hunter2");
}

TEST_F(TreeFileTest, ARevokedReaderIsStoppedAtItsNextRead) {
  const uint64_t value = NodeOf("prod/db/_value");
  const uint64_t version = NodeOf("prod/db/_version");
  const uint64_t meta = NodeOf("prod/db/_meta");
  const auto value_file = tree_.Open(As(1000), value);
  const auto version_file = tree_.Open(As(1000), version);
  const auto meta_file = tree_.Open(As(1000), meta);
  service_.TakeAudited();
  service_.Deny(1000);
  EXPECT_EQ(CodeOf(ReadAll(value, value_file->handle, 1000)), Code::kPermissionDenied);
  EXPECT_EQ(CodeOf(ReadAll(version, version_file->handle, 1000)), Code::kPermissionDenied);
  EXPECT_EQ(CodeOf(ReadAll(meta, meta_file->handle, 1000)), Code::kPermissionDenied);
  const auto audited = service_.TakeAudited();
  ASSERT_EQ(audited.size(), 3u);
  for (const auto& event : audited) EXPECT_FALSE(event.allowed);
}

TEST_F(TreeFileTest, TwoTextsOfMetaAreNeverJoined) {
  const uint64_t node = NodeOf("prod/db/_meta");
  const auto file = tree_.Open(As(kOwner), node);
  ASSERT_TRUE(tree_.Read(As(kOwner), node, file->handle, {0, 10}));
  ASSERT_TRUE(tree_.Read(As(kOwner), node, file->handle, {10, 10}));
  service_.PutValue("prod/db", {VersionId('3'), "x", {}});
  EXPECT_EQ(CodeOf(tree_.Read(As(kOwner), node, file->handle, {20, 10})), Code::kStale);
  EXPECT_EQ(ReadAll(node, file->handle), Read("prod/db/_meta").value())
      << "from the start it is whole";
}

TEST_F(TreeFileTest, StatusStaysTheSameFromStatToRead) {
  const auto entry = Walk("_status");
  const auto file = tree_.Open(As(kOwner), entry->node);
  status_ = "{\"state\": \"failed\", \"why\": \"a long story\"}\n";
  EXPECT_EQ(ReadAll(entry->node, file->handle)->size(),
            static_cast<size_t>(entry->attributes.st_size));
  clock_.Advance(1000);
  EXPECT_EQ(Read("_status"), status_);
}

TEST_F(TreeFileTest, DirectoriesAreNotOpenedAsFiles) {
  for (const char* path : {"", "prod", "prod/db/_keys", "prod/db/_labels/AWSCURRENT"}) {
    EXPECT_EQ(CodeOf(tree_.Open(As(kOwner), NodeOf(path))), Code::kInvalidArgument) << path;
    EXPECT_EQ(CodeOf(tree_.Read(As(kOwner), NodeOf(path), 0, {0, 1})), Code::kInvalidArgument);
  }
}

}  // namespace
}  // namespace secretfs::fs
