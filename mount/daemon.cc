#include "mount/daemon.h"

#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <thread>

#include "crypto/base/log.h"
#include "crypto/base/mutex.h"
#include "fs/fuse_mount.h"
#include "fs/fuse_session.h"
#include "fs/tree.h"
#include "mount/aws_endpoint.h"
#include "mount/exit_status.h"
#include "mount/http_server.h"
#include "mount/listen_socket.h"
#include "mount/log_file.h"
#include "mount/status.h"
#include "store/secret_service.h"

namespace secretfs::mount {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kMaintenancePeriod{60'000};
constexpr int kOpenFilesGraceMs = 5000;

// Blocks every signal that is not the answer to this thread's own fault (those must reach the
// store's fault guard) and returns a descriptor that tells SIGTERM and SIGINT. Threads that start
// later inherit the mask.
Result<UniqueFd> BlockSignals() {
  sigset_t all;
  sigfillset(&all);
  for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) {
    sigdelset(&all, fault);
  }
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGINT);
  UniqueFd fd(signalfd(-1, &ending, SFD_CLOEXEC));
  if (!fd.valid()) return FailErrno(Code::kUnavailable, "wait for signals", errno);
  return fd;
}

// Secret memory is locked memory: take all that the administrator allows.
void RaiseLockedMemoryLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_MEMLOCK, &limit);
}

Result<std::unique_ptr<crypto::RootKey>> ObtainRootKey(const DaemonOptions& options,
                                                       const store::StoreHeader& header,
                                                       crypto::RandomSource& random) {
  const crypto::RootKeySource& source =
      options.root_key ? *options.root_key : header.root_key_source;
  auto key = crypto::OpenRootKey(source, options.root_key_environment, random);
  if (!key && key.error().code == Code::kNotFound) {
    return Fail(Code::kSealed, "store " + options.config.store +
                                   " stays sealed: " + key.error().message +
                                   "; bring the root key back, or say where it is with --root-key");
  }
  return key;
}

// A mount whose daemon was killed answers ENOTCONN to everybody. Detaching it harms nobody, and
// without that no daemon could take its place.
Status ClearDeadMount(const std::string& mountpoint) {
  struct stat ignored{};
  if (stat(mountpoint.c_str(), &ignored) == 0 || errno != ENOTCONN) return {};
  TRY_ASSIGN(const bool is_ours, fs::IsSecretfsMounted(mountpoint));
  if (!is_ours) return {};
  Log(LogLevel::kWarning, mountpoint + ": detaching the mount of a daemon that is gone");
  return fs::UnmountFuse(mountpoint, /*lazy=*/true);
}

// What has to be done now and then, on a thread of its own.
class Upkeep {
 public:
  Upkeep(store::SecretService& service, milliseconds period, std::string log_path)
      : service_(service), period_(period), log_path_(std::move(log_path)) {
    thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
    pthread_setname_np(thread_.native_handle(), "secretfs-upkeep");
  }

 private:
  void Run(const std::stop_token& stop) {
    auto maintained_at = std::chrono::steady_clock::now() - kMaintenancePeriod;
    while (Wait(stop)) {
      try {
        service_.Upkeep();
        const auto now = std::chrono::steady_clock::now();
        if (now - maintained_at < kMaintenancePeriod) continue;
        maintained_at = now;
        Maintain();
      } catch (const std::exception& error) {
        Log(LogLevel::kError, std::string("upkeep: ") + error.what());
      }
    }
  }

  // False: it is time to end.
  bool Wait(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, period_, [] { return false; });
    return !stop.stop_requested();
  }

  void Maintain() {
    BoundLogFile(log_path_);
    const auto purged = service_.PurgeExpired();
    if (!purged) Log(LogLevel::kError, "destroy expired secrets: " + purged.error().message);
    if (purged && *purged > 0) {
      Log(LogLevel::kInfo,
          "destroyed " + std::to_string(*purged) + " secrets whose recovery window has passed");
    }
  }

  store::SecretService& service_;
  const milliseconds period_;
  const std::string log_path_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // Last: stopped and joined before what it uses.
};

// True if `fd` became readable in time.
bool WaitFor(int fd, int timeout_ms) {
  pollfd poll_fd{fd, POLLIN, 0};
  int count = 0;
  while ((count = poll(&poll_fd, 1, timeout_ms)) < 0 && errno == EINTR) {
  }
  return count > 0;
}

// Returns true if a signal asks to end, false if the file system was unmounted.
bool WaitForEnd(int signals, int ended) {
  std::array<pollfd, 2> fds = {pollfd{signals, POLLIN, 0}, pollfd{ended, POLLIN, 0}};
  while (poll(fds.data(), fds.size(), -1) < 0 && errno == EINTR) {
  }
  return fds[1].revents == 0;
}

// Unmounts. False: some program keeps a file of the mount open and does not let go of it.
bool UnmountOrDetach(const std::string& mountpoint, int ended) {
  const Status unmounted = fs::UnmountFuse(mountpoint, /*lazy=*/false);
  if (!unmounted && unmounted.error().code == Code::kFailedPrecondition) {
    Log(LogLevel::kWarning, unmounted.error().message);
    if (Status detached = fs::UnmountFuse(mountpoint, /*lazy=*/true); !detached) {
      Log(LogLevel::kError, detached.error().message);
    }
  }
  return WaitFor(ended, kOpenFilesGraceMs);
}

