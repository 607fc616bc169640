#include "mount/daemon.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

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
#include "crypto/root_key_deposit.h"
#include "crypto/secret_memory.h"
#include "fs/fuse_session.h"
#include "fs/shared_state.h"
#include "fs/tree.h"
#include "mount/aws_endpoint.h"
#include "mount/http_server.h"
#include "mount/keeper_link.h"
#include "mount/log_file.h"
#include "mount/root_key_changer.h"
#include "mount/status.h"
#include "mount/system_call_filter.h"
#include "mount/toucher.h"
#include "store/secret_service.h"

namespace secretfs::mount {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kMaintenancePeriod{60'000};

// All but those that are the answer to this thread's own fault: they must reach the store's fault
// guard. Threads that start later inherit the mask.
void BlockSignals() {
  sigset_t all;
  sigfillset(&all);
  for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) {
    sigdelset(&all, fault);
  }
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
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
        WarnOfUnlockedMemory();
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

  // Once; secret memory grows when it is needed.
  void WarnOfUnlockedMemory() {
    const crypto::SecretMemoryStats memory = crypto::GetSecretMemoryStats();
    if (warned_of_memory_ || memory.locked_bytes == memory.reserved_bytes) return;
    warned_of_memory_ = true;
    const auto kib = [](size_t bytes) { return std::to_string(bytes / 1024); };
    Log(LogLevel::kWarning,
        "only " + kib(memory.locked_bytes) + " of " + kib(memory.reserved_bytes) +
            " KiB of secret memory are locked, and the rest may be swapped to the disk; raise the "
            "limit to 256 MiB (LimitMEMLOCK=256M in a unit, memlock in /etc/security/limits.d, "
            "--ulimit memlock of a container) and mount again");
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
  bool warned_of_memory_ = false;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // Last: stopped and joined before what it uses.
};

enum class EndReason : uint8_t { kUnmounted, kReplaced };

// Waits until the file system is unmounted or the keeper asks to stop.
EndReason WaitForEnd(KeeperLink& link, int ended, bool ends_with_keeper) {
  std::array<pollfd, 2> fds = {pollfd{ended, POLLIN, 0}, pollfd{link.fd(), POLLIN, 0}};
  while (true) {
    if (poll(fds.data(), fds.size(), -1) < 0) continue;
    if (fds[0].revents != 0) return EndReason::kUnmounted;
    if (fds[1].revents == 0) continue;
    const auto message = link.Receive();
    if (message && *message && (*message)->word == KeeperWord::kStop) {
      Log(LogLevel::kInfo, "the daemon hands over to its successor");
      return EndReason::kReplaced;
    }
    if (message && *message) continue;
    if (ends_with_keeper) {
      Log(LogLevel::kWarning, "the keeper is gone, and the daemon ends; another will go on");
      return EndReason::kReplaced;
    }
    Log(LogLevel::kError,
        "the keeper is gone: nobody will start the daemon again; unmount, and mount again");
    fds[1].fd = -1;
  }
}

// The parts of a running daemon, in the order in which they start.
struct Daemon {
  // What the root key changer needs to know, and the random source that it takes from.
  struct RootKeys {
    RootKeyChanger::Reader reader;
    crypto::RandomSource& random;
  };
  Daemon(std::unique_ptr<store::SecretService> opened, fs::SharedStatePtr shared_state,
         StatusReporter::Facts facts, const RootKeys& root_keys, const Clock& clock)
      : service(std::move(opened)),
        callers(service->realm(), service->header().owner_uid, clock),
        state(std::move(shared_state)),
        status(*service, *state, std::move(facts), clock),
        changer(*service, root_keys.reader, root_keys.random),
        endpoint(*service, callers, status, changer),
        tree(*service, state->caller_memory, clock, {.status = [this] { return status.Text(); }}) {}

  Status OpenDoors(DaemonDescriptors descriptors, UniqueFd device, const DaemonOptions& options,
                   crypto::RandomSource& random) {
    toucher = std::move(descriptors.toucher);
    TRY_ASSIGN(
        http,
        HttpServer::Start(
            std::move(descriptors.listener),
            [this](HttpRequest request) { return endpoint.Answer(std::move(request)); }, random));
    TRY_ASSIGN(
        session,
        fs::FuseSession::Start(
            std::move(device), *state, *service, tree, callers,
            {.reader_threads = static_cast<int>(options.config.reader_threads),
             .resend = options.resend,
             .refuse_mapping = options.config.refuse_mapping,
             .helper = {
                 .touch =
                     [this](const std::string& path) { return AskToTouch(toucher.get(), path); },
                 .drop_pages =
                     [this](uint64_t node) { return AskToDropPages(toucher.get(), node); }}}));
    upkeep = std::make_unique<Upkeep>(*service, milliseconds(options.config.audit_sync_interval_ms),
                                      LogFilePath(options.config.store));
    return {};
  }

  // What must be on the disk is there when this returns.
  void CloseDoors() {
    session.reset();
    http.reset();
    upkeep.reset();
    service->Upkeep();
  }

