// The worked examples of crypto/FORMAT.md, made again and compared byte for byte.

#include <gtest/gtest.h>

#include <cctype>
#include <fstream>
#include <map>
#include <string>

#include "crypto/asymmetric_key.h"
#include "crypto/envelope.h"
#include "crypto/root_key.h"
#include "tests/crypto/key_directory.h"
#include "tests/crypto/memory_key_source.h"
#include "tests/support/fake_clock.h"

namespace secretfs::crypto {
namespace {

// 00 01 02 ..., as the page says.
class CountingRandom final : public RandomSource {
 public:
  void Fill(std::span<uint8_t> out) override {
    for (uint8_t& byte : out) byte = next_++;
  }

 private:
  uint8_t next_ = 0;
};

// The blocks "```hex NAME", without white space and "# ..." remarks.
std::map<std::string, std::string> ReadExamples() {
  std::ifstream page(SECRETFS_SOURCE_DIR "/crypto/FORMAT.md");
  EXPECT_TRUE(page.is_open());
  std::map<std::string, std::string> examples;
  std::string* current = nullptr;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("```hex ")) {
      current = &examples[line.substr(7)];
    } else if (line.starts_with("```")) {
      current = nullptr;
    } else if (current != nullptr) {
      for (char c : line.substr(0, line.find('#'))) {
        if (!std::isspace(static_cast<unsigned char>(c))) current->push_back(c);
      }
    }
  }
  return examples;
}

class FormatTest : public ::testing::Test {
 protected:
  const std::string& Example(const std::string& name) {
    EXPECT_TRUE(examples_.contains(name)) << name;
    return examples_[name];
  }

  std::map<std::string, std::string> examples_ = ReadExamples();
  CountingRandom random_;
  testing::FakeClock clock_;
  const std::unique_ptr<RootKey> root_key_ = NewLocalRootKey(0x11, random_);
  const EncryptionContext context_{{"SecretARN", "arn:1"}, {"SecretVersionId", "v1"}};
  MemoryKeySource source_{*root_key_};
  MemoryKeySource::Key& record_ = source_.Add(random_);
  Keyring keyring_{source_, clock_};
};

TEST_F(FormatTest, RootKeySources) {
  EXPECT_EQ(ToHex(EncodeRootKeySource(KeyFileSource{"/etc/secretfs/root.key"})),
            Example("root-key-source-file"));
  EXPECT_EQ(ToHex(EncodeRootKeySource(PassphraseSource{Argon2Params{}, Bytes(16, 0x5a)})),
            Example("root-key-source-passphrase"));
  EXPECT_EQ(ToHex(EncodeRootKeySource(CredentialSource{"root-key"})),
            Example("root-key-source-credential"));
}

TEST_F(FormatTest, KmsKeyMaterial) {
  for (const auto& [spec, name] :
       {std::pair(KeySpec::kEccNistP256, "key-material-ecc-nist-p256"),
        std::pair(KeySpec::kEccNistEdwards25519, "key-material-ecc-nist-edwards25519")}) {
    const auto material = SecretBuffer::CopyOf(FromHex(Example(name)).value());
    const auto key = AsymmetricKey::FromPkcs8(spec, material);
    ASSERT_TRUE(key) << name;
    EXPECT_EQ(ToHex(key->ToPkcs8().Reveal()), Example(name));
  }
}

// The row of a number has the names in their columns.
TEST_F(FormatTest, NumbersOfKmsKeys) {
  std::ifstream page(SECRETFS_SOURCE_DIR "/crypto/FORMAT.md");
  const auto name_of = [](const auto value) {
    return value.has_value() ? std::string(NameOf(*value)) : std::string();
  };
  std::map<std::string, int> rows;
  for (std::string line; std::getline(page, line);) ++rows[line];
  for (uint8_t number = 1; number <= AllOf<KeySpec>().size(); ++number) {
    const std::string row = "| " + std::to_string(number) + " | " +
                            name_of(FromNumber<KeySpec>(number)) + " | " +
                            name_of(FromNumber<KeyUsage>(number)) + " | " +
                            name_of(FromNumber<EncryptionAlgorithm>(number)) + " | " +
                            name_of(FromNumber<SigningAlgorithm>(number)) + " | " +
                            name_of(FromNumber<MacAlgorithm>(number)) + " | " +
                            name_of(FromNumber<WrappingAlgorithm>(number)) + " |";
    EXPECT_EQ(rows[row], 1) << row;
  }
}

TEST_F(FormatTest, EncryptionContext) {
  EXPECT_EQ(ToHex(EncodeEncryptionContext(context_)), Example("encryption-context"));
}

TEST_F(FormatTest, WrappedKey) {
  EXPECT_EQ(FormatUuid(record_.id), "00010203-0405-4607-8809-0a0b0c0d0e0f");
  EXPECT_EQ(ToHex(record_.materials[0].wrapped), Example("wrapped-key"));
}

TEST_F(FormatTest, CiphertextBlob) {
  CountingRandom random;
  const auto blob =
      keyring_.Encrypt(record_.id, context_, SecretBuffer::CopyOf(AsBytes("plaintext")), random);
  ASSERT_TRUE(blob);
  EXPECT_EQ(ToHex(*blob), Example("ciphertext-blob"));
  EXPECT_TRUE(keyring_.Decrypt(FromHex(Example("ciphertext-blob")).value(), context_));
}

TEST_F(FormatTest, Envelope) {
  CountingRandom random;
  const auto envelope = SealEnvelope(keyring_, record_.id, context_, AsBytes("versions/1"),
                                     SecretBuffer::CopyOf(AsBytes("correct horse")), random);
  ASSERT_TRUE(envelope);
  EXPECT_EQ(ToHex(*envelope), Example("envelope"));
  const auto value =
      OpenEnvelope(keyring_, context_, AsBytes("versions/1"), FromHex(Example("envelope")).value());
  ASSERT_TRUE(value);
  EXPECT_EQ(AsText(value->Reveal()), "correct horse");
}

}  // namespace
}  // namespace secretfs::crypto
