#include "mount/http_server.h"

#include <microhttpd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cstring>
#include <exception>
#include <map>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "crypto/base/log.h"
#include "crypto/base/mutex.h"
#include "crypto/keyring.h"

namespace secretfs::mount {
namespace {

constexpr size_t kStackBytes = size_t{256} * 1024;
constexpr unsigned kConnectionsMax = 64;
constexpr int kConnectionsPerUidMax = 16;
constexpr unsigned kTimeoutSeconds = 30;
// For clients that had connected when the daemon was asked to end.
constexpr std::chrono::milliseconds kDrain{2000};
constexpr std::chrono::seconds kLogPause{10};
// Request line and headers, with room for libmicrohttpd's own bookkeeping and a window of the body.
// Not more than 32 KiB: beyond that libmicrohttpd maps pages of its own, which nobody would wipe.
constexpr size_t kConnectionMemoryBytes = 2 * kHttpHeaderBytesMax;

HttpAnswer Refuse(unsigned status, const char* type, const char* message) {
  return {status, type,
          std::string(R"({"__type":")") + type + R"(","Message":")" + message + R"("})"};
}

std::string Header(MHD_Connection* connection, const char* name) {
  const char* value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
  return value == nullptr ? "" : value;
}

// "Application/X-Amz-Json-1.1; charset=utf-8" is kAwsJsonType.
std::string MediaType(std::string value) {
  value.erase(std::min(value.find(';'), value.size()));
  while (!value.empty() && value.back() == ' ') value.pop_back();
  std::ranges::transform(value, value.begin(), [](unsigned char c) { return std::tolower(c); });
  return value;
}

HttpPeer PeerOf(MHD_Connection* connection) {
  const MHD_ConnectionInfo* info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (info == nullptr ||
      getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return {};
  }
  return {credentials.uid, credentials.gid, static_cast<uint32_t>(credentials.pid)};
}

// What is known of one request between its first and its last byte.
struct Exchange {
  std::string id;
  std::optional<HttpAnswer> refused;  // Decided by the headers; the body is read and dropped.
  std::optional<crypto::SecretBuffer> body;
  size_t content_length = 0;
  size_t received = 0;
};

struct Connection {
  uint32_t uid;
  bool waits = false;
};

class MicrohttpdServer final : public HttpServer {
 public:
  MicrohttpdServer(HttpHandler handler, crypto::RandomSource& random)
      : handler_(std::move(handler)), random_(random) {}
  ~MicrohttpdServer() override {
    if (daemon_ == nullptr) return;
    // The socket is not ours alone: a successor goes on listening, and stopping would shut it down.
    const MHD_socket listener = MHD_quiesce_daemon(daemon_);
    AwaitAnswers();
    MHD_stop_daemon(daemon_);
    if (listener >= 0) close(listener);
  }

  Status Listen(UniqueFd listener) {
    // A thread for each of the few connections: in a pool, a request that waits for the disk would
    // hold up whoever shares its thread. The logger comes first, so that it also hears what is
    // wrong with the options.
    daemon_ = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
            MHD_USE_ITC | MHD_USE_ERROR_LOG,
        0, nullptr, nullptr, &OnRequest, this, MHD_OPTION_EXTERNAL_LOGGER, &OnLog, this,
        MHD_OPTION_LISTEN_SOCKET, listener.get(), MHD_OPTION_THREAD_STACK_SIZE, kStackBytes,
        MHD_OPTION_CONNECTION_LIMIT, kConnectionsMax, MHD_OPTION_CONNECTION_TIMEOUT,
        kTimeoutSeconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT, kConnectionMemoryBytes,
        MHD_OPTION_NOTIFY_COMPLETED, &OnCompleted, this, MHD_OPTION_NOTIFY_CONNECTION,
        &OnConnection, this, MHD_OPTION_END);
    if (daemon_ == nullptr) return Fail(Code::kUnavailable, "start the HTTP server: refused");
    listener.Release();  // libmicrohttpd closes it.
    return {};
  }

 private:
  // The four below are called by libmicrohttpd.
  __attribute__((format(printf, 2, 0))) static void OnLog(void* self, const char* format,
                                                          va_list arguments) {
    std::array<char, 256> text{};
    std::vsnprintf(text.data(), text.size(), format, arguments);
    std::string_view line = text.data();
    while (line.ends_with('\n')) line.remove_suffix(1);
    static_cast<MicrohttpdServer*>(self)->LogSeldom(line);
  }

  static void OnConnection(void* self, MHD_Connection* connection, void** socket_context,
                           MHD_ConnectionNotificationCode what) {
    auto* server = static_cast<MicrohttpdServer*>(self);
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
      auto opened = std::make_unique<Connection>(PeerOf(connection).uid);
      server->CountConnection(connection, opened->uid);
      server->SetWaiting(*opened, true);
      *socket_context = opened.release();
    } else {
      const std::unique_ptr<Connection> closed(static_cast<Connection*>(*socket_context));
      server->SetWaiting(*closed, false);
      server->UncountConnection(closed->uid);
    }
  }

