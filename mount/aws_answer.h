#pragma once

#include <string>
#include <vector>

#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/secret_buffer.h"
#include "mount/aws_json.h"

namespace secretfs::mount {

// Takes members out of answers, for what is shown to people. A member that is missing or of another
// type is empty, no error: an older or newer daemon may say less.

// The error for an answer that is none.
std::unexpected<Error> UnexpectedAnswer();
// Errors: kInternal for what is no JSON object.
Result<Json> ParseObject(const crypto::SecretBuffer& answer);
// The list that an answer is about. Errors: kInternal if it has none.
Result<Json> ParseList(const crypto::SecretBuffer& answer, const char* name);
std::string TextOf(const Json& object, const char* name);
std::vector<std::string> TextsOf(const Json& object, const char* name);
// 0: the answer does not say.
TimeMs TimeMember(const Json& object, const char* name);

}  // namespace secretfs::mount
