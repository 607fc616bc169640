#include <array>
#include <cstddef>
#include <cstdint>

#include "crypto/base/check.h"
#include "mount/aws_json.h"

// The first byte says which service; the rest is a body. No secret member is among the members that
// the JSON library has seen, and what was read can be written again and reads back the same.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace secretfs;
  if (size == 0) return 0;
  const bool is_kms = (data[0] & 1) != 0;
  const auto service = is_kms ? store::AwsService::kKms : store::AwsService::kSecretsManager;
  auto message = mount::ParseAwsMessage({data + 1, size - 1}, service);
  if (!message) return 0;

  constexpr std::array kOfSecrets = {"SecretString", "SecretBinary", "RotationToken"};
  constexpr std::array kOfKms = {"Plaintext", "PrivateKeyPlaintext", "SharedSecret", "Message",
                                 "Mac",       "KeyStorePassword"};
  for (const char* name : kOfSecrets) CHECK(is_kms || !message->members.contains(name));
  for (const char* name : kOfKms) CHECK(!is_kms || !message->members.contains(name));

  const std::string members = mount::ToText(message->members);
  for (const auto& [name, secret] : message->secrets) {
    const auto text = mount::ComposeAwsMessage(message->members, {{name, secret.Reveal()}});
    auto again = mount::ParseAwsMessage(text.Reveal(), service);
    CHECK(again && again->secrets.size() == 1);
    CHECK(again->Take(name)->Equals(secret));
    CHECK(mount::ToText(again->members) == members);
  }

  mount::MemberReader in(message->members);
  in.TextMap("EncryptionContext");
  in.Time("ValidTo");
  in.Blob("CiphertextBlob");
  in.Tags("Tags");
  in.TextList("GrantTokens");
  in.Object("Constraints");
  in.Integer("Limit");
  return 0;
}
