#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "crypto/secret_buffer.h"

namespace secretfs::mount {

inline constexpr std::string_view kAwsJsonType = "application/x-amz-json-1.1";

// A value of 65,536 bytes may be 6 times as long as JSON ("\u0001" for one byte; some clients write
// "<" so too), and the other members come on top.
inline constexpr size_t kHttpBodyBytesMax = 512 * 1024;
inline constexpr size_t kHttpHeaderBytesMax = 16 * 1024;

// Who is at the other end of a Unix socket, by the kernel (SO_PEERCRED of unix(7)): as of its
// connect().
struct HttpPeer {
  uint32_t uid = UINT32_MAX;
  uint32_t gid = UINT32_MAX;
  uint32_t pid = 0;
};

// A POST to "/" whose body has arrived whole. The body may hold a secret value.
struct HttpRequest {
  HttpPeer peer;
  std::string id;            // UUID, given by the server; the answer's x-amzn-RequestId.
  std::string target;        // X-Amz-Target; empty if there was none.
  std::string content_type;  // Without parameters, lower case.
  crypto::SecretBuffer body;
};

// An answer's body: a value travels as a SecretBuffer only.
using HttpBody = std::variant<std::string, crypto::SecretBuffer>;

struct HttpAnswer {
  unsigned status = 200;
  std::string error_type;  // x-amzn-errortype; empty: no error.
  HttpBody body;
};

}  // namespace secretfs::mount
