// What a user does with the `openssl` command: the other side of every operation on a key pair, by
// a program that shares no code of ours.

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "crypto/asymmetric_key.h"
#include "crypto/key_import.h"
#include "crypto/mac.h"
#include "tests/crypto/rsa_test_keys.h"
#include "tests/support/fake_random.h"
#include "tests/support/temp_directory.h"

namespace secretfs::crypto {
namespace {

// Files in a private directory, and the command run there.
class OpensslCommandTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, ByteSpan bytes) {
    std::ofstream file(directory_ / name, std::ios::binary | std::ios::trunc);
    file.write(AsText(bytes).data(), static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(file.good()) << name;
  }
  Bytes Read(const std::string& name) {
    std::ifstream file(directory_ / name, std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(file), {});
  }
  SecretBuffer ReadSecret(const std::string& name) { return SecretBuffer::CopyOf(Read(name)); }

  // `openssl` with these arguments, which name files of the directory; true if it succeeds.
  bool Openssl(const std::string& arguments) {
    const std::string command =
        "cd " + directory_.path() + " && openssl " + arguments + " >log 2>&1 </dev/null";
    // The arguments are this file's own.
    return std::system(command.c_str()) == 0;
  }
  void ExpectOpenssl(const std::string& arguments) {
    EXPECT_TRUE(Openssl(arguments)) << "openssl " << arguments << "\n" << AsText(Read("log"));
  }

  // Writes the key as `key` (PKCS#8) and `public` (SubjectPublicKeyInfo).
  void WriteKey(const AsymmetricKey& key) {
    Write("key", key.ToPkcs8().Reveal());
    Write("public", key.PublicKeyDer());
  }

