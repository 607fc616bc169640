#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "crypto/base64.h"
#include "tests/mount/endpoint_fixture.h"

namespace secretfs::mount {

using nlohmann::json;
using ::testing::StartsWith;
using Names = std::set<std::string>;

inline std::string Base64(std::string_view text) {
  return Base64Text(AsBytes(text));
}
inline std::string Unbase64(const std::string& text) {
  const auto decoded = crypto::Base64Decode(AsBytes(text));
  EXPECT_TRUE(decoded) << text;
  return decoded ? testing::Text(*decoded) : "";
}

// What the body is called says whether it went through ordinary memory.
inline bool IsSecret(const HttpAnswer& answer) {
  return std::holds_alternative<crypto::SecretBuffer>(answer.body);
}

inline Names NamesOf(const json& object) {
  Names names;
  for (const auto& [name, value] : object.items()) {
    EXPECT_FALSE(value.is_null()) << name;
    names.insert(name);
  }
  return names;
}

class AwsKmsTest : public ::testing::Test {
 protected:
  HttpAnswer Send(const std::string& operation, const std::string& body, uint32_t uid = getuid()) {
    return parts_.endpoint.Answer({.peer = {uid, getgid(), 42},
                                   .id = "11111111-2222-4333-8444-555555555555",
                                   .target = "TrentService." + operation,
                                   .content_type = std::string(kAwsJsonType),
                                   .body = crypto::SecretBuffer::CopyOf(AsBytes(body))});
  }
  HttpAnswer Call(const std::string& operation, const json& in, uint32_t uid = getuid()) {
    return Send(operation, in.dump(), uid);
  }
  json Ok(const std::string& operation, const json& in) {
    const HttpAnswer answer = Call(operation, in);
    EXPECT_EQ(answer.status, 200u) << operation << BodyText(answer);
    EXPECT_EQ(answer.error_type, "");
    return json::parse(BodyText(answer));
  }
  // "<status> <__type>: <message>"; without the colon if there is no message.
  static std::string FailureOf(const HttpAnswer& answer) {
    const json body = json::parse(BodyText(answer));
    const std::string type = body.value("__type", "none");
    EXPECT_EQ(answer.error_type, answer.status == 200 ? "" : type);
    EXPECT_FALSE(body.contains("Message"));
    const std::string message = body.contains("message") ? ": " + body.value("message", "") : "";
    return std::to_string(answer.status) + " " + type + message;
  }
  std::string Failure(const std::string& operation, const json& in, uint32_t uid = getuid()) {
    return FailureOf(Call(operation, in, uid));
  }
  json Create(const json& in = json::object()) { return Ok("CreateKey", in)["KeyMetadata"]; }
  std::string CreateArn(const json& in = json::object()) { return Create(in)["Arn"]; }

  EndpointParts parts_;
  const double now_ = SecondsOf(parts_.temp.clock.NowMs());
};

}  // namespace secretfs::mount
