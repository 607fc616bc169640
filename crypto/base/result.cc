#include "crypto/base/result.h"

#include <cerrno>
#include <system_error>

namespace secretfs {

std::unexpected<Error> FailErrno(Code code, std::string what, int error_number) {
  what += ": ";
  what += std::generic_category().message(error_number);
  return Fail(code, std::move(what));
}

}  // namespace secretfs
