#include "fs/fuse_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>

#include "tests/fs/tree_fixture.h"

// A request as the callbacks meet it, and what was replied to it.
struct fuse_req {
  void* userdata = nullptr;
  fuse_ctx context{};

  int replies = 0;
  std::optional<int> error;
  std::optional<fuse_entry_param> entry;
  std::optional<struct stat> attributes;
  double attribute_seconds = -1;
  std::optional<fuse_file_info> file;
  std::optional<std::string> bytes;
  std::optional<struct statvfs> numbers;
  std::optional<size_t> xattr_size;
};

namespace {
fuse_ino_t invalidated_node = 0;
off_t invalidated_offset = 0;
}  // namespace

// In place of libfuse's, at link time.
extern "C" {
void* fuse_req_userdata(fuse_req_t request) {
  return request->userdata;
}
const fuse_ctx* fuse_req_ctx(fuse_req_t request) {
  return &request->context;
}
int fuse_reply_err(fuse_req_t request, int error) {
  ++request->replies;
  request->error = error;
  return 0;
}
int fuse_reply_entry(fuse_req_t request, const fuse_entry_param* entry) {
  ++request->replies;
  request->entry = *entry;
  return 0;
}
int fuse_reply_attr(fuse_req_t request, const struct stat* attributes, double seconds) {
  ++request->replies;
  request->attributes = *attributes;
  request->attribute_seconds = seconds;
  return 0;
}
int fuse_reply_open(fuse_req_t request, const fuse_file_info* file) {
  ++request->replies;
  request->file = *file;
  return 0;
}
int fuse_reply_buf(fuse_req_t request, const char* bytes, size_t size) {
  ++request->replies;
  request->bytes = size == 0 ? std::string() : std::string(bytes, size);
  return 0;
}
int fuse_reply_statfs(fuse_req_t request, const struct statvfs* numbers) {
  ++request->replies;
  request->numbers = *numbers;
  return 0;
}
int fuse_reply_xattr(fuse_req_t request, size_t size) {
  ++request->replies;
  request->xattr_size = size;
  return 0;
}
int fuse_lowlevel_notify_inval_inode(fuse_session* /*session*/, fuse_ino_t node, off_t offset,
                                     off_t /*size*/) {
  invalidated_node = node;
  invalidated_offset = offset;
  return 0;
}
}

namespace secretfs::fs {
namespace {

class FuseOpsTest : public TreeTest {
 protected:
  // Runs one callback as `uid` and expects exactly one reply.
  template <typename Callback, typename... Arguments>
  fuse_req Call(uint32_t uid, Callback callback, Arguments... arguments) {
    fuse_req request;
    request.userdata = &filesystem_;
    request.context.uid = uid;
    request.context.gid = uid;
    request.context.pid = thread_;
    callback(&request, arguments...);
    EXPECT_EQ(request.replies, 1);
    return request;
  }
  template <typename Callback, typename... Arguments>
  std::optional<int> ErrorOf(uint32_t uid, Callback callback, Arguments... arguments) {
    return Call(uid, callback, arguments...).error;
  }

  // The names in a READDIR reply (fuse_dirent of linux/fuse.h).
  static std::vector<std::string> NamesIn(std::string_view bytes) {
    std::vector<std::string> names;
    while (bytes.size() >= 24) {
      uint32_t size;
      memcpy(&size, bytes.data() + 16, sizeof size);
      names.emplace_back(bytes.substr(24, size));
      bytes.remove_prefix(std::min(bytes.size(), size_t{(24 + size + 7) / 8 * 8}));
    }
    return names;
  }

