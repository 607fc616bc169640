#include "mount/json_splice.h"

#include <gtest/gtest.h>

#include "store/json_object.h"

namespace secretfs::mount {
namespace {

std::string Set(std::string_view text, std::string_view key, std::string_view value) {
  const auto out = SetJsonMember(AsBytes(text), key, AsBytes(value));
  return out ? std::string(AsText(out->Reveal())) : "error: " + out.error().message;
}

TEST(JsonSpliceTest, ReplacesOnlyTheMembersText) {
  EXPECT_EQ(Set("{ \"a\" : 1 ,\n\"b\":\"x\"}", "a", "new"), "{ \"a\" : \"new\" ,\n\"b\":\"x\"}");
  EXPECT_EQ(Set(R"({"a":{"a":1},"b":[1,2]})", "b", "y"), R"({"a":{"a":1},"b":"y"})");
}

TEST(JsonSpliceTest, AddsMissingMemberAtTheEnd) {
  EXPECT_EQ(Set("{}", "k", "v"), R"({"k":"v"})");
  EXPECT_EQ(Set(" { } ", "k", "v"), R"( {"k":"v" } )");
  EXPECT_EQ(Set(R"({"a":1 })", "k", "v"), R"({"a":1,"k":"v" })");
}

TEST(JsonSpliceTest, EscapesKeyAndValue) {
  const std::string value("\0\"\\\n\x7f\xc3\xa9", 7);
  const std::string text = Set("{}", "q\"k", value);
  const auto members = store::ScanJsonObject(AsBytes(text));
  ASSERT_TRUE(members) << text;
  EXPECT_EQ(members->front().key, "q\"k");
  const auto content = store::JsonMemberContent(AsBytes(text), members->front());
  EXPECT_EQ(AsText(content.Reveal()), value);
}

TEST(JsonSpliceTest, KeyMayBeWrittenWithEscapes) {
  EXPECT_EQ(Set(R"({"\u0061":1})", "a", "v"), R"({"\u0061":"v"})");
}

TEST(JsonSpliceTest, OfDuplicatesTheOneThatCountsIsReplaced) {
  EXPECT_EQ(Set(R"({"a":1,"b":2,"a":3})", "a", "v"), R"({"a":1,"b":2,"a":"v"})");
  EXPECT_EQ(Set(R"({"a":1,"b":2,"a":3})", "c", "v"), R"({"a":1,"b":2,"a":3,"c":"v"})");
}

TEST(JsonSpliceTest, RefusesWhatIsNoObject) {
  for (const char* text : {"", "[1]", "\"x\"", "{\"a\":}", "{} {}"}) {
    EXPECT_EQ(Set(text, "k", "v"), "error: the value is not a JSON object") << text;
  }
}

}  // namespace
}  // namespace secretfs::mount
