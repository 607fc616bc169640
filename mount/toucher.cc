#include "mount/toucher.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <csignal>
#include <string_view>

#include "fs/fuse_notices.h"
#include "mount/privileges.h"
#include "mount/spawn.h"
#include "mount/system_call_filter.h"

namespace secretfs::mount {
namespace {

using Answer = fs::FollowerHelper::Answer;

constexpr int kAskWaitMs = 100;

// How a packet begins; a path or a node's decimal number follows.
constexpr char kTouchWord = 't';
constexpr char kDropWord = 'd';

// Waits for a moment if the toucher has much to do.
Answer Ask(int toucher, const std::string& packet) {
  pollfd writable{toucher, POLLOUT, 0};
  if (poll(&writable, 1, kAskWaitMs) == 0) return Answer::kNotNow;
  while (send(toucher, packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) return Answer::kNotNow;
    if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) return Answer::kGone;
    return Answer::kTaken;  // A packet that can never be sent: nothing gets better by asking again.
  }
  return Answer::kTaken;
}

class Toucher {
 public:
  explicit Toucher(const ToucherOptions& options)
      : socket_(options.socket.get()),
        touches_(options.root.valid() || !options.prefix.empty()),
        root_(options.root.valid() ? options.root.get() : AT_FDCWD),
        prefix_(options.root.valid() ? "" : options.prefix + "/"),
        notices_(options.notifier.get()) {}

  void Run() {
    std::array<char, PATH_MAX> bytes;
    while (true) {
      // Only looked at, so that whoever comes after this process finds what it did not do.
      const ssize_t size = recv(socket_, bytes.data(), bytes.size(), MSG_PEEK);
      if (size < 0 && errno == EINTR) continue;
      if (size < 0 || (size == 0 && IsClosed())) return;
      if (size > 0) Do(std::string_view(bytes.data(), static_cast<size_t>(size)));
      while (recv(socket_, bytes.data(), bytes.size(), 0) < 0 && errno == EINTR) {
      }
    }
  }

 private:
  // Or the daemon sent an empty packet, which says nothing.
  bool IsClosed() const {
    pollfd state{socket_, POLLIN, 0};
    return poll(&state, 1, 0) < 0 || (state.revents & POLLHUP) != 0;
  }

  void Do(std::string_view packet) {
    const char word = packet.front();
    packet.remove_prefix(1);
    // Nothing but files of the mount.
    if (word == kTouchWord && !packet.starts_with('/')) {
      Touch(prefix_ + std::string(packet));
    } else if (word == kDropWord) {
      uint64_t node = 0;
      std::from_chars(packet.data(), packet.data() + packet.size(), node);
      if (node != 0) notices_.ForgetContent(node);
    }
  }

  void Touch(const std::string& path) const {
    if (!touches_) return;
    constexpr timespec kKeep{.tv_sec = 0, .tv_nsec = UTIME_OMIT};
    constexpr timespec kNow{.tv_sec = 0, .tv_nsec = UTIME_NOW};
    const std::array<timespec, 2> times = {kKeep, kNow};
    // A file that is gone by now has nobody to tell.
    if (utimensat(root_, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0) return;
    const UniqueFd file(
        openat(root_, path.c_str(), O_WRONLY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  }

  const int socket_;
  const bool touches_;
  const int root_;
  const std::string prefix_;
  const fs::KernelNotices notices_;
};

}  // namespace

Status RunToucher(const ToucherOptions& options) {
  if (!options.socket.valid() || !options.notifier.valid() || !options.known.valid()) {
    return Fail(Code::kInvalidArgument, "this is for secretfs mount to start");
  }
  pthread_setname_np(pthread_self(), "secretfs-touch");
  BeSparedNoMore();
  TRY(BecomeNobody());
  // Its root and its notifier keep the file system alive, which without a keeper nobody could end.
  const pid_t keeper = getppid();
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != keeper) return {};
  if (options.system_call_filter) TRY(FilterSystemCalls(FilteredProcess::kToucher));
  // A daemon that does not know it would refuse the touch, and nobody would be woken.
  char none = 0;
  while (read(options.known.get(), &none, 1) < 0 && errno == EINTR) {
  }
  Toucher(options).Run();
  return {};
}

Result<StartedToucher> StartToucherProcess(const ToucherPlan& plan) {
  std::array<int, 2> pair{};
  if (pipe2(pair.data(), O_CLOEXEC) != 0) {
    return FailErrno(Code::kUnavailable, "connect the toucher", errno);
  }
  const UniqueFd known(pair[0]);
  StartedToucher started{.pid = -1, .known = UniqueFd(pair[1])};
  TRY_ASSIGN(const UniqueFd notifier, fs::OpenNotifier(plan.device));
  SpawnPlan spawn;
  TRY(spawn.Give(plan.socket, kToucherSocketFd));
  TRY(spawn.Give(plan.root, kToucherRootFd));
  TRY(spawn.Give(notifier.get(), kToucherNotifierFd));
  TRY(spawn.Give(known.get(), kToucherKnownFd));
  spawn.CloseFrom(kToucherFdEnd);
  TRY_ASSIGN(started.pid, spawn.Spawn("/proc/self/exe", plan.arguments));
  return started;
}

Answer AskToTouch(int toucher, const std::string& path) {
  return Ask(toucher, kTouchWord + path);
}

Answer AskToDropPages(int toucher, uint64_t node) {
  return Ask(toucher, kDropWord + std::to_string(node));
}

}  // namespace secretfs::mount
