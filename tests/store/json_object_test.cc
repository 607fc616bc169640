#include "store/json_object.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "tests/support/temp_store.h"

namespace secretfs::store {
namespace {

using testing::Text;

std::optional<std::map<std::string, std::string>> Files(std::string_view json) {
  auto members = ScanJsonObject(AsBytes(json));
  if (!members) return std::nullopt;
  std::map<std::string, std::string> files;
  for (const JsonMember& member : *members) {
    files[member.key] = Text(JsonMemberContent(AsBytes(json), member));
  }
  return files;
}

TEST(JsonObjectTest, StringsAreTheirBytesAndTheRestIsItsText) {
  auto files = Files(R"( {"s":"a\"b\\\/\n\u00e9\ud83d\udd11","n":-1.50e+400,
                          "big":18446744073709551616,"t":true,"z":null,
                          "o":{ "x" : [ 1 , "a b\" c" ] },"e":"","":"empty key"} )");
  ASSERT_TRUE(files);
  EXPECT_EQ(files->at("s"), "a\"b\\/\n\xc3\xa9\xf0\x9f\x94\x91");
  EXPECT_EQ(files->at("n"), "-1.50e+400");
  EXPECT_EQ(files->at("big"), "18446744073709551616");
  EXPECT_EQ(files->at("t"), "true");
  EXPECT_EQ(files->at("z"), "null");
  EXPECT_EQ(files->at("o"), R"({"x":[1,"a b\" c"]})");
  EXPECT_EQ(files->at("e"), "");
  EXPECT_EQ(files->at(""), "empty key");
}

TEST(JsonObjectTest, TheLastOfDuplicateKeysCounts) {
  auto files = Files(R"({"a":1,"b":2,"\u0061":3})");
  ASSERT_TRUE(files);
  EXPECT_EQ(files->at("a"), "3");
  EXPECT_EQ(files->size(), 2u);
}

TEST(JsonObjectTest, WhatIsNoJsonObjectIsNoObject) {
  for (const char* text : {"",
                           "[]",
                           "\"x\"",
                           "1",
                           "{",
                           "{}x",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{a:1}",
                           "{\"a\":01}",
                           "{\"a\":+1}",
                           "{\"a\":1.}",
                           "{\"a\":.5}",
                           "{\"a\":1e}",
                           "{\"a\":tru}",
                           "{\"a\":\"\n\"}",
                           "{\"a\":\"\\x\"}",
                           "{\"a\":\"\\ud800\"}",
                           "{\"a\":\"\\udc00\"}",
                           "{\"a\":\"\\ud800\\u0041\"}",
                           "{\"a\":\"\\u12\"}",
                           "{\"a\":\"\xff\"}",
                           "{\"a\":1}{\"b\":2}",
                           "{\"a\" 1}",
                           "{,}",
                           "{\"a\":[1,]}"}) {
    EXPECT_EQ(Files(text), std::nullopt) << text;
  }
  EXPECT_TRUE(Files("{}"));
  EXPECT_TRUE(Files(" { } \n"));
}

TEST(JsonObjectTest, DepthIsBounded) {
  auto nested = [](int depth) {
    return "{\"a\":" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  EXPECT_TRUE(Files(nested(kJsonDepthMax)));
  EXPECT_FALSE(Files(nested(kJsonDepthMax + 1)));
  EXPECT_FALSE(Files(nested(20000)));
}

TEST(JsonObjectTest, EveryByteRoundTripsThroughAJsonString) {
  std::string text;
  for (int c = 0; c < 128; ++c) text.push_back(static_cast<char>(c));
  text += "\xc3\xa9\xe2\x82\xac";
  crypto::SecretBuffer json;
  json.Append(AsBytes("{\"v\":"));
  AppendJsonString(AsBytes(text), json);
  json.Append(AsBytes("}"));
  EXPECT_EQ(Files(AsText(json.Reveal()))->at("v"), text);
  EXPECT_EQ(nlohmann::json::parse(AsText(json.Reveal()))["v"], text);
}

// An independent parser agrees on what is an object and on what its strings say.
TEST(JsonObjectTest, AgreesWithAnotherParserOnRandomTexts) {
  const std::vector<std::string> pieces = {
      "{",  "}",   "[",    "]",    ",", ":",           "\"a\"",    "\"b\\n\"", "1",
      "-0", "2.5", "true", "null", " ", "\"\\u00e9\"", "\"\\\\\"", "0x",       "'"};
  uint64_t seed = 99;
  auto next = [&](uint64_t bound) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % bound;
  };
  int objects = 0;
  for (int i = 0; i < 200000; ++i) {
    std::string text = "{";
    for (uint64_t n = next(9); n > 0; --n) text += pieces[next(pieces.size())];
    text += "}";
    auto reference = nlohmann::json::parse(text, nullptr, false);
    auto files = Files(text);
    ASSERT_EQ(files.has_value(), !reference.is_discarded()) << text;
    if (!files) continue;
    ++objects;
    ASSERT_EQ(files->size(), reference.size()) << text;
    for (const auto& [key, value] : reference.items()) {
      if (value.is_string()) {
        ASSERT_EQ(files->at(key), value.get<std::string>()) << text;
      } else {
        ASSERT_EQ(nlohmann::json::parse(files->at(key)), value) << text;
      }
    }
  }
  EXPECT_GT(objects, 1000);
}

}  // namespace
}  // namespace secretfs::store