// The parts of a running daemon, in the order in which they start.
struct Daemon {
  explicit Daemon(std::unique_ptr<store::SecretService> opened, const Config& config,
                  const Clock& clock)
      : service(std::move(opened)),
        callers(service->realm(), service->header().owner_uid, clock),
        status(*service, config.mountpoint, clock),
        endpoint(*service, callers, status),
        tree(*service, clock, {.status = [this] { return status.Text(); }}) {}

  Status OpenDoors(const Config& config, crypto::RandomSource& random) {
    TRY_ASSIGN(socket, ListenSocket::Open(config.socket));
    TRY_ASSIGN(
        http,
        HttpServer::Start(
            socket->TakeDescriptor(),
            [this](HttpRequest request) { return endpoint.Answer(std::move(request)); }, random));
    TRY(ClearDeadMount(config.mountpoint));
    TRY_ASSIGN(UniqueFd device,
               fs::MountFuse({.mountpoint = config.mountpoint, .allow_other = config.allow_other}));
    auto started =
        fs::FuseSession::Start(std::move(device), tree, callers,
                               {.reader_threads = static_cast<int>(config.reader_threads)});
    if (!started) {
      // The session has closed the device, so nobody serves the mount: do not leave it behind.
      if (Status detached = fs::UnmountFuse(config.mountpoint, /*lazy=*/true); !detached) {
        Log(LogLevel::kError, detached.error().message);
      }
      return std::unexpected(std::move(started).error());
    }
    session = *std::move(started);
    return {};
  }

  // What must be on the disk is there when this returns.
  void CloseSocket() {
    http.reset();
    socket.reset();
    upkeep.reset();
    service->Upkeep();
  }

  std::unique_ptr<store::SecretService> service;
  fs::Callers callers;
  StatusReporter status;
  AwsEndpoint endpoint;
  fs::Tree tree;
  std::unique_ptr<ListenSocket> socket;
  std::unique_ptr<HttpServer> http;
  std::unique_ptr<fs::FuseSession> session;
  std::unique_ptr<Upkeep> upkeep;
};

Result<std::unique_ptr<store::SecretService>> OpenService(const DaemonOptions& options,
                                                          Clock& clock,
                                                          crypto::RandomSource& random) {
  const Config& config = options.config;
  TRY_ASSIGN(const store::StoreHeader header, store::SecretService::ReadHeader(config.store));
  TRY_ASSIGN(const auto root_key, ObtainRootKey(options, header, random));
  store::SecretService::Options service_options{.directory = config.store, .audit = {}};
  service_options.audit.directory = config.audit_directory;
  service_options.audit.segment_bytes = static_cast<size_t>(config.audit_segment_mib) << 20;
  auto service = store::SecretService::Open(service_options, *root_key, nullptr, clock, random);
  if (!service && service.error().code == Code::kSealed && options.root_key) {
    return Fail(Code::kSealed, "store " + config.store + ": the root key " +
                                   crypto::DescribeRootKeySource(*options.root_key) +
                                   " does not open it; give the one that it was made with");
  }
  return service;
}

}  // namespace

Status RunDaemon(const DaemonOptions& options, const DaemonEvents& events) {
  const Config& config = options.config;
  TRY_ASSIGN(const UniqueFd signals, BlockSignals());
  RaiseLockedMemoryLimit();
  pthread_setname_np(pthread_self(), "secretfs");  // Started as /proc/self/exe it would be "exe".
  SystemClock clock;
  crypto::SystemRandom random;
  TRY_ASSIGN(auto service, OpenService(options, clock, random));
  Daemon daemon(std::move(service), config, clock);
  TRY(daemon.OpenDoors(config, random));
  daemon.upkeep = std::make_unique<Upkeep>(
      *daemon.service, milliseconds(config.audit_sync_interval_ms), LogFilePath(config.store));
  Log(LogLevel::kInfo, "store " + config.store + " is mounted on " + config.mountpoint +
                           " and answers on " + config.socket);

  const int ended = daemon.session->ended_fd();
  const bool asked_to_end = !events.ready() || WaitForEnd(signals.get(), ended);
  events.stopping();
  if (asked_to_end && !UnmountOrDetach(config.mountpoint, ended)) {
    Log(LogLevel::kWarning, config.mountpoint + ": files are still open; ending without them");
    daemon.CloseSocket();
    // The session's threads wait for requests that may come for as long as those files are open.
    std::_Exit(kExitOk);
  }
  daemon.session->Join();
  daemon.session.reset();
  daemon.CloseSocket();
  if (Status cleared = ClearDeadMount(config.mountpoint); !cleared) {
    Log(LogLevel::kError, cleared.error().message);
  }
  Log(LogLevel::kInfo, config.mountpoint + " is unmounted; the daemon ends");
  return {};
}

}  // namespace secretfs::mount
