#pragma once

#include <sys/stat.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/clock.h"
#include "crypto/base/mutex.h"
#include "crypto/base/result.h"
#include "crypto/secret_buffer.h"
#include "fs/node_id.h"
#include "fs/recent_opens.h"
#include "store/record.h"
#include "store/secret_service.h"

namespace secretfs::fs {

inline constexpr size_t kFileNameBytesMax = store::kPathComponentBytesMax;

// A node's number, its attributes as the caller sees them, and how long the kernel may keep each.
struct Entry {
  uint64_t node = 0;
  struct stat attributes{};
  double entry_seconds = 0;
  double attribute_seconds = 0;
};

struct OpenFile {
  uint64_t handle = 0;
  // The kernel may hold attributes of the version before this one, and must drop them before the
  // open is answered, or a program's fstat() would show another size than its handle reads.
  bool drop_cached_attributes = false;
};

// A file that shows something else since a change, and the directory that it is in.
struct ShownFile {
  uint64_t node = 0;
  uint64_t directory = 0;
  std::string path;  // In the mount, without a leading "/".
};

struct ByteRange {
  uint64_t offset = 0;
  size_t size = 0;
};

// The bytes of a file that a read gets: a part of `file`, so that nothing is copied on the way to
// the reply.
struct FileBytes {
  crypto::SecretBuffer file;
  ByteRange part;

  ByteSpan Reveal() const { return file.Reveal().subspan(part.offset, part.size); }
};

// The mounted tree (DESIGN.md section 1) without FUSE: every operation takes node numbers and
// handles as the kernel gives them and answers with values or an error whose code maps to errno
// (fs/errno_map.h). Holds no state but hints about who asked lately, which may be lost at any time;
// thread-safe. The caller's Principal must be what Callers gave for the request.
class Tree {
 public:
  struct Options {
    // The text of `_status`: JSON, no secrets. Called at most once a second or so.
    std::function<std::string()> status;
    double directory_entry_seconds = 60;
    double attribute_seconds = 1;
  };

  // All three must outlive the tree.
  Tree(store::SecretService& service, CallerMemory& memory, const Clock& clock, Options options);

  // A name that exists resolves whoever asks. Errors: kNotFound; kStale for a node that is gone
  // (the kernel then looks the whole path up again, which heals a path that was removed and made
  // anew).
  Result<Entry> Lookup(const store::Caller& caller, uint64_t parent, std::string_view name);
  // `handle`: of the open file that is asked about, if the kernel said.
  Result<Entry> GetAttributes(const store::Caller& caller, uint64_t node,
                              std::optional<uint64_t> handle);
  // access(2): `mask` of R_OK, W_OK, X_OK. Not audited, since it reveals what stat() does.
  // Errors: kPermissionDenied, kStale.
  Status CheckAccess(const store::Caller& caller, uint64_t node, int mask);

  // Decides and audits. Errors: kPermissionDenied, kNotFound, kStale, kKeyUnavailable,
  // kUnavailable.
  Result<OpenFile> Open(const store::Caller& caller, uint64_t node);
  // Fewer bytes than asked for only at the end. A value is decrypted for this call alone, and not
  // at all for a range that begins at or past the end.
  Result<FileBytes> Read(const store::Caller& caller, uint64_t node, uint64_t handle,
                         const ByteRange& range);

  // Whether the version that an open file reads is no longer the one that its path shows.
  bool IsOutdated(uint64_t node, uint64_t handle) const;
  // What a change of the store altered; not what it removed. Errors: kCorrupt, kUnavailable.
  Result<std::vector<ShownFile>> FilesChangedBy(const store::Change& change) const;

  // Returns the directory's handle. Decides and audits.
  Result<uint64_t> OpenDirectory(const store::Caller& caller, uint64_t node);
  // Entries after `cursor` (0: from the start) until `emit` returns false (its buffer is full).
  // Each entry comes with the cursor that continues after it; cursors are positive in 64 signed
  // bits and stable while entries come and go. With `with_attributes`, Entry is complete
  // (READDIRPLUS), except for "." and ".."; else only `node` and the file type in `st_mode`.
  struct DirectoryRead {
    uint64_t handle = 0;
    uint64_t cursor = 0;
    bool with_attributes = false;
  };
  using EmitEntry =
      std::function<bool(std::string_view name, uint64_t next_cursor, const Entry& entry)>;
  Status ReadDirectory(const store::Caller& caller, uint64_t node, const DirectoryRead& read,
                       const EmitEntry& emit);