  static Connection& ContextOf(MHD_Connection* connection) {
    const MHD_ConnectionInfo* info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return *static_cast<Connection*>(info->socket_context);
  }

  static void OnCompleted(void* self, MHD_Connection* connection, void** exchange,
                          MHD_RequestTerminationCode) {
    delete static_cast<Exchange*>(*exchange);
    *exchange = nullptr;
    static_cast<MicrohttpdServer*>(self)->SetWaiting(ContextOf(connection), false);
  }

  static MHD_Result OnRequest(void* self, MHD_Connection* connection, const char* url,
                              const char* method, const char*, const char* data, size_t* size,
                              void** exchange_slot) {
    auto* server = static_cast<MicrohttpdServer*>(self);
    try {
      if (*exchange_slot == nullptr) {
        server->SetWaiting(ContextOf(connection), true);
        auto exchange = server->Begin(connection, url, method);
        // Nothing is read of a body that is too large: the connection ends after the answer.
        const bool too_large = exchange->content_length > kHttpBodyBytesMax;
        const MHD_Result sent =
            too_large ? Send(connection, exchange->id, *std::move(exchange->refused)) : MHD_YES;
        *exchange_slot = exchange.release();
        return sent;
      }
      auto& exchange = *static_cast<Exchange*>(*exchange_slot);
      if (*size > 0) {
        const bool fits = Receive(exchange, {reinterpret_cast<const uint8_t*>(data), *size});
        *size = 0;
        return fits ? MHD_YES : MHD_NO;
      }
      return server->Finish(connection, exchange);
    } catch (const std::exception& error) {
      Log(LogLevel::kError, std::string("http: ") + error.what());
      return MHD_NO;
    }
  }

  // A connection waits for an answer from its first moment, and again with each further request.
  void SetWaiting(Connection& connection, bool waits) {
    MutexLock lock(mutex_);
    if (connection.waits == waits) return;
    connection.waits = waits;
    waiting_ += waits ? 1 : -1;
  }

