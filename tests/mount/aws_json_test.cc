#include "mount/aws_json.h"

#include <gtest/gtest.h>

namespace secretfs::mount {
namespace {

std::string TextOf(const Result<AwsMessage>& message, std::string_view name) {
  const auto found = message->secrets.find(name);
  return found == message->secrets.end() ? "absent" : std::string(AsText(found->second.Reveal()));
}

// A string value of all code points below U+0100, so of all bytes that UTF-8 text has there.
std::string AllCharacters() {
  std::string text;
  for (int c = 0; c < 0x80; ++c) text += static_cast<char>(c);
  for (int c = 0x80; c < 0x100; ++c) {
    text += static_cast<char>(0xC0 | c >> 6);
    text += static_cast<char>(0x80 | (c & 0x3F));
  }
  return text;
}

TEST(AwsJsonTest, ValueIsTakenOutBeforeTheLibrarySeesIt) {
  const auto message = ParseAwsMessage(
      AsBytes(R"({"SecretId":"a","SecretString":"top","RotationToken":"proof","Tags":[]})"));
  ASSERT_TRUE(message);
  EXPECT_EQ(TextOf(message, "SecretString"), "top");
  EXPECT_EQ(TextOf(message, "SecretBinary"), "absent");
  EXPECT_EQ(ToText(message->members), R"({"SecretId":"a","Tags":[]})");
}

TEST(AwsJsonTest, DuplicateValuesLeaveNoTrace) {
  const auto message =
      ParseAwsMessage(AsBytes(R"({"SecretString":"one","SecretString":"two","A":1})"));
  ASSERT_TRUE(message);
  EXPECT_EQ(TextOf(message, "SecretString"), "two");
  EXPECT_EQ(ToText(message->members), R"({"A":1})");
}

TEST(AwsJsonTest, EveryCharacterOfStringSurvivesTheRoundTrip) {
  const std::string value = AllCharacters();
  const auto text = ComposeAwsMessage({{"Name", "n"}}, store::ValueKind::kString, AsBytes(value));
  const auto message = ParseAwsMessage(text.Reveal());
  ASSERT_TRUE(message);
  EXPECT_EQ(TextOf(message, "SecretString"), value);
  EXPECT_EQ(ToText(message->members), R"({"Name":"n"})");
}

TEST(AwsJsonTest, EveryByteOfBinarySurvivesTheRoundTrip) {
  Bytes value;
  for (int c = 0; c < 256; ++c) value.push_back(static_cast<uint8_t>(c));
  const auto text = ComposeAwsMessage(Json::object(), store::ValueKind::kBinary, value);
  const auto message = ParseAwsMessage(text.Reveal());
  ASSERT_TRUE(message);
  EXPECT_EQ(TextOf(message, "SecretBinary"), AsText(value));
  EXPECT_EQ(TextOf(message, "SecretString"), "absent");
}

TEST(AwsJsonTest, SecretsOfKmsStayApartInItsMessagesOnly) {
  const std::string_view text =
      R"({"Plaintext":"dG9w","PrivateKeyPlaintext":"dG9w","SharedSecret":"dG9w","Message":"dG9w",
          "Mac":"dG9w","KeyStorePassword":"top","XksProxyAuthenticationCredential":{"a":"top"},
          "CiphertextBlob":"dG9w"})";
  auto message = ParseAwsMessage(AsBytes(text), store::AwsService::kKms);
  ASSERT_TRUE(message);
  EXPECT_EQ(ToText(message->members), R"({"CiphertextBlob":"dG9w"})");
  for (const char* name : {"Plaintext", "PrivateKeyPlaintext", "SharedSecret", "Message", "Mac"}) {
    EXPECT_EQ(TextOf(message, name), "top") << name;
    EXPECT_TRUE(message->Take(name));
    EXPECT_FALSE(message->Take(name));
  }
  EXPECT_TRUE(message->secrets.empty());
  // The text of an error.
  const auto error = ParseAwsMessage(AsBytes(R"({"__type":"X","Message":"no secret!"})"));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->members["Message"], "no secret!");
}

TEST(AwsJsonTest, SecretsAreWrittenBehindTheMembers) {
  const auto text =
      ComposeAwsMessage({{"KeyId", "k"}}, {{"Plaintext", AsBytes("top")}, {"Mac", AsBytes("")}});
  EXPECT_EQ(AsText(text.Reveal()), R"({"KeyId":"k","Plaintext":"dG9w","Mac":""})");
  EXPECT_EQ(AsText(ComposeAwsMessage(Json::object(), {{"Plaintext", AsBytes("t")}}).Reveal()),
            R"({"Plaintext":"dA=="})");
}

TEST(AwsJsonTest, NullValueIsAbsent) {
  const auto message = ParseAwsMessage(AsBytes(R"({"SecretString":null,"SecretBinary":null})"));
  ASSERT_TRUE(message);
  EXPECT_TRUE(message->secrets.empty());
}

TEST(AwsJsonTest, RefusesWhatIsMalformed) {
  for (const char* text : {"", "[]", "{", R"({"SecretString":7})", R"({"SecretString":["x"]})",
                           R"({"SecretBinary":"not base64!"})", R"({"SecretBinary":"QQ"})",
                           R"({"MaxResults":1e999})"}) {
    const auto message = ParseAwsMessage(AsBytes(text));
    ASSERT_FALSE(message) << text;
    EXPECT_EQ(message.error().code, Code::kValidation);
  }
}

TEST(AwsJsonTest, ErrorsDoNotRepeatTheValue) {
  for (const char* text : {R"({"SecretString":{"k":"hunter2"}})", R"({"SecretBinary":"hunter2 "})",
                           R"({"SecretString":"hunter2)"}) {
    const auto message = ParseAwsMessage(AsBytes(text));
    ASSERT_FALSE(message);
    EXPECT_EQ(message.error().message.find("hunter2"), std::string::npos);
  }
}