  // "user.secretfs.name" and so on. Errors: kNotFound (ENODATA) for an attribute that the file does
  // not have, kPermissionDenied.
  Result<std::string> GetXattr(const store::Caller& caller, uint64_t node, std::string_view name);
  // Names that GetXattr() knows; none for a caller that may not describe the secret.
  Result<std::vector<std::string>> ListXattr(const store::Caller& caller, uint64_t node);

 private:
  // What a node of a secret is about at this moment. `secret` is never null. A triple's node has a
  // version, and a label unless the place is a version's; if either is missing, it is gone. For
  // other nodes they are AWSCURRENT's, if there is one.
  struct Located {
    store::SecretPtr secret;
    const store::Version* version = nullptr;
    const store::Label* label = nullptr;
  };
  // One file's attributes for those who may see them.
  struct FileFacts {
    uint64_t size = 0;
    TimeMs modified_at = 0;
    TimeMs changed_at = 0;
  };
  class Listing;  // tree_changes.cc
  Status AddShownTriple(const NodeId& directory, const std::string& path,
                        const store::Version& version, std::vector<ShownFile>& files) const;

  // tree_directory.cc

  // tree_locate.cc
  Result<Located> LocateSecret(
      const NodeId& node) const;                     // Without looking whether a triple is gone.
  Result<Located> Locate(const NodeId& node) const;  // Errors: kStale.
  Result<uint32_t> ValueSize(const NodeId& node, const store::Version& version) const;
  Status CheckPathExists(store::PathId path) const;

  static NodeId LabelDirectory(const store::Label& label, store::PathId path);

  // tree_lookup.cc
  Result<Entry> Find(const store::Caller& caller, uint64_t parent, std::string_view name);
  Result<Entry> LookupPath(const store::Caller& caller, store::PathId parent,
                           std::string_view name);
  Result<Entry> LookupOwn(const store::Caller& caller, store::PathId path, std::string_view name);
  Result<Entry> LookupLabel(store::PathId path, std::string_view name);
  Result<Entry> LookupVersion(store::PathId path, std::string_view name);
  Result<Entry> LookupMember(const store::Caller& caller, const NodeId& directory,
                             std::string_view name);
  Result<Entry> LookupKey(const store::Caller& caller, const NodeId& directory,
                          std::string_view name);

  // tree_attributes.cc
  Entry DirectoryEntry(const NodeId& node) const;
  Entry StatusEntry();
  // A file of the triple, in `located.version`. Errors: kStale if the version has no such key.
  Result<Entry> TripleFileEntry(const store::Caller& caller, const NodeId& node,
                                const Located& located);
  Entry MetaEntry(const store::Caller& caller, const NodeId& node, const Located& located);
  // `facts` null: the caller may not see them. `now`, here and below: the clock was read once.
  struct Caching {
    bool allowed = false;
    TimeMs now = 0;
  };
  Entry FileEntry(const store::Caller& caller, const NodeId& node, const FileFacts* facts,
                  const Caching& caching);
  FileFacts TripleFacts(const Located& located, uint64_t size) const;
  bool MaySee(const store::Caller& caller, const NodeId& node, const store::Secret& secret) const;
  // The label came to its version so lately that the kernel may hold attributes of the one before.
  bool MovedLately(const Located& located, TimeMs now) const;

  // tree_file.cc
  std::string MetaText(const store::Secret& secret) const;
  Result<FileBytes> ReadMetadata(const store::Caller& caller, const NodeId& node, uint64_t handle,
                                 const ByteRange& range) const;
  std::string StatusText(bool may_be_older);

  // tree_directory.cc
  Status CheckMayGoOn(const store::Caller& caller, const NodeId& directory);
  Status ListRoot(Listing& listing);
  void AddMembers(Listing& listing, const NodeId& directory, const Located& located);
  Status ListPath(Listing& listing, const NodeId& node);
  Status ListChildren(Listing& listing, store::PathId parent);
  Status ListLabels(Listing& listing, const NodeId& node);
  Status ListVersions(Listing& listing, const NodeId& node);
  Status ListMembers(Listing& listing, const NodeId& node);
  Status ListKeys(Listing& listing, const NodeId& node, uint64_t handle);

  store::SecretService& service_;
  CallerMemory& memory_;
  const Clock& clock_;
  const Options options_;
  const TimeMs directory_time_;  // Directories look the same to all, for ever.
  const TimeMs
      settle_ms_;  // For how long after a label's move its files' attributes are not cached.

  Mutex status_mutex_;
  std::string status_text_ GUARDED_BY(status_mutex_);
  TimeMs status_rendered_at_ GUARDED_BY(status_mutex_) = 0;
};

}  // namespace secretfs::fs
