#include "fs/fuse_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <array>
#include <exception>
#include <memory>
#include <string>

#include "crypto/base/log.h"
#include "fs/errno_map.h"

namespace secretfs::fs {
namespace {

constexpr int kReplied = -1;
constexpr size_t kDirectoryBytesMax = size_t{1} << 20;

void LogFailure(FuseFilesystem& filesystem, std::string_view text) {
  const uint64_t failure = std::hash<std::string_view>()(text);
  if (filesystem.last_failure.exchange(failure, std::memory_order_relaxed) != failure) {
    Log(LogLevel::kError, text);
  }
}

// The errno of `error`; EIO says nothing, so its reason goes to the log.
int Refusal(FuseFilesystem& filesystem, const Error& error) {
  const int number = ErrnoOf(error.code);
  if (number == EIO) LogFailure(filesystem, error.message);
  return number;
}

// Runs `body` for the caller of `request`; replies with the errno that it returns, unless that is
// kReplied.
template <typename Body>
void Answer(fuse_req_t request, Body body) noexcept {
  auto& filesystem = *static_cast<FuseFilesystem*>(fuse_req_userdata(request));
  int error = EIO;
  try {
    const fuse_ctx* context = fuse_req_ctx(request);
    const auto principal = filesystem.callers.PrincipalOf(context->uid, context->gid);
    const store::Caller caller{*principal, store::Door::kMount,
                               static_cast<uint32_t>(context->pid)};
    error = body(filesystem, caller);
  } catch (const std::exception& exception) {
    LogFailure(filesystem, std::string("a file system request failed: ") + exception.what());
  } catch (...) {
    LogFailure(filesystem, "a file system request failed");
  }
  if (error != kReplied) fuse_reply_err(request, error);
}

// The process that touches files to raise events: it sees every file's attributes, since what it is
// told the kernel remembers for all, and reads nothing.
bool IsToucher(const FuseFilesystem& filesystem, const store::Caller& caller) {
  return caller.pid != 0 && caller.pid == filesystem.state.toucher_pid;
}

// Runs `body` with `caller`, or with the owner if the toucher asks.
template <typename Body>
auto AsOwnerIfToucher(FuseFilesystem& filesystem, const store::Caller& caller, Body body) {
  if (!IsToucher(filesystem, caller)) return body(caller);
  const auto owner = filesystem.callers.OwnerPrincipal();
  return body(store::Caller{*owner, store::Door::kInternal, 0});
}

fuse_entry_param ToParam(const Entry& entry) {
  fuse_entry_param param{};
  param.ino = entry.node;
  param.attr = entry.attributes;
  param.entry_timeout = entry.entry_seconds;
  param.attr_timeout = entry.attribute_seconds;
  return param;
}

void Lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Answer(request, [&](FuseFilesystem& filesystem, const store::Caller& caller) {
    const std::string_view text = name;
    if (text.size() > kFileNameBytesMax) return ENAMETOOLONG;
    const auto entry = AsOwnerIfToucher(filesystem, caller, [&](const store::Caller& asker) {
      return filesystem.tree.Lookup(asker, parent, text);
    });
    // An error, never an entry without a node: a negative entry would hide a later file from
    // everyone.
    if (!entry) return Refusal(filesystem, entry.error());
    const fuse_entry_param param = ToParam(*entry);
    fuse_reply_entry(request, &param);
    return kReplied;
  });
}

void GetAttributes(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
  Answer(request, [&](FuseFilesystem& filesystem, const store::Caller& caller) {
    const auto handle = file ? std::optional<uint64_t>(file->fh) : std::nullopt;
    const auto entry = filesystem.tree.GetAttributes(caller, node, handle);
    if (!entry) return Refusal(filesystem, entry.error());
    fuse_reply_attr(request, &entry->attributes, entry->attribute_seconds);
    return kReplied;
  });
}

// Nothing is set: the kernel raises its event when this succeeds.
void SetAttributes(fuse_req_t request, fuse_ino_t node, struct stat* /*wanted*/, int /*which*/,
                   fuse_file_info* /*file*/) {
  Answer(request, [&](FuseFilesystem& filesystem, const store::Caller& caller) {
    if (!IsToucher(filesystem, caller)) return EROFS;
    const auto entry = AsOwnerIfToucher(filesystem, caller, [&](const store::Caller& asker) {
      return filesystem.tree.GetAttributes(asker, node, std::nullopt);
    });
    if (!entry) return Refusal(filesystem, entry.error());
    fuse_reply_attr(request, &entry->attributes, 0);
    return kReplied;
  });
}

void Access(fuse_req_t request, fuse_ino_t node, int mask) {
  Answer(request, [&](FuseFilesystem& filesystem, const store::Caller& caller) {
    if ((mask & W_OK) != 0) return EROFS;
    const Status allowed = filesystem.tree.CheckAccess(caller, node, mask);
    return allowed ? 0 : Refusal(filesystem, allowed.error());
  });
}

void Open(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
  Answer(request, [&](FuseFilesystem& filesystem, const store::Caller& caller) {
    const bool reads = (file->flags & O_ACCMODE) == O_RDONLY && (file->flags & O_TRUNC) == 0;
    if (!reads) {
      if (!IsToucher(filesystem, caller)) return EROFS;
      file->direct_io = 1;
      fuse_reply_open(request, file);
      return kReplied;
    }
    const auto opened = filesystem.tree.Open(caller, node);
    if (!opened) return Refusal(filesystem, opened.error());
    // Takes no lock of the kernel that an open could hold: with a negative offset only attributes
    // are dropped.
    if (opened->drop_cached_attributes && filesystem.session != nullptr) {
      fuse_lowlevel_notify_inval_inode(filesystem.session, node, -1, 0);
    }
    file->fh = opened->handle;
    file->direct_io = 1;
    file->keep_cache = 0;
    fuse_reply_open(request, file);
    return kReplied;
  });
}

void Read(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* file) {
  Answer(request, [&](FuseFilesystem& filesystem, const store::Caller& caller) {
    // The kernel reads for its page cache, not for a program: mmap() or sendfile(). (A program's
    // read carries the owner of its locks.)
    if (file->lock_owner == 0) {
      if (filesystem.refuse_mapping) return EACCES;
      if (filesystem.pages_cached && !filesystem.pages_cached(node)) {
        LogFailure(filesystem, "too many files are mapped or sent at once; a page is refused");
        return EIO;
      }
    }
    const ByteRange range{static_cast<uint64_t>(offset), size};
    const auto bytes = filesystem.tree.Read(caller, node, file->fh, range);
    if (!bytes) return Refusal(filesystem, bytes.error());
    const std::string_view part = AsText(bytes->Reveal());
    fuse_reply_buf(request, part.data(), part.size());
    return kReplied;
  });
}

// Readable always; POLLPRI, as files of sysfs say it, once the path shows another version. The
// kernel's name for the waiting file was noted when the request came (FuseServer).
void Poll(fuse_req_t request, fuse_ino_t node, fuse_file_info* file, fuse_pollhandle* handle) {
  if (handle != nullptr) fuse_pollhandle_destroy(handle);
  Answer(request, [&](FuseFilesystem& filesystem, const store::Caller& /*caller*/) {
    unsigned events = POLLIN | POLLRDNORM;
    if (filesystem.tree.IsOutdated(node, file->fh)) events |= POLLPRI | POLLERR;
    fuse_reply_poll(request, events);
    return kReplied;
  });
}

void OpenDirectory(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
  Answer(request, [&](FuseFilesystem& filesystem, const store::Caller& caller) {
    const auto handle = filesystem.tree.OpenDirectory(caller, node);
    if (!handle) return Refusal(filesystem, handle.error());
    file->fh = *handle;
    file->cache_readdir = 0;
    file->keep_cache = 0;
    fuse_reply_open(request, file);
    return kReplied;
  });
}

// Packs entries as the kernel wants them, as many as fit.
class DirectoryBuffer {
 public:
  DirectoryBuffer(fuse_req_t request, size_t size_bytes, bool with_attributes)
      : request_(request),
        size_bytes_(std::min(size_bytes, kDirectoryBytesMax)),
        with_attributes_(with_attributes),
        bytes_(std::make_unique_for_overwrite<char[]>(size_bytes_)) {}

