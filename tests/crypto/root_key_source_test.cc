#include <gtest/gtest.h>

#include <string>

#include "crypto/root_key.h"
#include "tests/support/fake_random.h"

namespace secretfs::crypto {
namespace {

class RootKeySourceTest : public ::testing::Test {
 protected:
  testing::FakeRandom random_;
};

TEST_F(RootKeySourceTest, ParseAndDescribeAreInverse) {
  for (const char* text : {"file:/etc/secretfs/root.key", "passphrase", "credential:root-key"}) {
    const auto source = ParseRootKeySource(text, random_);
    ASSERT_TRUE(source) << text;
    EXPECT_EQ(DescribeRootKeySource(*source), text);
  }
}

TEST_F(RootKeySourceTest, EachPassphraseSourceHasItsOwnSalt) {
  const auto first = ParseRootKeySource("passphrase", random_);
  const auto second = ParseRootKeySource("passphrase", random_);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(std::get<PassphraseSource>(*first).salt.size(), 16u);
  EXPECT_NE(std::get<PassphraseSource>(*first).salt, std::get<PassphraseSource>(*second).salt);
}

TEST_F(RootKeySourceTest, ParseNamesTheThreeForms) {
  for (const char* text : {"", "tpm", "FILE:/x", "passphrase:x", "/x"}) {
    const auto source = ParseRootKeySource(text, random_);
    ASSERT_FALSE(source) << text;
    EXPECT_EQ(source.error().code, Code::kInvalidArgument);
    for (const char* form : {"file:PATH", "passphrase", "credential:NAME"}) {
      EXPECT_NE(source.error().message.find(form), std::string::npos);
    }
  }
}

TEST_F(RootKeySourceTest, ParseRefusesRelativePathsAndNamesThatAreNoFileName) {
  using std::string_literals::operator""s;
  for (const std::string& text :
       {"file:"s, "file:key"s, "file:../key"s, "file:/a\0b"s, "file:/" + std::string(4095, 'x'),
        "credential:"s, "credential:."s, "credential:.."s, "credential:a/b"s, "credential:/etc/x"s,
        "credential:a\0b"s, "credential:" + std::string(256, 'x')}) {
    const auto source = ParseRootKeySource(text, random_);
    ASSERT_FALSE(source) << text;
    EXPECT_EQ(source.error().code, Code::kInvalidArgument);
  }
}

TEST_F(RootKeySourceTest, EncodeAndDecodeAreInverse) {
  const RootKeySource sources[] = {
      KeyFileSource{"/etc/secretfs/root.key"},
      PassphraseSource{{8192, 5, 2}, Bytes(16, 0x33)},
      CredentialSource{"root-key"},
  };
  for (const RootKeySource& source : sources) {
    const Bytes encoded = EncodeRootKeySource(source);
    const auto decoded = DecodeRootKeySource(encoded);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(EncodeRootKeySource(*decoded), encoded);
    EXPECT_EQ(DescribeRootKeySource(*decoded), DescribeRootKeySource(source));
  }
}

TEST_F(RootKeySourceTest, DecodeRefusesWhatIsCutShortOrExtended) {
  for (const char* text : {"file:/x", "passphrase", "credential:x"}) {
    Bytes encoded = EncodeRootKeySource(ParseRootKeySource(text, random_).value());
    for (size_t size = 0; size < encoded.size(); ++size) {
      const auto decoded = DecodeRootKeySource(ByteSpan(encoded).first(size));
      ASSERT_FALSE(decoded) << text << " " << size;
      EXPECT_EQ(decoded.error().code, Code::kCorrupt);
    }
    encoded.push_back(0);
    EXPECT_FALSE(DecodeRootKeySource(encoded)) << text;
  }
}

TEST_F(RootKeySourceTest, DecodeRefusesWhatParseWould) {
  const RootKeySource sources[] = {
      KeyFileSource{"relative"},
      PassphraseSource{{}, Bytes(15)},
      CredentialSource{"../x"},
  };
  for (const RootKeySource& source : sources) {
    EXPECT_FALSE(DecodeRootKeySource(EncodeRootKeySource(source)));
  }
  EXPECT_FALSE(DecodeRootKeySource(Bytes{4, 0, 0, 0, 0}));
}

}  // namespace
}  // namespace secretfs::crypto
