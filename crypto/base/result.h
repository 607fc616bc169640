#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <utility>

namespace secretfs {

// What went wrong, as far as a caller may branch on it. Three mappings translate it at the doors:
// errno (fs/errno_map), AWS error name (mount/aws_error) and exit status (mount/exit_status). Each
// is one switch without a default, so a new code does not build until all three know it.
enum class Code : uint8_t {
  kValidation,          // A member is malformed by the API model: length, pattern, range.
  kInvalidArgument,     // A well-formed argument that this operation cannot accept.
  kFailedPrecondition,  // The resource's state forbids the operation (marked for deletion, ...).
  kNotFound,
  kAlreadyExists,
  kConflict,  // A compare-and-swap lost: the resource is not at the version the caller named.
  kPermissionDenied,
  kLimitExceeded,
  kSealed,          // The root key is not available, so nothing can be unwrapped.
  kKeyUnavailable,  // The KMS key is disabled, pending deletion or unknown.
  kCorrupt,         // Stored bytes failed authentication or decoding.
  kStale,           // A handle whose version has been destroyed.
  kUnavailable,     // The operating system refused: I/O error, full disk, no daemon.
  // Of keys and what is done with them; AWS has an error of its own for each.
  kCannotEncrypt,  // As kKeyUnavailable, for a write.
  kDisabled,
  kUnsupported,      // This kind of key or this store does not have the operation.
  kInvalidKeyUsage,  // The key is for something else, or does not have this algorithm.
  kInvalidCiphertext,
  kIncorrectKey,  // A ciphertext of another key than the one named.
  kInvalidSignature,
  kInvalidMac,
  kInvalidAliasName,
  kInvalidArn,
  kInvalidGrantId,
  kInvalidGrantToken,
  kInvalidMarker,
  kInvalidTag,
  kMalformedPolicy,
  kInvalidImportToken,
  kExpiredImportToken,
  kIncorrectKeyMaterial,
  kDryRun,  // It would have succeeded, and was only to be tried.
  kInternal,
};

// `message` names what was tried and on what name, and the next step where there is one. It never
// holds a value, a key or a token.
struct Error {
  Code code;
  std::string message;
};

template <typename T>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;
};

using Status = Result<void>;

inline std::unexpected<Error> Fail(Code code, std::string message) {
  return std::unexpected(Error{code, std::move(message)});
}

// Fail() with strerror(`error_number`) appended: "write /x: No space left on device".
std::unexpected<Error> FailErrno(Code code, std::string what, int error_number);

}  // namespace secretfs

#define SECRETFS_CONCAT_INNER(a, b) a##b
#define SECRETFS_CONCAT(a, b) SECRETFS_CONCAT_INNER(a, b)

// Returns the error of `expression` from the enclosing function, if it has one.
#define TRY(expression)                                           \
  do {                                                            \
    if (auto try_result = (expression); !try_result) [[unlikely]] \
      return std::unexpected(std::move(try_result).error());      \
  } while (false)

// Assigns the value of `expression` to `target` (a declaration or an lvalue), or returns its error.
#define TRY_ASSIGN(target, expression) \
  TRY_ASSIGN_INNER(SECRETFS_CONCAT(try_assign_, __COUNTER__), target, expression)
#define TRY_ASSIGN_INNER(temporary, target, expression)   \
  auto temporary = (expression);                          \
  if (!temporary) [[unlikely]]                            \
    return std::unexpected(std::move(temporary).error()); \
  target = std::move(*temporary)
