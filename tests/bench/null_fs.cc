// The file system that the benchmark measures secretfs against: the same libfuse, reader threads,
// settings, time-outs, path shape and attributes, but no secrets. What secretfs loses to it is what
// secretfs adds.
//
//   null_fs MOUNTPOINT [--reader-threads N]
//
// Every name that does not begin with "_" is a directory, to any depth. Each holds `_value` (64
// bytes, or 65,536 if the directory's own name ends in "64k"). Prints "ready" when it serves; ends
// when it is unmounted.

#include <errno.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "fs/fuse_mount.h"
#include "fs/fuse_server.h"

namespace {

constexpr double kDirectoryEntrySeconds = 60;
constexpr double kAttributeSeconds = 1;

// A node: 61 bits of a hash of its path, whether it is a value, whether that is large. The mount's
// root is 1.
constexpr fuse_ino_t kValueBit = 2;
constexpr fuse_ino_t kLargeBit = 4;
constexpr fuse_ino_t kHashMask = ~fuse_ino_t{7};

const std::string& Content() {
  static const std::string content(65536, 'x');
  return content;
}

size_t SizeOf(fuse_ino_t node) {
  return node & kLargeBit ? 65536 : 64;
}

bool IsValue(fuse_ino_t node) {
  return (node & kValueBit) != 0;
}

fuse_ino_t ChildOf(fuse_ino_t parent, std::string_view name) {
  uint64_t hash = parent * 0x9E3779B97F4A7C15ULL;
  for (const char byte : name) hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001B3ULL;
  return (hash ^ hash >> 29) & kHashMask;
}

struct stat AttributesOf(fuse_req_t request, fuse_ino_t node) {
  struct stat attributes{};
  attributes.st_ino = node;
  attributes.st_blksize = 4096;
  if (!IsValue(node)) {
    attributes.st_mode = S_IFDIR | 0555;
    attributes.st_nlink = 2;
    return attributes;
  }
  const fuse_ctx* context = fuse_req_ctx(request);
  attributes.st_mode = S_IFREG | 0400;
  attributes.st_nlink = 1;
  attributes.st_uid = context->uid;
  attributes.st_gid = context->gid;
  attributes.st_size = static_cast<off_t>(SizeOf(node));
  attributes.st_blocks = (attributes.st_size + 511) / 512;
  return attributes;
}

void Lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const std::string_view text = name;
  fuse_entry_param entry{};
  if (text == "_value" && parent != FUSE_ROOT_ID && !IsValue(parent)) {
    entry.ino = (ChildOf(parent, text) & ~kLargeBit) | kValueBit | (parent & kLargeBit);
  } else if (!text.starts_with('_') && !IsValue(parent)) {
    entry.ino = ChildOf(parent, text) | (text.ends_with("64k") ? kLargeBit : 0);
    entry.entry_timeout = kDirectoryEntrySeconds;
  } else {
    fuse_reply_err(request, ENOENT);
    return;
  }
  entry.attr = AttributesOf(request, entry.ino);
  entry.attr_timeout = kAttributeSeconds;
  fuse_reply_entry(request, &entry);
}

void GetAttributes(fuse_req_t request, fuse_ino_t node, fuse_file_info* /*file*/) {
  const struct stat attributes = AttributesOf(request, node);
  fuse_reply_attr(request, &attributes, kAttributeSeconds);
}

void Access(fuse_req_t request, fuse_ino_t /*node*/, int /*mask*/) {
  fuse_reply_err(request, 0);
}

void Open(fuse_req_t request, fuse_ino_t /*node*/, fuse_file_info* file) {
  file->direct_io = 1;
  fuse_reply_open(request, file);
}

void Read(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
          fuse_file_info* /*file*/) {
  const size_t begin = std::min(static_cast<size_t>(offset), SizeOf(node));
  fuse_reply_buf(request, Content().data() + begin, std::min(size, SizeOf(node) - begin));
}

void OpenDirectory(fuse_req_t request, fuse_ino_t /*node*/, fuse_file_info* file) {
  fuse_reply_open(request, file);
}

void ReadDirectory(fuse_req_t request, fuse_ino_t /*node*/, size_t /*size*/, off_t /*offset*/,
                   fuse_file_info* /*file*/) {
  fuse_reply_buf(request, nullptr, 0);
}

fuse_lowlevel_ops Operations() {
  fuse_lowlevel_ops operations{};
  operations.lookup = Lookup;
  operations.getattr = GetAttributes;
  operations.access = Access;
  operations.open = Open;
  operations.read = Read;
  operations.opendir = OpenDirectory;
  operations.readdir = ReadDirectory;
  operations.readdirplus = ReadDirectory;
  return operations;
}

int Complain(const std::string& what) {
  fprintf(stderr, "null_fs: %s\n", what.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  using secretfs::fs::FuseServer;
  const bool with_threads = argc == 4 && std::strcmp(argv[2], "--reader-threads") == 0;
  if (argc != 2 && !with_threads) {
    fprintf(stderr, "usage: null_fs MOUNTPOINT [--reader-threads N]\n");
    return 2;
  }
  auto device = secretfs::fs::MountFuse({.mountpoint = argv[1], .allow_other = false});
  if (!device) return Complain(device.error().message);
  device->private_mount.Reset();  // It would outlive the last unmount.
  auto memory = secretfs::fs::CreateSharedState();
  if (!memory) return Complain(memory.error().message);
  const auto state = secretfs::fs::MapSharedState(memory->get());
  if (!state) return Complain(state.error().message);
  auto server =
      FuseServer::Create(std::move(device->device), **state, {.operations = Operations()});
  if (!server) return Complain(server.error().message);
  const secretfs::Status running = (*server)->Run(with_threads ? std::atoi(argv[3]) : 0);
  if (!running) return Complain(running.error().message);
  printf("ready\n");
  fflush(stdout);
  pollfd ended{(*server)->ended_fd(), POLLIN, 0};
  while (poll(&ended, 1, -1) < 0 && errno == EINTR) {
  }
  (*server)->Join();
  return 0;
}
