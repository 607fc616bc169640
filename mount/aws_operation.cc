#include "mount/aws_operation.h"

#include <utility>

#include "mount/aws_error.h"

namespace secretfs::mount {

std::unexpected<AwsFailure> Refuse(Code code, std::string message) {
  return std::unexpected(AwsFailure(Error{code, std::move(message)}));
}

std::unexpected<AwsFailure> RefuseMember(const MemberReader& in) {
  if (in.wrong_type()) return std::unexpected(AwsFailure(kSerialization, in.problem()));
  return Refuse(in.code(), in.problem());
}

}  // namespace secretfs::mount
