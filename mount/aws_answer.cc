#include "mount/aws_answer.h"

#include <utility>

namespace secretfs::mount {

std::unexpected<Error> UnexpectedAnswer() {
  return Fail(Code::kInternal, "the daemon's answer makes no sense; is it of this version?");
}

Result<Json> ParseObject(const crypto::SecretBuffer& answer) {
  TRY_ASSIGN(AwsMessage message, ParseAwsMessage(answer.Reveal()));
  return std::move(message.members);
}

Result<Json> ParseList(const crypto::SecretBuffer& answer, const char* name) {
  TRY_ASSIGN(Json object, ParseObject(answer));
  const auto list = object.find(name);
  if (list == object.end() || !list->is_array()) return UnexpectedAnswer();
  return std::move(*list);
}

std::string TextOf(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::vector<std::string> TextsOf(const Json& object, const char* name) {
  std::vector<std::string> texts;
  const auto found = object.find(name);
  if (found == object.end() || !found->is_array()) return texts;
  for (const Json& item : *found) {
    if (item.is_string()) texts.push_back(item.get<std::string>());
  }
  return texts;
}

TimeMs TimeMember(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? 0 : TimeOf(*found);
}

}  // namespace secretfs::mount
