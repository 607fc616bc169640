#pragma once

#include <fuse_lowlevel.h>

#include <atomic>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"
#include "fs/fuse_notices.h"
#include "fs/shared_state.h"

namespace secretfs::fs {

// Serves a mounted /dev/fuse descriptor: libfuse's low-level session under reader threads of our
// own, each of which reads one request at a time and answers it. Knows nothing of secrets, so that
// the null file system of the benchmark runs on exactly this. Replies go out with writev() alone: a
// pipe (splice) would hold plaintext.
//
// Takes over from a server of another process that was killed or that handed over: the kernel's
// INIT is replayed from `state` instead of awaited, requests that were left in its slots are
// answered first, and those that the kernel handed out and that got lost even so are asked for
// again (FUSE_NOTIFY_RESEND) where the kernel can. All operations must bear being done twice.
class FuseServer {
 public:
  struct Setup {
    fuse_lowlevel_ops operations{};  // `init` is the server's own.
    void* userdata = nullptr;        // For the callbacks; must outlive the server.
    bool resend = true;              // False: as on a kernel before 6.9.
  };
  // `state` must outlive the server. Errors: kUnavailable.
  static Result<std::unique_ptr<FuseServer>> Create(UniqueFd device, SharedState& state,
                                                    const Setup& setup);
  // Joins, see Join().
  ~FuseServer();
  FuseServer(const FuseServer&) = delete;
  FuseServer& operator=(const FuseServer&) = delete;

  fuse_session* session() const { return session_.get(); }

  // Starts the threads; the mount answers from now on. 0 threads: one on up to two CPUs, else half
  // of them, at most eight. REQUIRES: called once. Errors: kUnavailable.
  Status Run(int reader_threads);

  const KernelNotices& notices() const { return notices_; }
  // Whether this kernel knows FUSE_NOTIFY_RESEND; known once INIT was answered.
  bool kernel_can_resend() const { return can_resend_.load(); }

  // Becomes readable when serving has ended: the file system was unmounted or the device failed.
  int ended_fd() const { return ended_.get(); }
  // REQUIRES: the file system was unmounted or is being so.
  void Join();
  // Ends serving between two requests, for a successor on the same device.
  void Stop();

 private:
  struct DestroySession {
    void operator()(fuse_session* session) const { fuse_session_destroy(session); }
  };

  FuseServer(UniqueFd ended, SharedState& state, fuse_session* session, int device, bool resend);
  void Process(std::span<uint8_t> request);
  void NotePoller(std::span<const uint8_t> request);
  void TakeOver();
  void AnswerLeftRequest(RequestSlot& slot);
  void ReadRequests(RequestSlot& slot);

  const UniqueFd ended_;
  SharedState& state_;
  const KernelNotices notices_;
  const bool resend_;
  std::atomic<bool> can_resend_{false};
  std::atomic<bool> stop_{false};
  std::atomic<int> reading_{0};  // Threads that have not ended.
  const std::unique_ptr<fuse_session, DestroySession> session_;
  std::vector<std::jthread> readers_;
};

}  // namespace secretfs::fs
