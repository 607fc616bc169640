#pragma once

#include <fuse_lowlevel.h>

#include <memory>
#include <thread>
#include <vector>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"

namespace secretfs::fs {

// Serves a mounted /dev/fuse descriptor: libfuse's low-level session under reader threads of our
// own, each of which reads one request at a time and answers it. Knows nothing of secrets, so that
// the null file system of the benchmark runs on exactly this. Replies go out with writev() alone: a
// pipe (splice) would hold plaintext.
class FuseServer {
 public:
  // `userdata` is for the callbacks and must outlive the server. `operations.init` is the server's
  // own. Errors: kUnavailable.
  static Result<std::unique_ptr<FuseServer>> Create(UniqueFd device,
                                                    const fuse_lowlevel_ops& operations,
                                                    void* userdata);
  // Joins, see Join().
  ~FuseServer();
  FuseServer(const FuseServer&) = delete;
  FuseServer& operator=(const FuseServer&) = delete;

  fuse_session* session() const { return session_.get(); }

  // Starts the threads; the mount answers from now on. 0 threads: one on up to two CPUs, else half
  // of them, at most eight. REQUIRES: called once. Errors: kUnavailable.
  Status Run(int reader_threads);

  // Becomes readable when serving has ended: the file system was unmounted or the device failed.
  int ended_fd() const { return ended_.get(); }
  // REQUIRES: the file system was unmounted or is being so.
  void Join();

 private:
  struct DestroySession {
    void operator()(fuse_session* session) const { fuse_session_destroy(session); }
  };

  FuseServer(UniqueFd ended, fuse_session* session);
  void ReadRequests();

  const UniqueFd ended_;
  const std::unique_ptr<fuse_session, DestroySession> session_;
  std::vector<std::jthread> readers_;
};

}  // namespace secretfs::fs