  void AwaitAnswers() {
    const auto deadline = std::chrono::steady_clock::now() + kDrain;
    while (std::chrono::steady_clock::now() < deadline) {
      {
        MutexLock lock(mutex_);
        if (waiting_ == 0) return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  // What libmicrohttpd says of a malformed request everybody can make it say, as often as they
  // like.
  void LogSeldom(std::string_view line) {
    const auto now = std::chrono::steady_clock::now();
    MutexLock lock(mutex_);
    if (now < log_again_at_) return;
    log_again_at_ = now + kLogPause;
    Log(LogLevel::kWarning, "http: " + std::string(line));
  }

  // A uid that holds too many connections gets its newest one cut before a byte is read.
  void CountConnection(MHD_Connection* connection, uint32_t uid) {
    MutexLock lock(mutex_);
    if (++connections_[uid] <= kConnectionsPerUidMax) return;
    const MHD_ConnectionInfo* info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    shutdown(info->connect_fd, SHUT_RDWR);
  }

  void UncountConnection(uint32_t uid) {
    MutexLock lock(mutex_);
    if (--connections_[uid] == 0) connections_.erase(uid);
  }

  std::unique_ptr<Exchange> Begin(MHD_Connection* connection, std::string_view url,
                                  std::string_view method) {
    auto exchange = std::make_unique<Exchange>();
    exchange->id = crypto::FormatUuid(crypto::NewUuid(random_));
    const std::string length = Header(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
    auto [end, error] =
        std::from_chars(length.data(), length.data() + length.size(), exchange->content_length);
    const bool has_length = error == std::errc() && end == length.data() + length.size();
    if (exchange->content_length > kHttpBodyBytesMax) {
      exchange->refused = Refuse(MHD_HTTP_CONTENT_TOO_LARGE, "SerializationException",
                                 "The body is larger than 512 KiB.");
    } else if (method != MHD_HTTP_METHOD_POST) {
      exchange->refused = Refuse(MHD_HTTP_METHOD_NOT_ALLOWED, "UnknownOperationException",
                                 "Only POST is answered here.");
    } else if (url != "/") {
      exchange->refused = Refuse(MHD_HTTP_NOT_FOUND, "UnknownOperationException",
                                 "Every operation is a POST to the path /.");
    } else if (!has_length) {
      exchange->refused = Refuse(MHD_HTTP_LENGTH_REQUIRED, "SerializationException",
                                 "Send the body with a Content-Length.");
    }
    return exchange;
  }

  // False: the body is longer than it said.
  static bool Receive(Exchange& exchange, ByteSpan data) {
    if (exchange.refused) return true;
    if (!exchange.body) exchange.body.emplace(exchange.content_length);
    if (data.size() > exchange.content_length - exchange.received) return false;
    std::ranges::copy(
        data, exchange.body->Writable().begin() + static_cast<ptrdiff_t>(exchange.received));
    exchange.received += data.size();
    return true;
  }

  MHD_Result Finish(MHD_Connection* connection, Exchange& exchange) {
    if (exchange.refused) return Send(connection, exchange.id, *std::move(exchange.refused));
    HttpRequest request{PeerOf(connection), exchange.id, Header(connection, "X-Amz-Target"),
                        MediaType(Header(connection, MHD_HTTP_HEADER_CONTENT_TYPE)),
                        exchange.body ? *std::move(exchange.body) : crypto::SecretBuffer()};
    exchange.body.reset();
    try {
      return Send(connection, exchange.id, handler_(std::move(request)));
    } catch (const std::exception& error) {
      Log(LogLevel::kError, "request " + exchange.id + ": " + error.what());
      return Send(connection, exchange.id,
                  Refuse(MHD_HTTP_INTERNAL_SERVER_ERROR, "InternalServiceError",
                         "The request failed unexpectedly; see the log of the daemon."));
    }
  }

  static MHD_Result Send(MHD_Connection* connection, const std::string& id, HttpAnswer answer) {
    // The answer lives until libmicrohttpd has sent its last byte, and is wiped then.
    auto* body = new HttpBody(std::move(answer.body));
    const ByteSpan bytes = std::holds_alternative<std::string>(*body)
                               ? AsBytes(std::get<std::string>(*body))
                               : std::get<crypto::SecretBuffer>(*body).Reveal();
    MHD_Response* response = MHD_create_response_from_buffer_with_free_callback_cls(
        bytes.size(), const_cast<uint8_t*>(bytes.data()),
        [](void* owner) { delete static_cast<HttpBody*>(owner); }, body);
    if (response == nullptr) {
      delete body;
      return MHD_NO;
    }
    const std::string type(kAwsJsonType);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type.c_str());
    MHD_add_response_header(response, "x-amzn-RequestId", id.c_str());
    if (!answer.error_type.empty()) {
      MHD_add_response_header(response, "x-amzn-errortype", answer.error_type.c_str());
    }
    if (answer.status == MHD_HTTP_METHOD_NOT_ALLOWED) {
      MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, MHD_HTTP_METHOD_POST);
    }
    const MHD_Result queued = MHD_queue_response(connection, answer.status, response);
    MHD_destroy_response(response);
    return queued;
  }

  const HttpHandler handler_;
  crypto::RandomSource& random_;
  MHD_Daemon* daemon_ = nullptr;
  Mutex mutex_;
  std::map<uint32_t, int> connections_ GUARDED_BY(mutex_);
  int waiting_ GUARDED_BY(mutex_) = 0;  // Connections that want an answer.
  std::chrono::steady_clock::time_point log_again_at_ GUARDED_BY(mutex_);
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::Start(UniqueFd listener, HttpHandler handler,
                                                      crypto::RandomSource& random) {
  auto server = std::make_unique<MicrohttpdServer>(std::move(handler), random);
  TRY(server->Listen(std::move(listener)));
  return server;
}

}  // namespace secretfs::mount