  testing::TempDirectory directory_;
};

// The options of `openssl pkeyutl` for an algorithm.
std::string PkeyutlOptions(SigningAlgorithm algorithm) {
  const std::string name(NameOf(algorithm));
  if (algorithm == SigningAlgorithm::kEd25519Sha512) return " -rawin";
  const std::string hash = "sha" + name.substr(name.size() - 3);
  std::string options = " -rawin -digest " + hash;
  if (name.starts_with("RSASSA_PSS")) {
    options += " -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:digest";
    options += " -pkeyopt rsa_mgf1_md:" + hash;
  }
  return options;
}

std::string PkeyutlOptions(EncryptionAlgorithm algorithm) {
  const std::string hash = algorithm == EncryptionAlgorithm::kRsaesOaepSha1 ? "sha1" : "sha256";
  return " -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:" + hash +
         " -pkeyopt rsa_mgf1_md:" + hash;
}

// The options of `openssl genpkey`.
std::string GenpkeyOptions(KeySpec spec) {
  if (ModulusBytes(spec) != 0) {
    return "-algorithm RSA -pkeyopt rsa_keygen_bits:" + std::to_string(8 * ModulusBytes(spec));
  }
  switch (spec) {
    case KeySpec::kEccNistP256:
      return "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
    case KeySpec::kEccNistP384:
      return "-algorithm EC -pkeyopt ec_paramgen_curve:P-384";
    case KeySpec::kEccNistP521:
      return "-algorithm EC -pkeyopt ec_paramgen_curve:P-521";
    case KeySpec::kEccSecgP256k1:
      return "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1";
    default:
      return "-algorithm ED25519";
  }
}

TEST_F(OpensslCommandTest, ReadsOurKeysAndFindsThemSound) {
  for (const KeySpec spec : SupportedKeyPairs()) {
    const AsymmetricKey key = TestKey(spec);
    WriteKey(key);
    ExpectOpenssl("pkey -inform DER -in key -check -noout");
    ExpectOpenssl("pkey -inform DER -in key -pubout -outform DER -out derived");
    EXPECT_EQ(Read("derived"), key.PublicKeyDer()) << NameOf(spec);
    ExpectOpenssl("pkey -pubin -inform DER -in public -pubcheck -noout");
  }
}

TEST_F(OpensslCommandTest, MakesKeysThatWeRead) {
  for (const KeySpec spec : SupportedKeyPairs()) {
    // Those of 3072 and 4096 bits are the fixed keys of the other tests, made in this way.
    if (ModulusBytes(spec) > ModulusBytes(KeySpec::kRsa2048)) continue;
    ExpectOpenssl("genpkey -out pem " + GenpkeyOptions(spec));
    ExpectOpenssl("pkcs8 -topk8 -nocrypt -in pem -outform DER -out key");
    ExpectOpenssl("pkey -in pem -pubout -outform DER -out public");
    const auto key = AsymmetricKey::FromPkcs8(spec, ReadSecret("key"));
    ASSERT_TRUE(key) << NameOf(spec);
    EXPECT_EQ(key->PublicKeyDer(), Read("public"));
    EXPECT_TRUE(key->ToPkcs8().Equals(ReadSecret("key"))) << NameOf(spec);
    EXPECT_FALSE(AsymmetricKey::FromPkcs8(spec, ReadSecret("pem")));
  }
}

TEST_F(OpensslCommandTest, VerifiesWhatWeSignAndSignsWhatWeVerify) {
  Write("message", AsBytes("message"));
  Write("other", AsBytes("massage"));
  for (const KeySpec spec : SupportedKeyPairs()) {
    const AsymmetricKey key = TestKey(spec);
    WriteKey(key);
    for (const SigningAlgorithm algorithm : SigningAlgorithmsOf(spec, KeyUsage::kSignVerify)) {
      const std::string options = PkeyutlOptions(algorithm);
      const MessageToSign message{algorithm, MessageType::kRaw, AsBytes("message")};
      Write("ours", key.Sign(message).value());
      const std::string verify =
          "pkeyutl -verify -pubin -keyform DER -inkey public -sigfile ours" + options + " -in ";
      ExpectOpenssl(verify + "message");
      EXPECT_FALSE(Openssl(verify + "other")) << NameOf(algorithm);
      ExpectOpenssl("pkeyutl -sign -keyform DER -inkey key -in message -out theirs" + options);
      EXPECT_TRUE(key.Verify(message, Read("theirs"))) << NameOf(spec) << NameOf(algorithm);
    }
  }
}

TEST_F(OpensslCommandTest, DecryptsWhatWeEncryptAndEncryptsWhatWeDecrypt) {
  const SecretBuffer plaintext = SecretBuffer::CopyOf(AsBytes("a data key of thirty-two bytes.."));
  Write("plaintext", plaintext.Reveal());
  for (const KeySpec spec : {KeySpec::kRsa2048, KeySpec::kRsa3072, KeySpec::kRsa4096}) {
    const AsymmetricKey key = TestKey(spec);
    WriteKey(key);
    for (const EncryptionAlgorithm algorithm :
         EncryptionAlgorithmsOf(spec, KeyUsage::kEncryptDecrypt)) {
      const std::string options = PkeyutlOptions(algorithm);
      Write("ours", key.Encrypt(algorithm, plaintext).value());
      ExpectOpenssl("pkeyutl -decrypt -keyform DER -inkey key -in ours -out opened" + options);
      EXPECT_TRUE(ReadSecret("opened").Equals(plaintext)) << NameOf(algorithm);
      ExpectOpenssl("pkeyutl -encrypt -pubin -keyform DER -inkey public -in plaintext -out theirs" +
                    options);
      const auto opened = key.Decrypt(algorithm, Read("theirs"));
      ASSERT_TRUE(opened) << NameOf(algorithm);
      EXPECT_TRUE(opened->Equals(plaintext));
    }
  }
}

TEST_F(OpensslCommandTest, DerivesTheSameSharedSecret) {
  for (const KeySpec spec : {KeySpec::kEccNistP256, KeySpec::kEccNistP384, KeySpec::kEccNistP521}) {
    const AsymmetricKey key = TestKey(spec);
    WriteKey(key);
    ExpectOpenssl("genpkey -outform DER -out peer " + GenpkeyOptions(spec));
    ExpectOpenssl("pkey -inform DER -in peer -pubout -outform DER -out peer-public");
    ExpectOpenssl(
        "pkeyutl -derive -keyform DER -inkey peer -peerform DER -peerkey public -out secret");
    const auto secret = key.DeriveSharedSecret(Read("peer-public"));
    ASSERT_TRUE(secret) << NameOf(spec);
    EXPECT_TRUE(secret->Equals(ReadSecret("secret"))) << NameOf(spec);
  }
}

TEST_F(OpensslCommandTest, MakesTheSameMac) {
  Write("message", AsBytes("message"));
  testing::FakeRandom random;
  for (const KeySpec spec :
       {KeySpec::kHmac224, KeySpec::kHmac256, KeySpec::kHmac384, KeySpec::kHmac512}) {
    const MacKey key = MacKey::Generate(spec, random).value();
    const auto algorithm = MacAlgorithmsOf(spec, KeyUsage::kGenerateVerifyMac).front();
    ExpectOpenssl("dgst -sha" + std::to_string(8 * MacBytes(algorithm)) +
                  " -binary -out mac -mac HMAC -macopt hexkey:" + ToHex(key.material().Reveal()) +
                  " message");
    EXPECT_TRUE(key.Verify(algorithm, {AsBytes("message"), Read("mac")})) << NameOf(spec);
  }
}

// As the KMS developer guide has users do it, "Importing key material step 3".
TEST_F(OpensslCommandTest, WrapsKeyMaterialForImport) {
  const WrappingKey wrapping_key =
      WrappingKey::FromOwnPkcs8(WrappingKeySpec::kRsa3072, RsaTestKeyPkcs8(KeySpec::kRsa3072))
          .value();
  Write("wrapping", wrapping_key.PublicKeyDer());
  const std::string encrypt = "pkeyutl -encrypt -pubin -keyform DER -inkey wrapping";
  ExpectOpenssl("rand -out material 32");
  for (const auto algorithm :
       {WrappingAlgorithm::kRsaesOaepSha1, WrappingAlgorithm::kRsaesOaepSha256}) {
    const auto oaep = algorithm == WrappingAlgorithm::kRsaesOaepSha1
                          ? EncryptionAlgorithm::kRsaesOaepSha1
                          : EncryptionAlgorithm::kRsaesOaepSha256;
    ExpectOpenssl(encrypt + " -in material -out wrapped" + PkeyutlOptions(oaep));
    const auto unwrapped =
        wrapping_key.Unwrap({KeySpec::kSymmetricDefault, algorithm}, Read("wrapped"));
    ASSERT_TRUE(unwrapped);
    EXPECT_TRUE(unwrapped->Equals(ReadSecret("material")));
  }
  const std::string aes_key(64, 'c');
  Write("aes-key", FromHex(aes_key).value());
  for (const KeySpec spec : SupportedKeyPairs()) {
    if (ModulusBytes(spec) > ModulusBytes(KeySpec::kRsa2048)) continue;
    const SecretBuffer pkcs8 = TestKey(spec).ToPkcs8();
    Write("material", pkcs8.Reveal());
    ExpectOpenssl("enc -id-aes256-wrap-pad -K " + aes_key +
                  " -iv A65959A6 -in material -out wrapped-material");
    for (const auto algorithm :
         {WrappingAlgorithm::kRsaAesKeyWrapSha1, WrappingAlgorithm::kRsaAesKeyWrapSha256}) {
      const auto oaep = algorithm == WrappingAlgorithm::kRsaAesKeyWrapSha1
                            ? EncryptionAlgorithm::kRsaesOaepSha1
                            : EncryptionAlgorithm::kRsaesOaepSha256;
      ExpectOpenssl(encrypt + " -in aes-key -out wrapped" + PkeyutlOptions(oaep));
      Bytes encrypted = Read("wrapped");
      const Bytes rest = Read("wrapped-material");
      encrypted.insert(encrypted.end(), rest.begin(), rest.end());
      const auto unwrapped = wrapping_key.Unwrap({spec, algorithm}, encrypted);
      ASSERT_TRUE(unwrapped) << NameOf(spec) << " " << NameOf(algorithm);
      EXPECT_TRUE(unwrapped->Equals(pkcs8));
    }
  }
}

}  // namespace
}  // namespace secretfs::crypto