  std::unique_ptr<store::SecretService> service;
  fs::Callers callers;
  fs::SharedStatePtr state;
  StatusReporter status;
  RootKeyChanger changer;
  AwsEndpoint endpoint;
  fs::Tree tree;
  UniqueFd toucher;
  std::unique_ptr<HttpServer> http;
  std::unique_ptr<fs::FuseSession> session;
  std::unique_ptr<Upkeep> upkeep;
};

// What a person had to say, and nobody keeps.
bool IsAskedFor(const DaemonOptions& options, const store::StoreHeader& header) {
  return !options.root_key && options.root_key_environment.deposit < 0 &&
         std::holds_alternative<crypto::PassphraseSource>(header.root_key_source);
}

// As the user who will serve it, and whose file it is.
Result<store::StoreHeader> ReadHeader(const DaemonOptions& options) {
  const ActingAs acting(options.user);
  TRY(CheckReach(options.config.store));
  return store::SecretService::ReadHeader(options.config.store);
}

Result<std::unique_ptr<crypto::RootKey>> ObtainRootKey(const DaemonOptions& options,
                                                       crypto::RandomSource& random) {
  TRY_ASSIGN(const store::StoreHeader header, ReadHeader(options));
  crypto::RootKeyEnvironment environment = options.root_key_environment;
  environment.opens = [&header](crypto::RootKey& key) {
    return key.Unwrap(header.wrapped_store_key, store::StoreKeyPurpose(header.store_id))
        .has_value();
  };
  auto key =
      crypto::OpenRootKey(options.root_key.value_or(header.root_key_source), environment, random);
  // The command line said where the root key was when the store was mounted: it may have got
  // another since, and that one's place is in the header.
  const bool is_outdated = options.root_key && (!key || !environment.opens(**key));
  if (is_outdated && !std::holds_alternative<crypto::PassphraseSource>(header.root_key_source)) {
    auto now = crypto::OpenRootKey(header.root_key_source, environment, random);
    if (now && environment.opens(**now)) return now;
  }
  if (!key && key.error().code == Code::kNotFound) {
    return Fail(Code::kSealed, "store " + options.config.store +
                                   " stays sealed: " + key.error().message +
                                   "; bring the root key back, or say where it is with --root-key");
  }
  return key;
}

Result<std::unique_ptr<store::SecretService>> OpenService(const DaemonOptions& options,
                                                          crypto::RootKey& root_key, Clock& clock,
                                                          crypto::RandomSource& random) {
  const Config& config = options.config;
  store::SecretService::Options service_options{.directory = config.store, .audit = {}};
  service_options.audit.directory = config.audit_directory;
  service_options.audit.segment_bytes = static_cast<size_t>(config.audit_segment_mib) << 20;
  auto service = store::SecretService::Open(service_options, root_key, nullptr, clock, random);
  if (!service && service.error().code == Code::kSealed && options.root_key) {
    return Fail(Code::kSealed, "store " + config.store + ": the root key " +
                                   crypto::DescribeRootKeySource(*options.root_key) +
                                   " does not open it; give the one that it was made with");
  }
  return service;
}

Status Serve(const DaemonOptions& options, KeeperLink& link, DaemonDescriptors descriptors) {
  const Config& config = options.config;
  SystemClock clock;
  crypto::SystemRandom random;
  TRY_ASSIGN(auto state, fs::MapSharedState(descriptors.shared_state.get()));
  TRY(link.Send(KeeperWord::kLoaded));
  TRY(link.Await(KeeperWord::kOpen));
  TRY_ASSIGN(const auto root_key, ObtainRootKey(options, random));
  StatusReporter::Facts facts{.mountpoint = config.mountpoint,
                              .memfd_secret = crypto::CreateDeposit().has_value(),
                              .root_key_kept = options.root_key_environment.deposit >= 0,
                              .resend = options.resend};
  const uid_t reader = geteuid();
  TRY(BecomeUser(options.user));
  if (config.system_call_filter) {
    TRY_ASSIGN(facts.system_call_filter, FilterSystemCalls(FilteredProcess::kDaemon));
  }
  TRY_ASSIGN(auto service, OpenService(options, *root_key, clock, random));
  TRY(fs::ClaimFor(*state, service->header().store_id));
  TRY(link.Send(KeeperWord::kOpened));
  TRY_ASSIGN(KeeperMessage mounted, link.Await(KeeperWord::kServe));
  const Daemon::RootKeys root_keys{
      {.deposit = options.root_key_environment.deposit, .is_this_user = reader == geteuid()},
      random};
  Daemon daemon(std::move(service), std::move(state), std::move(facts), root_keys, clock);
  TRY(daemon.OpenDoors(std::move(descriptors), std::move(mounted.descriptor), options, random));
  Log(LogLevel::kInfo, "store " + config.store + " is mounted on " + config.mountpoint +
                           " and answers on " + config.socket);
  TRY(link.Send(KeeperWord::kReady,
                IsAskedFor(options, daemon.service->header()) ? "asked for" : ""));
  if (WaitForEnd(link, daemon.session->ended_fd(), options.ends_with_keeper) ==
      EndReason::kReplaced) {
    daemon.http.reset();  // May wait for clients; files are served meanwhile.
    daemon.upkeep.reset();
    daemon.session->Stop();
  } else {
    daemon.session->Join();
  }
  daemon.CloseDoors();
  return {};
}

}  // namespace

Status RunDaemon(const DaemonOptions& options, DaemonDescriptors descriptors) {
  BeSparedNoMore();
  BlockSignals();
  pthread_setname_np(pthread_self(), "secretfs");
  KeeperLink link(std::move(descriptors.link));
  Status served = Serve(options, link, std::move(descriptors));
  // If the keeper is gone there is nobody to tell.
  if (!served) (void)link.Send(KeeperWord::kFailed, EncodeError(served.error()));
  return served;
}

}  // namespace secretfs::mount
