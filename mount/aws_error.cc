#include "mount/aws_error.h"

namespace secretfs::mount {

unsigned AwsHttpStatus(Code code, store::AwsService service) {
  constexpr unsigned kBadRequest = 400;
  constexpr unsigned kServerError = 500;
  const std::string_view name = store::AwsErrorName(code, service);
  const bool is_servers =
      name == store::AwsErrorName(Code::kInternal, service) ||
      name == store::AwsErrorName(Code::kKeyUnavailable, store::AwsService::kKms);
  return is_servers ? kServerError : kBadRequest;
}

Code CodeOfAwsError(std::string_view name) {
  // The first code with the name: kStale, kUnavailable and kCorrupt are of others' names.
  for (int number = 0; number < static_cast<int>(Code::kInternal); ++number) {
    const auto code = static_cast<Code>(number);
    for (const store::AwsService service :
         {store::AwsService::kSecretsManager, store::AwsService::kKms}) {
      const bool is_internal =
          store::AwsErrorName(code, service) == store::AwsErrorName(Code::kInternal, service);
      if (!is_internal && store::AwsErrorName(code, service) == name) return code;
    }
  }
  if (name == kUnknownOperation || name == kSerialization || name == kInvalidNextToken) {
    return Code::kValidation;
  }
  return Code::kInternal;
}

}  // namespace secretfs::mount