  pid_t thread_ = 77;
  Callers callers_{{}, kOwner, clock_};
  std::unique_ptr<SharedState> state_ = std::make_unique<SharedState>();
  FuseFilesystem filesystem_{
      .tree = tree_, .callers = callers_, .state = *state_, .pages_cached = {}};
  const fuse_lowlevel_ops operations_ = FuseOperations();
};

TEST_F(FuseOpsTest, WhatMustBeAbsentIsAbsent) {
  EXPECT_EQ(operations_.flush, nullptr) << "a round trip at each close";
  EXPECT_EQ(operations_.forget, nullptr);
  EXPECT_EQ(operations_.release, nullptr);
  EXPECT_EQ(operations_.releasedir, nullptr);
  EXPECT_EQ(operations_.write_buf, nullptr) << "it would turn splicing on";
  EXPECT_NE(operations_.open, nullptr) << "without it the kernel stops asking";
  EXPECT_NE(operations_.opendir, nullptr) << "without it the kernel stops asking";
  EXPECT_NE(operations_.access, nullptr) << "without it everything is accessible";
}

TEST_F(FuseOpsTest, LookupRepliesWithTheEntry) {
  const fuse_req request = Call(kOwner, operations_.lookup, kRootNode, "prod");
  ASSERT_TRUE(request.entry);
  EXPECT_EQ(request.entry->ino, NodeOf("prod"));
  EXPECT_EQ(request.entry->generation, 0u);
  EXPECT_EQ(request.entry->attr.st_mode, mode_t{S_IFDIR | 0555});
  EXPECT_EQ(request.entry->entry_timeout, 60);
  EXPECT_EQ(request.entry->attr_timeout, 0);
  EXPECT_EQ(Call(kOwner, operations_.lookup, kRootNode, "_views").entry->attr_timeout, 1);
}

TEST_F(FuseOpsTest, AnAbsentNameIsAnErrorAndNeverANegativeEntry) {
  EXPECT_EQ(ErrorOf(kOwner, operations_.lookup, kRootNode, "nosuch"), ENOENT);
  EXPECT_EQ(ErrorOf(kOwner, operations_.lookup, fuse_ino_t{12345}, "x"), ESTALE);
  const std::string name(256, 'n');
  EXPECT_EQ(ErrorOf(kOwner, operations_.lookup, kRootNode, name.c_str()), ENAMETOOLONG);
}

TEST_F(FuseOpsTest, AttributesAreRepliedWithTheirTime) {
  const fuse_ino_t node = NodeOf("prod/db/_value");
  const fuse_req request = Call(kOwner, operations_.getattr, node, nullptr);
  ASSERT_TRUE(request.attributes);
  EXPECT_EQ(request.attributes->st_size, 18);
  EXPECT_EQ(request.attribute_seconds, 1);
  EXPECT_EQ(ErrorOf(kOwner, operations_.getattr, fuse_ino_t{12345}, nullptr), ESTALE);
}

TEST_F(FuseOpsTest, AttributesOfAHandleAreThoseOfItsVersion) {
  const fuse_ino_t node = NodeOf("prod/db/_value");
  fuse_file_info file{};
  file = *Call(kOwner, operations_.open, node, &file).file;
  service_.PutValue("prod/db", {VersionId('3'), "x", {}});
  thread_ = 78;
  EXPECT_EQ(Call(1000, operations_.getattr, node, nullptr).attributes->st_size, 1);
  EXPECT_EQ(Call(1000, operations_.getattr, node, &file).attributes->st_size, 18);
}

TEST_F(FuseOpsTest, AFileOpensForDirectReadingOnly) {
  const fuse_ino_t node = NodeOf("prod/db/_value");
  fuse_file_info file{};
  file.flags = O_RDONLY;
  const fuse_req request = Call(kOwner, operations_.open, node, &file);
  ASSERT_TRUE(request.file);
  EXPECT_EQ(request.file->direct_io, 1u);
  EXPECT_EQ(request.file->keep_cache, 0u);
  EXPECT_EQ(request.file->nonseekable, 0u);
  for (const int flags : {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC}) {
    file.flags = flags;
    EXPECT_EQ(ErrorOf(kOwner, operations_.open, node, &file), EROFS);
  }
  file.flags = O_RDONLY | O_DIRECT | O_NONBLOCK | O_NOFOLLOW;
  EXPECT_TRUE(Call(kOwner, operations_.open, node, &file).file);
  EXPECT_EQ(ErrorOf(kStranger, operations_.open, node, &file), EACCES);
}

TEST_F(FuseOpsTest, AnOpenAfterAMoveDropsAttributesAndNothingElse) {
  const fuse_ino_t node = NodeOf("prod/db/_value");
  fuse_file_info file{};
  service_.PutValue("prod/db", {VersionId('3'), "x", {}});
  invalidated_node = 0;
  Call(kOwner, operations_.open, node, &file);
  EXPECT_EQ(invalidated_node, 0u) << "without a session there is nobody to tell";
  filesystem_.session = reinterpret_cast<fuse_session*>(&file);
  Call(kOwner, operations_.open, node, &file);
  EXPECT_EQ(invalidated_node, node);
  EXPECT_LT(invalidated_offset, 0) << "pages would need locks";
  clock_.Advance(10'000);
  invalidated_node = 0;
  Call(kOwner, operations_.open, node, &file);
  EXPECT_EQ(invalidated_node, 0u);
}

TEST_F(FuseOpsTest, AReadRepliesWithThePart) {
  const fuse_ino_t node = NodeOf("prod/db/_keys/password");
  fuse_file_info file{};
  file = *Call(kOwner, operations_.open, node, &file).file;
  const auto read = [&](size_t size, off_t offset) {
    return Call(kOwner, operations_.read, node, size, offset, &file).bytes.value_or("error");
  };
  EXPECT_EQ(read(4096, 0), "hunter2");
  EXPECT_EQ(read(2, 3), "te");
  EXPECT_EQ(read(4096, 7), "");
  EXPECT_EQ(ErrorOf(kStranger, operations_.read, node, 4096, 0, &file), EACCES);
}

TEST_F(FuseOpsTest, AReadForThePageCacheIsNotedFirstOrRefused) {
  const fuse_ino_t node = NodeOf("prod/db/_value");
  fuse_file_info file{};
  file = *Call(kOwner, operations_.open, node, &file).file;
  std::vector<uint64_t> noted;
  bool has_room = true;
  filesystem_.pages_cached = [&](uint64_t cached) {
    noted.push_back(cached);
    return has_room;
  };
  file.lock_owner = 9;
  EXPECT_TRUE(Call(kOwner, operations_.read, node, 4096, 0, &file).bytes);
  EXPECT_TRUE(noted.empty()) << "a program's read leaves no page";
  file.lock_owner = 0;
  EXPECT_TRUE(Call(kOwner, operations_.read, node, 4096, 0, &file).bytes);
  EXPECT_EQ(noted, std::vector<uint64_t>{node});
  has_room = false;
  EXPECT_EQ(ErrorOf(kOwner, operations_.read, node, 4096, 0, &file), EIO);
  filesystem_.refuse_mapping = true;
  EXPECT_EQ(ErrorOf(kOwner, operations_.read, node, 4096, 0, &file), EACCES);
}

TEST_F(FuseOpsTest, ADirectoryIsReadInBuffers) {
  fuse_file_info file{};
  file = *Call(kOwner, operations_.opendir, kRootNode, &file).file;
  EXPECT_EQ(file.cache_readdir, 0u);
  EXPECT_EQ(file.keep_cache, 0u);
  const fuse_req whole = Call(kOwner, operations_.readdir, kRootNode, 4096, 0, &file);
  EXPECT_EQ(NamesIn(*whole.bytes),
            (std::vector<std::string>{".", "..", "_status", "_views", "prod"}));
  const fuse_req small = Call(kOwner, operations_.readdir, kRootNode, 70, 0, &file);
  EXPECT_EQ(NamesIn(*small.bytes), (std::vector<std::string>{".", ".."}));
  const fuse_req rest = Call(kOwner, operations_.readdir, kRootNode, 4096, 2, &file);
  EXPECT_EQ(NamesIn(*rest.bytes), (std::vector<std::string>{"_status", "_views", "prod"}));
  const fuse_req plus = Call(kOwner, operations_.readdirplus, kRootNode, 4096, 0, &file);
  EXPECT_EQ(plus.bytes->size(), 5 * (128u + 32u));
  uint64_t node;
  memcpy(&node, plus.bytes->data(), sizeof node);
  EXPECT_EQ(node, 0u) << "\".\" must not count as a lookup";
  memcpy(&node, plus.bytes->data() + 4 * 160, sizeof node);
  EXPECT_EQ(node, NodeOf("prod"));
  EXPECT_EQ(ErrorOf(kStranger, operations_.opendir, fuse_ino_t{NodeOf("prod")}, &file), EACCES);
}

TEST_F(FuseOpsTest, AccessIsAnsweredHonestly) {
  const fuse_ino_t value = NodeOf("prod/db/_value");
  EXPECT_EQ(ErrorOf(kOwner, operations_.access, value, R_OK), 0);
  EXPECT_EQ(ErrorOf(kOwner, operations_.access, value, W_OK), EROFS);
  EXPECT_EQ(ErrorOf(kOwner, operations_.access, value, X_OK), EACCES);
  EXPECT_EQ(ErrorOf(kStranger, operations_.access, value, R_OK), EACCES);
  EXPECT_EQ(ErrorOf(kStranger, operations_.access, fuse_ino_t{NodeOf("prod")}, X_OK), 0);
}

TEST_F(FuseOpsTest, XattrsFollowTheSizeRules) {
  const fuse_ino_t node = NodeOf("prod/db/_value");
  const auto get = [&](const char* name, size_t size) {
    return Call(kOwner, operations_.getxattr, node, name, size);
  };
  EXPECT_EQ(get("user.secretfs.name", 0).xattr_size, 7u);
  EXPECT_EQ(get("user.secretfs.name", 6).error, ERANGE);
  EXPECT_EQ(get("user.secretfs.name", 7).bytes, "prod/db");
  EXPECT_EQ(get("user.secretfs.name", 100).bytes, "prod/db");
  EXPECT_EQ(get("security.selinux", 0).error, ENODATA);
  EXPECT_EQ(ErrorOf(kStranger, operations_.getxattr, node, "user.secretfs.name", 100), EACCES);

  const auto list = Call(kOwner, operations_.listxattr, node, 1000).bytes;
  EXPECT_TRUE(list->starts_with(std::string("user.secretfs.arn\0user.secretfs.name\0", 37)));
  EXPECT_EQ(Call(kOwner, operations_.listxattr, node, 0).xattr_size, list->size());
  EXPECT_EQ(ErrorOf(kOwner, operations_.listxattr, node, 10), ERANGE);
  EXPECT_EQ(Call(kStranger, operations_.listxattr, node, 0).xattr_size, 0u);
  EXPECT_EQ(Call(kStranger, operations_.listxattr, node, 10).bytes, "");
}

TEST_F(FuseOpsTest, StatfsSaysHowLongNamesMayBe) {
  const fuse_req request = Call(kOwner, operations_.statfs, kRootNode);
  EXPECT_EQ(request.numbers->f_namemax, 255u);
  EXPECT_EQ(request.numbers->f_blocks, 0u);
}

TEST_F(FuseOpsTest, EveryWriteIsRefusedAsReadOnly) {
  const fuse_ino_t node = NodeOf("prod/db/_value");
  fuse_file_info file{};
  struct stat attributes{};
  EXPECT_EQ(ErrorOf(kOwner, operations_.setattr, node, &attributes, 0, &file), EROFS);
  EXPECT_EQ(ErrorOf(kOwner, operations_.mknod, kRootNode, "x", mode_t{0}, dev_t{0}), EROFS);
  EXPECT_EQ(ErrorOf(kOwner, operations_.mkdir, kRootNode, "x", mode_t{0}), EROFS);
  EXPECT_EQ(ErrorOf(kOwner, operations_.unlink, kRootNode, "x"), EROFS);
  EXPECT_EQ(ErrorOf(kOwner, operations_.rmdir, kRootNode, "x"), EROFS);
  EXPECT_EQ(ErrorOf(kOwner, operations_.symlink, "x", kRootNode, "y"), EROFS);
  EXPECT_EQ(ErrorOf(kOwner, operations_.rename, kRootNode, "x", kRootNode, "y", 0u), EROFS);
  EXPECT_EQ(ErrorOf(kOwner, operations_.link, node, kRootNode, "x"), EROFS);
  EXPECT_EQ(ErrorOf(kOwner, operations_.create, kRootNode, "x", mode_t{0}, &file), EROFS);
  EXPECT_EQ(ErrorOf(kOwner, operations_.write, node, "x", size_t{1}, off_t{0}, &file), EROFS);
  EXPECT_EQ(ErrorOf(kOwner, operations_.fallocate, node, 0, off_t{0}, off_t{1}, &file), EROFS);
  EXPECT_EQ(ErrorOf(kOwner, operations_.setxattr, node, "x", "y", size_t{1}, 0), EROFS);
  EXPECT_EQ(ErrorOf(kOwner, operations_.removexattr, node, "x"), EROFS);
}

TEST_F(FuseOpsTest, AnExceptionIsAnIoErrorAndOneReply) {
  Tree tree(service_, memory_, clock_,
            {.status = []() -> std::string { throw std::runtime_error("x"); }});
  FuseFilesystem broken{.tree = tree, .callers = callers_, .state = *state_, .pages_cached = {}};
  fuse_req request;
  request.userdata = &broken;
  operations_.lookup(&request, kRootNode, "_status");
  EXPECT_EQ(request.replies, 1);
  EXPECT_EQ(request.error, EIO);
}

TEST_F(FuseOpsTest, AFailingTrailIsAnIoError) {
  service_.FailAudit(true);
  fuse_file_info file{};
  EXPECT_EQ(ErrorOf(kOwner, operations_.open, fuse_ino_t{NodeOf("prod/db/_value")}, &file), EIO);
  EXPECT_EQ(ErrorOf(kOwner, operations_.opendir, kRootNode, &file), EIO);
}

}  // namespace
}  // namespace secretfs::fs
