#pragma once

#include <memory>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"
#include "fs/callers.h"
#include "fs/follower.h"
#include "fs/shared_state.h"
#include "fs/tree.h"

namespace secretfs::fs {

// A tree, served on a mounted /dev/fuse descriptor (fuse_server.h says how), and following its
// store (follower.h): what the rest of the program sees of libfuse. Settings: reference table in
// README, "How the mount is set up".
class FuseSession {
 public:
  struct Options {
    int reader_threads = 0;  // 0: one on up to two CPUs, else half of them, at most eight.
    bool resend = true;      // False: as on a kernel without FUSE_NOTIFY_RESEND, for tests.
    // Refuse what would leave plaintext in the page cache, instead of dropping it soon: mmap() then
    // gives SIGBUS, sendfile() an error.
    bool refuse_mapping = false;
    FollowerHelper helper;
  };

  // Starts serving; the mount answers from now on. What is given by reference must outlive the
  // session. Errors: kUnavailable.
  static Result<std::unique_ptr<FuseSession>> Start(UniqueFd fuse_device, SharedState& state,
                                                    store::SecretService& service, Tree& tree,
                                                    Callers& callers, Options options);
  ~FuseSession();

  // Becomes readable when the session has ended because the file system was unmounted.
  int ended_fd() const;
  // Waits for the end and joins the threads. REQUIRES: the file system was unmounted or is being
  // so.
  void Join();
  // Ends serving between two requests; what the kernel asks from now on waits for a successor.
  void Stop();
  bool kernel_can_resend() const;

 private:
  struct Served;
  explicit FuseSession(std::unique_ptr<Served> served);
  const std::unique_ptr<Served> served_;
};

}  // namespace secretfs::fs