  bool Add(std::string_view name, uint64_t next_cursor, const Entry& entry) {
    std::array<char, kFileNameBytesMax + 1> text;
    if (name.size() >= text.size()) return true;
    *std::copy(name.begin(), name.end(), text.begin()) = '\0';
    const size_t rest = size_bytes_ - used_bytes_;
    const size_t needed = Pack(text.data(), entry, static_cast<off_t>(next_cursor), rest);
    if (needed > rest) return false;
    used_bytes_ += needed;
    return true;
  }

  int Reply() {
    fuse_reply_buf(request_, bytes_.get(), used_bytes_);
    return kReplied;
  }

 private:
  size_t Pack(const char* name, const Entry& entry, off_t next_cursor, size_t rest) {
    char* const place = bytes_.get() + used_bytes_;
    if (!with_attributes_) {
      return fuse_add_direntry(request_, place, rest, name, &entry.attributes, next_cursor);
    }
    fuse_entry_param param = ToParam(entry);
    // The kernel wants a number for these two, not a node.
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) param.ino = 0;
    return fuse_add_direntry_plus(request_, place, rest, name, &param, next_cursor);
  }

  const fuse_req_t request_;
  const size_t size_bytes_;
  const bool with_attributes_;
  const std::unique_ptr<char[]> bytes_;
  size_t used_bytes_ = 0;
};

