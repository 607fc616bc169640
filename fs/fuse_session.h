#pragma once

#include <memory>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"
#include "fs/callers.h"
#include "fs/tree.h"

namespace secretfs::fs {

// Serves a mounted /dev/fuse descriptor with libfuse's low-level API and reader threads of its own:
// each reads one request at a time into its buffer (fuse_session_custom_io), so that the buffer can
// later live in memory that outlasts the process. Settings: reference table in README, "How the
// mount is set up".
class FuseSession {
 public:
  struct Options {
    int reader_threads = 0;  // 0: one on up to two CPUs, else half of them, at most eight.
  };

  // Starts serving; the mount answers from now on. `tree` and `callers` must outlive the session.
  static Result<std::unique_ptr<FuseSession>> Start(UniqueFd fuse_device, Tree& tree,
                                                    Callers& callers, const Options& options);
  virtual ~FuseSession() = default;

  // Becomes readable when the session has ended because the file system was unmounted.
  virtual int ended_fd() const = 0;
  // Waits for the end and joins the threads. REQUIRES: the file system was unmounted or is being
  // so.
  virtual void Join() = 0;
};

}  // namespace secretfs::fs
