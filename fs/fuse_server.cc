#include "fs/fuse_server.h"

#include <errno.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <system_error>

#include "crypto/base/log.h"
#include "fs/fuse_features.h"
#include "fs/fuse_request_source.h"

namespace secretfs::fs {
namespace {

// After so many daemons died on one request, it is refused.
constexpr uint32_t kAttemptsMax = 3;

// The kernel has the answer already: Send() drops what this thread says.
thread_local bool replaying_init = false;

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
  if (replaying_init) return size;
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

// Interrupts a read() of /dev/fuse, and does nothing else.
constexpr int kInterrupt = SIGUSR1;

void InstallInterrupt() {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  sigaction(kInterrupt, &action, nullptr);
}

void RefuseRequest(int device, uint64_t unique) {
  const fuse_out_header failure{.len = sizeof failure, .error = -EIO, .unique = unique};
  if (write(device, &failure, sizeof failure) < 0 && errno != ENOENT && errno != ENODEV) {
    Log(LogLevel::kError, "a file system request stays unanswered");
  }
}

const fuse_in_header& HeaderOf(std::span<const uint8_t> request) {
  return *reinterpret_cast<const fuse_in_header*>(request.data());
}

void SaveInit(SharedState& state, std::span<const uint8_t> request) {
  if (state.init_bytes.load() != 0 || request.size() > sizeof state.init) return;
  std::ranges::copy(request, state.init);
  state.init_bytes.store(static_cast<uint32_t>(request.size()), std::memory_order_release);
}

}  // namespace

FuseServer::FuseServer(UniqueFd ended, SharedState& state, fuse_session* session, int device,
                       bool resend)
    : ended_(std::move(ended)),
      state_(state),
      notices_(device),
      resend_(resend),
      session_(session) {}

FuseServer::~FuseServer() {
  Join();
}

Result<std::unique_ptr<FuseServer>> FuseServer::Create(UniqueFd device, SharedState& state,
                                                       const Setup& setup) {
  fuse_set_log_func(LogLibraryLine);
  UniqueFd ended(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!ended.valid()) return FailErrno(Code::kUnavailable, "make an event descriptor", errno);

  fuse_lowlevel_ops served = setup.operations;
  served.init = Negotiate;
  std::string program = "secretfs";
  std::array<char*, 2> arguments{program.data(), nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, arguments.data());
  fuse_session* session = fuse_session_new(&args, &served, sizeof served, setup.userdata);
  if (session == nullptr) return Fail(Code::kUnavailable, "start libfuse: see the line before");
  std::unique_ptr<FuseServer> server(
      new FuseServer(std::move(ended), state, session, device.get(), setup.resend));

  const fuse_custom_io io{
      .writev = Send, .read = Receive, .splice_receive = nullptr, .splice_send = nullptr};
  if (const int error = fuse_session_custom_io(session, &io, device.get()); error != 0) {
    return FailErrno(Code::kUnavailable, "give the mount to libfuse", -error);
  }
  device.Release();  // The session closes it.
  return server;
}

Status FuseServer::Run(int reader_threads) {
  InstallInterrupt();
  TakeOver();
  const int count = ReaderThreads(reader_threads);
  const SignalsBlocked blocked;
  for (int i = 0; i < count; ++i) {
    try {
      ++reading_;
      readers_.emplace_back([this, i] { ReadRequests(state_.slots[i]); });
    } catch (const std::system_error& error) {
      --reading_;
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

void FuseServer::Process(std::span<uint8_t> request) {
  const fuse_buf buffer{
      .size = request.size(), .flags = {}, .mem = request.data(), .fd = -1, .pos = 0};
  const bool is_init = HeaderOf(request).opcode == FUSE_INIT;
  if (is_init) SaveInit(state_, request);
  if (HeaderOf(request).opcode == FUSE_POLL) NotePoller(request);
  fuse_session_process_buf(session_.get(), &buffer);
  if (!is_init) return;
  can_resend_ = FeaturesIn(request).resend;
  state_.init_answered.store(1, std::memory_order_release);
}

// Before the answer: a change that comes between the two wakes the poller too.
void FuseServer::NotePoller(std::span<const uint8_t> request) {
  if (request.size() < sizeof(fuse_in_header) + sizeof(fuse_poll_in)) return;
  const auto& in = *reinterpret_cast<const fuse_poll_in*>(request.data() + sizeof(fuse_in_header));
  if ((in.flags & FUSE_POLL_SCHEDULE_NOTIFY) == 0) return;
  const uint64_t evicted = state_.poll_handles.Add(in.kh);
  if (evicted != 0) notices_.WakePoller(evicted);
}

// What a predecessor left. Nothing here waits for the kernel.
void FuseServer::TakeOver() {
  for (RequestSlot& slot : state_.slots) {
    const auto left = LeftRequest(slot);
    // Killed between reading INIT and saving it.
    if (!left.empty() && HeaderOf(left).opcode == FUSE_INIT) SaveInit(state_, left);
  }
  const uint32_t size = state_.init_bytes.load(std::memory_order_acquire);
  if (size == 0) return;
  // A copy: libfuse may write into a request.
  std::vector<uint8_t> init(state_.init, state_.init + size);
  replaying_init = state_.init_answered.load(std::memory_order_acquire) != 0;
  Process(init);
  replaying_init = false;
  for (RequestSlot& slot : state_.slots) AnswerLeftRequest(slot);
  if (!resend_ || !can_resend_) return;
  if (const int error = notices_.ResendRequests(); error != 0) {
    Log(LogLevel::kWarning,
        "the kernel does not resend its open requests: " + std::generic_category().message(error));
  }
}

void FuseServer::AnswerLeftRequest(RequestSlot& slot) {
  const auto left = LeftRequest(slot);
  if (!left.empty() && HeaderOf(left).opcode != FUSE_INIT) {
    const uint64_t unique = HeaderOf(left).unique;
    if (slot.attempts.fetch_add(1) < kAttemptsMax) {
      std::vector<uint8_t> request(left.begin(), left.end());
      Process(request);
    } else {
      Log(LogLevel::kError, "a file system request (operation " +
                                std::to_string(HeaderOf(left).opcode) +
                                ") ended several daemons, and is refused");
      RefuseRequest(fuse_session_fd(session_.get()), unique);
    }
  }
  ClearSlot(slot);
}

void FuseServer::ReadRequests(RequestSlot& slot) {
  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, kInterrupt);
  pthread_sigmask(SIG_UNBLOCK, &interrupt, nullptr);
  RequestSource source(fuse_session_fd(session_.get()), slot, stop_);
  // A failed INIT ends the session from inside.
  while (!fuse_session_exited(session_.get())) {
    const auto request = source.Next();
    if (!request) Log(LogLevel::kError, request.error().message);
    if (!request || request->empty()) break;
    Process(*request);
    source.Done();
  }
  --reading_;
  if (!stop_) eventfd_write(ended_.get(), 1);
}

void FuseServer::Join() {
  for (std::jthread& reader : readers_) {
    if (reader.joinable()) reader.join();
  }
}

void FuseServer::Stop() {
  stop_ = true;
  // A signal that comes between a thread's look at `stop_` and its read() is lost, so: again.
  while (reading_ > 0) {
    for (std::jthread& reader : readers_) pthread_kill(reader.native_handle(), kInterrupt);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  Join();
}

}  // namespace secretfs::fs
