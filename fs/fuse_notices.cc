#include "fs/fuse_notices.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace secretfs::fs {
namespace {

// Of linux/fuse.h after Linux 6.1, whose headers Debian 12 has.
constexpr int32_t kNotifyResend = 7;  // FUSE_NOTIFY_RESEND

template <typename Body>
struct Message {
  fuse_out_header header;
  Body body;
};

// Returns an errno, 0 for success.
template <typename Body>
int Tell(int device, int32_t code, const Body& body) {
  const Message<Body> message{{.len = sizeof message, .error = code, .unique = 0}, body};
  return write(device, &message, sizeof message) < 0 ? errno : 0;
}

bool Forget(int device, uint64_t node, int64_t offset) {
  const fuse_notify_inval_inode_out body{.ino = node, .off = offset, .len = 0};
  return Tell(device, FUSE_NOTIFY_INVAL_INODE, body) != ENOENT;
}

}  // namespace

bool KernelNotices::ForgetAttributes(uint64_t node) const {
  // A negative offset leaves the pages alone, and so waits for nobody's.
  return Forget(device_, node, -1);
}

bool KernelNotices::ForgetContent(uint64_t node) const {
  return Forget(device_, node, 0);
}

void KernelNotices::WakePoller(uint64_t poll_handle) const {
  Tell(device_, FUSE_NOTIFY_POLL, fuse_notify_poll_wakeup_out{.kh = poll_handle});
}

int KernelNotices::ResendRequests() const {
  const fuse_out_header message{.len = sizeof message, .error = kNotifyResend, .unique = 0};
  return write(device_, &message, sizeof message) < 0 ? errno : 0;
}

Result<UniqueFd> OpenNotifier(int device) {
  UniqueFd notifier(open("/dev/fuse", O_WRONLY | O_CLOEXEC));
  if (!notifier.valid()) return FailErrno(Code::kUnavailable, "/dev/fuse", errno);
  auto source = static_cast<uint32_t>(device);
  if (ioctl(notifier.get(), FUSE_DEV_IOC_CLONE, &source) != 0) {
    return FailErrno(Code::kUnavailable, "clone /dev/fuse", errno);
  }
  return notifier;
}

}  // namespace secretfs::fs
