#include "mount/aws_error.h"

namespace secretfs::mount {

unsigned AwsHttpStatus(Code code) {
  constexpr unsigned kBadRequest = 400;
  constexpr unsigned kServerError = 500;
  return store::AwsErrorName(code) == store::AwsErrorName(Code::kInternal) ? kServerError
                                                                           : kBadRequest;
}

Code CodeOfAwsError(std::string_view name) {
  // The first code with the name: kStale, kUnavailable and kCorrupt are of others' names.
  for (int number = 0; number < static_cast<int>(Code::kInternal); ++number) {
    const auto code = static_cast<Code>(number);
    for (const store::AwsService service :
         {store::AwsService::kSecretsManager, store::AwsService::kKms}) {
      const bool is_server_error = AwsHttpStatus(code) != AwsHttpStatus(Code::kValidation);
      if (!is_server_error && store::AwsErrorName(code, service) == name) return code;
    }
  }
  if (name == kUnknownOperation || name == kSerialization || name == kInvalidNextToken) {
    return Code::kValidation;
  }
  return Code::kInternal;
}

}  // namespace secretfs::mount