TEST(AwsJsonTest, ReaderTakesTypedMembersAndTreatsNullAsAbsent) {
  const Json members = Json::parse(
      R"({"T":"x","I":-3,"F":true,"L":["a","b"],"G":[{"Key":"k","Value":"v"}],"N":null})");
  MemberReader in(members);
  EXPECT_EQ(in.RequiredText("T"), "x");
  EXPECT_EQ(in.Integer("I"), -3);
  EXPECT_TRUE(in.Flag("F"));
  EXPECT_EQ(in.TextList("L"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(in.Tags("G"), (std::map<std::string, std::string>{{"k", "v"}}));
  EXPECT_FALSE(in.Text("N"));
  EXPECT_FALSE(in.Flag("Absent"));
  EXPECT_FALSE(in.failed());
}

TEST(AwsJsonTest, ReaderTakesMapsBlobsTimesAndObjects) {
  const Json members = Json::parse(
      R"({"M":{"a":"1","b":""},"B":"AP8=","T":1700000000.5,"O":{"x":1},"K":[{"TagKey":"k",
          "TagValue":"v"}],"N":null})");
  MemberReader in(members);
  EXPECT_EQ(in.TextMap("M"), (std::map<std::string, std::string>{{"a", "1"}, {"b", ""}}));
  EXPECT_EQ(in.Blob("B"), (Bytes{0x00, 0xFF}));
  EXPECT_EQ(in.Time("T"), 1700000000500);
  EXPECT_EQ(in.Object("O"), (Json{{"x", 1}}));
  EXPECT_EQ(in.Tags("K", {.key = "TagKey", .value = "TagValue"}),
            (std::map<std::string, std::string>{{"k", "v"}}));
  EXPECT_TRUE(in.TextMap("N").empty());
  EXPECT_TRUE(in.Blob("N").empty());
  EXPECT_FALSE(in.Time("N"));
  EXPECT_TRUE(in.Object("Absent").empty());
  EXPECT_FALSE(in.failed()) << in.problem();
}

TEST(AwsJsonTest, ReaderKeepsTheFirstProblem) {
  const Json members = Json::parse(R"({"I":"x","F":1})");
  MemberReader in(members);
  in.RequiredText("SecretId");
  in.Integer("I");
  in.Flag("F");
  EXPECT_TRUE(in.failed());
  EXPECT_FALSE(in.wrong_type());
  EXPECT_EQ(in.problem(),
            "1 validation error detected: Value null at 'secretId' failed to satisfy constraint: "
            "Member must not be null");
}

TEST(AwsJsonTest, ReaderCountsCharactersAndItems) {
  Json members;
  members["Fits"] = std::string("\xC3\xA9\xC3\xA9");
  members["Long"] = "abc";
  members["List"] = {"a", "b", "c"};
  const LengthLimits limits{.characters_max = 2, .items_max = 2};
  MemberReader in(members);
  EXPECT_TRUE(in.Text("Fits", limits));
  EXPECT_EQ(in.problem(), "");
  in.Text("Long", limits);
  EXPECT_EQ(in.problem(),
            "1 validation error detected: Value at 'long' failed to satisfy constraint: Member "
            "must have length less than or equal to 2");
  EXPECT_FALSE(in.wrong_type());
  MemberReader list(members);
  list.TextList("List", limits);
  EXPECT_TRUE(list.failed());
}

TEST(AwsJsonTest, ReaderFailsOnWrongTypes) {
  const Json members = Json::parse(
      R"({"A":1,"B":1.5,"C":"true","D":"x","E":[1],"F":{},"G":["k"],"H":18446744073709551615,
          "I":[{"Key":"k"},{"Key":"k"}]})");
  const auto fails = [&](auto read) {
    MemberReader in(members);
    read(in);
    return in.failed();
  };
  EXPECT_TRUE(fails([](MemberReader& in) { in.RequiredText("A"); }));
  EXPECT_TRUE(fails([](MemberReader& in) { in.Integer("B"); }));
  EXPECT_TRUE(fails([](MemberReader& in) { in.Flag("C"); }));
  EXPECT_TRUE(fails([](MemberReader& in) { in.TextList("D"); }));
  EXPECT_TRUE(fails([](MemberReader& in) { in.TextList("E"); }));
  EXPECT_TRUE(fails([](MemberReader& in) { in.Tags("F"); }));
  EXPECT_TRUE(fails([](MemberReader& in) { in.Tags("G"); }));
  EXPECT_TRUE(fails([](MemberReader& in) { in.Integer("H"); }));
  EXPECT_TRUE(fails([](MemberReader& in) { in.Tags("I"); }));
  EXPECT_TRUE(fails([](MemberReader& in) { in.TextMap("A"); }));
  EXPECT_TRUE(fails([](MemberReader& in) { in.TextMap("G"); }));
  EXPECT_TRUE(fails([](MemberReader& in) { in.Object("E"); }));
  EXPECT_TRUE(fails([](MemberReader& in) { in.Blob("D"); }));
  EXPECT_TRUE(fails([](MemberReader& in) { in.Time("D"); }));
  EXPECT_TRUE(fails([](MemberReader& in) { in.Time("H"); }));
}

TEST(AwsJsonTest, TimesKeepTheirMilliseconds) {
  EXPECT_EQ(ToText(Json(SecondsOf(1700000000123))), "1700000000.123");
  EXPECT_EQ(TimeOf(Json::parse("1700000000.123")), 1700000000123);
  EXPECT_EQ(TimeOf(Json("soon")), 0);
}

}  // namespace
}  // namespace secretfs::mount
