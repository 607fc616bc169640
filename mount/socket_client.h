#pragma once

#include <string>

#include "crypto/base/result.h"
#include "crypto/secret_buffer.h"

namespace secretfs::mount {

// An answer of the daemon: its status line's number and its body.
struct SocketAnswer {
  int status = 0;
  crypto::SecretBuffer body;
};

// Sends one HTTP/1.1 POST with AWS JSON over the Unix socket at `path` and waits for the answer. No
// HTTP library: the one in the daemon is a server, and a client library would load 30 more
// libraries beside the secrets.
//
// Errors: kUnavailable if nobody answers ("no daemon answers on <path>: <why>; start one with:
// secretfs mount") or the connection breaks; kInternal if the answer is not HTTP as our server
// speaks it.
Result<SocketAnswer> PostToSocket(const std::string& path, const std::string& target,
                                  const crypto::SecretBuffer& body);

}  // namespace secretfs::mount
