#include "crypto/base64.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/crypto/vector_file.h"
#include "tests/support/fake_random.h"

namespace secretfs::crypto {
namespace {

std::string Encode(ByteSpan bytes) {
  return std::string(AsText(Base64Encode(bytes).Reveal()));
}

TEST(Base64Test, MatchesTheVectorsOfRfc4648) {
  for (const Vector& vector : ReadVectors("base64.txt")) {
    const Bytes bytes = vector.Hex("bytes");
    EXPECT_EQ(Encode(bytes), vector.Text("text"));
    const auto decoded = Base64Decode(AsBytes(vector.Text("text")));
    ASSERT_TRUE(decoded) << vector.Text("text");
    EXPECT_EQ(ToHex(decoded->Reveal()), ToHex(bytes));
  }
}

TEST(Base64Test, RoundTripsEveryLength) {
  testing::FakeRandom random;
  for (size_t size = 0; size < 300; ++size) {
    Bytes bytes(size);
    random.Fill(bytes);
    const auto decoded = Base64Decode(AsBytes(Encode(bytes)));
    ASSERT_TRUE(decoded) << size;
    EXPECT_EQ(ToHex(decoded->Reveal()), ToHex(bytes));
  }
}

TEST(Base64Test, UsesTheStandardAlphabetInOrder) {
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto decoded = Base64Decode(AsBytes(alphabet));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(Encode(decoded->Reveal()), alphabet);
  EXPECT_EQ(ToHex(decoded->Reveal().first(6)), "001083105187");
}

TEST(Base64Test, RefusesWhatIsNotCanonical) {
  for (const char* text :
       {"Z", "Zg", "Zg=", "Zm9v=", "Zm9vZg=", "====", "=", "Z===", "Zg==Zg==", "=g==", "Zg=g",
        "Zm 9v", "Zm9v\n", "Zm-_", "Zm9\xff", "Zh==", "Zm9=", "Zm/=", "A==="}) {
    EXPECT_FALSE(Base64Decode(AsBytes(text))) << text;
  }
}

// Among all groups of four characters over a small alphabet, each value has exactly one that is
// accepted.
TEST(Base64Test, DecodingIsInjective) {
  const std::string characters = "ABQgw+/=9\n*";
  std::set<std::string> values;
  for (char a : characters) {
    for (char b : characters) {
      for (char c : characters) {
        for (char d : characters) {
          const std::string text{a, b, c, d};
          const auto decoded = Base64Decode(AsBytes(text));
          if (!decoded) continue;
          EXPECT_EQ(Encode(decoded->Reveal()), text);
          EXPECT_TRUE(values.insert(ToHex(decoded->Reveal())).second) << text;
        }
      }
    }
  }
  EXPECT_GT(values.size(), 8u * 8 * 8 * 8);
}

TEST(Base64Test, AcceptsExactlyTheAlphabet) {
  int accepted = 0;
  for (int c = 0; c < 256; ++c) {
    const Bytes text{'A', static_cast<uint8_t>(c), 'A', 'A'};
    accepted += Base64Decode(text).has_value() ? 1 : 0;
  }
  EXPECT_EQ(accepted, 64);
}

}  // namespace
}  // namespace secretfs::crypto
