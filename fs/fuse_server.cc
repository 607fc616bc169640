#include "fs/fuse_server.h"

#include <errno.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <system_error>

#include "crypto/base/log.h"
#include "fs/request_source.h"

namespace secretfs::fs {
namespace {

// One READ then carries the largest value however the reader's buffer lies in its pages.
constexpr unsigned kTransferBytesMax = 128 * 1024;
// What libfuse adds for the headers of a request (FUSE_BUFFER_HEADER_SIZE, not in its public
// headers).
constexpr size_t kHeaderBytesMax = 4096;

constexpr int kReaderThreadsMax = 8;

void Negotiate(void* /*userdata*/, fuse_conn_info* connection) {
  connection->max_write = kTransferBytesMax;
  // All else stays off, above all what would keep contents or decisions in the kernel.
  connection->want = connection->capable &
                     (FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_PARALLEL_DIROPS |
                      FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_AUTO_INVAL_DATA);
}

ssize_t Receive(int device, void* buffer, size_t size, void* /*userdata*/) {
  return read(device, buffer, size);
}

// Never fails: libfuse would answer a failure with a line on standard error, which may block.
ssize_t Send(int device, iovec* parts, int count, void* /*userdata*/) {
  const auto* header = static_cast<const fuse_out_header*>(parts[0].iov_base);
  const auto size = static_cast<ssize_t>(header->len);
  while (writev(device, parts, count) < 0) {
    const int error = errno;
    if (error == EINTR || error == EAGAIN) continue;
    // ENOENT: the asker was interrupted and is gone; or, for a notification, the kernel knows no
    // such node.
    if (error == ENOENT) break;
    // ENODEV: unmounted.
    if (error == ENODEV) break;
    Log(LogLevel::kError,
        "answer a file system request: " + std::generic_category().message(error));
    if (header->unique == 0) break;
    // Without an answer the asker would wait for ever.
    fuse_out_header failure{.len = sizeof failure, .error = -EIO, .unique = header->unique};
    if (write(device, &failure, sizeof failure) < 0) {
      Log(LogLevel::kError, "a file system request stays unanswered");
    }
    break;
  }
  return size;
}

__attribute__((format(printf, 2, 0))) void LogLibraryLine(fuse_log_level level, const char* format,
                                                          va_list arguments) {
  std::array<char, 512> text;
  if (vsnprintf(text.data(), text.size(), format, arguments) < 0) return;
  std::string_view line = text.data();
  while (line.ends_with('\n')) line.remove_suffix(1);
  Log(level <= FUSE_LOG_ERR ? LogLevel::kError : LogLevel::kWarning, line);
}

int ReaderThreads(int wanted) {
  if (wanted > 0) return std::min(wanted, kReaderThreadsMax);
  const auto cpus = static_cast<int>(std::thread::hardware_concurrency());
  return cpus <= 2 ? 1 : std::min(cpus / 2, kReaderThreadsMax);
}

// While it lives, threads that are started take no signals but those of their own faults, which the
// store's fault guard turns into errors: a blocked fault would end the process.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) {
      sigdelset(&all, fault);
    }
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

FuseServer::FuseServer(UniqueFd ended, fuse_session* session)
    : ended_(std::move(ended)), session_(session) {}

FuseServer::~FuseServer() {
  Join();
}

Result<std::unique_ptr<FuseServer>> FuseServer::Create(UniqueFd device,
                                                       const fuse_lowlevel_ops& operations,
                                                       void* userdata) {
  fuse_set_log_func(LogLibraryLine);
  UniqueFd ended(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!ended.valid()) return FailErrno(Code::kUnavailable, "make an event descriptor", errno);

  fuse_lowlevel_ops served = operations;
  served.init = Negotiate;
  std::string program = "secretfs";
  std::array<char*, 2> arguments{program.data(), nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, arguments.data());
  fuse_session* session = fuse_session_new(&args, &served, sizeof served, userdata);
  if (session == nullptr) return Fail(Code::kUnavailable, "start libfuse: see the line before");
  std::unique_ptr<FuseServer> server(new FuseServer(std::move(ended), session));

  const fuse_custom_io io{
      .writev = Send, .read = Receive, .splice_receive = nullptr, .splice_send = nullptr};
  if (const int error = fuse_session_custom_io(session, &io, device.get()); error != 0) {
    return FailErrno(Code::kUnavailable, "give the mount to libfuse", -error);
  }
  device.Release();  // The session closes it.
  return server;
}

Status FuseServer::Run(int reader_threads) {
  const int count = ReaderThreads(reader_threads);
  const SignalsBlocked blocked;
  for (int i = 0; i < count; ++i) {
    try {
      readers_.emplace_back([this] { ReadRequests(); });
    } catch (const std::system_error& error) {
      if (readers_.empty())
        return Fail(Code::kUnavailable, std::string("start a thread: ") + error.what());
      Log(LogLevel::kWarning, "fewer reader threads than wanted: " + std::string(error.what()));
      break;
    }
    pthread_setname_np(readers_.back().native_handle(),
                       ("secretfs-fuse-" + std::to_string(i)).c_str());
  }
  return {};
}

void FuseServer::ReadRequests() {
  RequestSource source(fuse_session_fd(session_.get()), kTransferBytesMax + kHeaderBytesMax);
  // A failed INIT ends the session from inside.
  while (!fuse_session_exited(session_.get())) {
    const auto request = source.Next();
    if (!request) Log(LogLevel::kError, request.error().message);
    if (!request || request->empty()) break;
    const fuse_buf buffer{
        .size = request->size(), .flags = {}, .mem = request->data(), .fd = -1, .pos = 0};
    fuse_session_process_buf(session_.get(), &buffer);
    source.Done();
  }
  eventfd_write(ended_.get(), 1);
}

void FuseServer::Join() {
  for (std::jthread& reader : readers_) {
    if (reader.joinable()) reader.join();
  }
}

}  // namespace secretfs::fs
