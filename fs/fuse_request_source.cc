#include "fs/fuse_request_source.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <unistd.h>

namespace secretfs::fs {
namespace {

fuse_in_header& HeaderOf(RequestSlot& slot) {
  return *reinterpret_cast<fuse_in_header*>(slot.bytes);
}

// Order matters to whoever finds the slot after a kill: a busy slot has no stale request in it.
void Open(RequestSlot& slot) {
  std::atomic_ref(HeaderOf(slot).unique).store(0, std::memory_order_release);
  slot.busy.store(1, std::memory_order_release);
}

}  // namespace

Result<std::span<uint8_t>> RequestSource::Next() {
  while (!stop_.load(std::memory_order_acquire)) {
    Open(slot_);
    const ssize_t size = read(device_, slot_.bytes, sizeof slot_.bytes);
    if (size > 0) {
      slot_.taken.fetch_add(1, std::memory_order_relaxed);
      return std::span(slot_.bytes, static_cast<size_t>(size));
    }
    const int error = size == 0 ? ENODEV : errno;
    ClearSlot(slot_);
    if (error == ENODEV) break;
    if (error == EAGAIN) {
      pollfd readable{device_, POLLIN, 0};
      poll(&readable, 1, -1);
      continue;
    }
    // ENOENT: the request was interrupted while it was on its way to us.
    if (error != EINTR && error != ENOENT) {
      return FailErrno(Code::kUnavailable, "read a request from /dev/fuse", error);
    }
  }
  return std::span<uint8_t>();
}

void RequestSource::Done() {
  ClearSlot(slot_);
}

uint64_t RequestIn(RequestSlot& slot) {
  if (slot.busy.load(std::memory_order_acquire) == 0) return 0;
  return std::atomic_ref(HeaderOf(slot).unique).load(std::memory_order_relaxed);
}

std::span<uint8_t> LeftRequest(RequestSlot& slot) {
  const fuse_in_header& header = HeaderOf(slot);
  if (RequestIn(slot) == 0) return {};
  if (header.len < sizeof header || header.len > sizeof slot.bytes) return {};
  return std::span(slot.bytes, header.len);
}

void ClearSlot(RequestSlot& slot) {
  std::atomic_ref(HeaderOf(slot).unique).store(0, std::memory_order_release);
  slot.busy.store(0, std::memory_order_release);
  slot.attempts.store(0, std::memory_order_relaxed);
}

}  // namespace secretfs::fs