template <bool with_attributes>
void ReadDirectory(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
                   fuse_file_info* file) {
  Answer(request, [&](FuseFilesystem& filesystem, const store::Caller& caller) {
    DirectoryBuffer buffer(request, size, with_attributes);
    const Status read = filesystem.tree.ReadDirectory(
        caller, node, {file->fh, static_cast<uint64_t>(offset), with_attributes},
        [&](std::string_view name, uint64_t next_cursor, const Entry& entry) {
          return buffer.Add(name, next_cursor, entry);
        });
    return read ? buffer.Reply() : Refusal(filesystem, read.error());
  });
}

// A size of 0 asks how large the answer is (getxattr(2), listxattr(2)).
int ReplyXattr(fuse_req_t request, std::string_view text, size_t size) {
  if (size == 0) {
    fuse_reply_xattr(request, text.size());
  } else if (text.size() > size) {
    return ERANGE;
  } else {
    fuse_reply_buf(request, text.data(), text.size());
  }
  return kReplied;
}

void GetXattr(fuse_req_t request, fuse_ino_t node, const char* name, size_t size) {
  Answer(request, [&](FuseFilesystem& filesystem, const store::Caller& caller) {
    const auto value = filesystem.tree.GetXattr(caller, node, name);
    if (value) return ReplyXattr(request, *value, size);
    if (value.error().code == Code::kNotFound) return ENODATA;
    return Refusal(filesystem, value.error());
  });
}

void ListXattr(fuse_req_t request, fuse_ino_t node, size_t size) {
  Answer(request, [&](FuseFilesystem& filesystem, const store::Caller& caller) {
    const auto names = filesystem.tree.ListXattr(caller, node);
    if (!names) return Refusal(filesystem, names.error());
    std::string list;
    for (const std::string& name : *names) list.append(name).push_back('\0');
    return ReplyXattr(request, list, size);
  });
}

void StatFs(fuse_req_t request, fuse_ino_t /*node*/) {
  struct statvfs numbers{};
  numbers.f_bsize = 4096;
  numbers.f_frsize = 4096;
  numbers.f_namemax = kFileNameBytesMax;
  fuse_reply_statfs(request, &numbers);
}

// For a mount that someone made writable: the answer that the kernel gives on ours.
template <typename... Arguments>
void RefuseWrite(fuse_req_t request, Arguments...) {
  fuse_reply_err(request, EROFS);
}

}  // namespace

fuse_lowlevel_ops FuseOperations() {
  fuse_lowlevel_ops operations{};
  operations.lookup = Lookup;
  operations.getattr = GetAttributes;
  operations.access = Access;
  operations.open = Open;
  operations.read = Read;
  operations.opendir = OpenDirectory;
  operations.readdir = ReadDirectory<false>;
  operations.readdirplus = ReadDirectory<true>;
  operations.getxattr = GetXattr;
  operations.listxattr = ListXattr;
  operations.statfs = StatFs;

  operations.setattr = SetAttributes;
  operations.poll = Poll;
  operations.mknod = RefuseWrite;
  operations.mkdir = RefuseWrite;
  operations.unlink = RefuseWrite;
  operations.rmdir = RefuseWrite;
  operations.symlink = RefuseWrite;
  operations.rename = RefuseWrite;
  operations.link = RefuseWrite;
  operations.create = RefuseWrite;
  operations.write = RefuseWrite;
  operations.fallocate = RefuseWrite;
  operations.setxattr = RefuseWrite;
  operations.removexattr = RefuseWrite;
  return operations;
}

}  // namespace secretfs::fs
