#include "store/secret_name.h"

#include <gtest/gtest.h>

#include <map>

namespace secretfs::store {
namespace {

constexpr std::string_view kNameAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/_+=.@!-";

TEST(SecretNameTest, AcceptsEveryLegalCharacterAndNoOther) {
  for (int c = 0; c < 256; ++c) {
    std::string name(1, static_cast<char>(c));
    bool legal = kNameAlphabet.find(static_cast<char>(c)) != std::string_view::npos;
    EXPECT_EQ(SecretName::Parse(name).has_value(), legal) << c;
  }
}

TEST(SecretNameTest, RefusesEmptyAndTooLongNames) {
  EXPECT_EQ(SecretName::Parse("").error().code, Code::kValidation);
  std::string part(128, 'a');
  std::string longest = part + "/" + part + "/" + part + "/" + part.substr(0, 125);
  EXPECT_EQ(longest.size(), kSecretNameBytesMax);
  EXPECT_TRUE(SecretName::Parse(longest));
  EXPECT_EQ(SecretName::Parse(longest + "a").error().code, Code::kValidation);
}

TEST(SecretNameTest, RefusesAPartThatIsNoFileName) {
  EXPECT_TRUE(SecretName::Parse(std::string(255, 'a')));
  EXPECT_FALSE(SecretName::Parse(std::string(256, 'a')));
  EXPECT_TRUE(SecretName::Parse("_" + std::string(252, 'a')));
  EXPECT_FALSE(SecretName::Parse("_" + std::string(253, 'a')));
}

TEST(SecretNameTest, SplitsAtEverySlash) {
  using Parts = std::vector<std::string_view>;
  EXPECT_EQ(SecretName::Parse("a")->Components(), (Parts{"a"}));
  EXPECT_EQ(SecretName::Parse("/a//b/")->Components(), (Parts{"", "a", "", "b", ""}));
}

TEST(SecretNameTest, EscapesWhatFileNamesCannotBe) {
  const std::map<std::string, std::string> cases = {
      {"", "%"},    {".", "%2E"},           {"..", "%2E%2E"}, {"...", "..."},
      {"_", "%5F"}, {"_value", "%5Fvalue"}, {"a_b", "a_b"},   {"prod", "prod"},
  };
  for (const auto& [component, file_name] : cases) {
    EXPECT_EQ(EscapeNameComponent(component), file_name);
    EXPECT_EQ(UnescapeNameComponent(file_name), component);
  }
  for (const char* never : {"", "_value", "%2e", "%5F%5F", "a%", "%%", ".", "..", "%41", "%2Ea"}) {
    EXPECT_EQ(UnescapeNameComponent(never), std::nullopt) << never;
  }
}

TEST(SecretNameTest, EscapingOfFreeTextIsInjectiveAndReversible) {
  std::map<std::string, std::string> seen;
  uint64_t seed = 7;
  auto next = [&] {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint8_t>(seed >> 40);
  };
  const std::string bytes = std::string("/%._a\0\x01\x7f", 8) + "\xc3\xa9\xff\xe2\x82\xac";
  for (int i = 0; i < 50000; ++i) {
    std::string text;
    for (int n = next() % 5; n > 0; --n) text.push_back(bytes[next() % bytes.size()]);
    std::string file_name = EscapeFreeText(text);
    ASSERT_EQ(UnescapeFreeText(file_name), text);
    auto [known, is_new] = seen.try_emplace(file_name, text);
    ASSERT_EQ(known->second, text);
    ASSERT_EQ(file_name.find('/'), std::string::npos);
    ASSERT_EQ(file_name.find('\0'), std::string::npos);
    ASSERT_NE(file_name, ".");
    ASSERT_NE(file_name, "..");
    ASSERT_FALSE(file_name.empty());
    ASSERT_TRUE(IsValidUtf8(file_name));
  }
}

TEST(SecretNameTest, Utf8IsCheckedByTheBook) {
  EXPECT_TRUE(IsValidUtf8("plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\x91"));
  for (const char* bad : {"\x80", "\xc0\xaf", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80",
                          "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80"}) {
    EXPECT_FALSE(IsValidUtf8(bad));
  }
}

TEST(SecretNameTest, SecretIdsAreNamesOrArns) {
  Realm realm;
  auto name = ParseSecretId("prod/db", realm);
  ASSERT_TRUE(name);
  EXPECT_EQ(name->name.text(), "prod/db");
  EXPECT_FALSE(name->suffix);

  auto full =
      ParseSecretId("arn:aws:secretsmanager:local-1:000000000000:secret:prod/db-AbC123", realm);
  ASSERT_TRUE(full);
  EXPECT_EQ(full->name.text(), "prod/db");
  EXPECT_EQ(full->suffix, "AbC123");

  auto partial = ParseSecretId("arn:aws:secretsmanager:local-1:000000000000:secret:prod/db", realm);
  ASSERT_TRUE(partial);
  EXPECT_EQ(partial->name.text(), "prod/db");
  EXPECT_FALSE(partial->suffix);

  EXPECT_EQ(ParseSecretId("arn:aws:secretsmanager:other:000000000000:secret:x", realm).error().code,
            Code::kNotFound);
  EXPECT_EQ(ParseSecretId("no spaces", realm).error().code, Code::kValidation);
}

}  // namespace
}  // namespace secretfs::store
