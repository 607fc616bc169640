#pragma once

#include <functional>
#include <memory>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"
#include "crypto/random.h"
#include "mount/http_message.h"

namespace secretfs::mount {

// Answers a request; called on several threads at once. What it throws becomes an
// InternalServiceError.
using HttpHandler = std::function<HttpAnswer(HttpRequest)>;

// HTTP/1.1 on a listening Unix socket (libmicrohttpd, on threads of its own). It takes POST to "/"
// with a Content-Length and answers everything else itself; bodies go from libmicrohttpd's
// connection memory, which is wiped when freed, into a SecretBuffer.
//
// Limits: kHttpHeaderBytesMax, kHttpBodyBytesMax, 30 s of silence, 64 connections, of which one uid
// may hold 16, so that no user can keep the others out.
class HttpServer {
 public:
  // `listener` is a listening stream socket. `random` must outlive the server. Errors:
  // kUnavailable.
  static Result<std::unique_ptr<HttpServer>> Start(UniqueFd listener, HttpHandler handler,
                                                   crypto::RandomSource& random);
  // Stops accepting, gives connections that were accepted kDrain to ask and be answered, and joins
  // the threads; a request that a handler works on is worked on to its end. The listening socket
  // stays as it is for whoever shares it.
  virtual ~HttpServer() = default;
};

}  // namespace secretfs::mount
