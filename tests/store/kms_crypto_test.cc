// What is done with data under keys.

#include <random>

#include "tests/store/kms_fixture.h"

namespace secretfs::store {
namespace {

using crypto::EncryptionAlgorithm;
using crypto::KeySpec;
using crypto::KeyUsage;
using crypto::MacAlgorithm;
using crypto::MessageType;
using crypto::SigningAlgorithm;

class KmsCryptoTest : public KmsTest {
 protected:
  Result<Signed> Sign(const std::string& key, const Bytes& message, SigningAlgorithm algorithm,
                      MessageType type = MessageType::kRaw) {
    return kms().Sign(store_.caller, {key, message, type, algorithm, {}});
  }
  std::string Verify(const std::string& key, const Bytes& message, SigningAlgorithm algorithm,
                     const Bytes& signature) {
    VerifyRequest request;
    request.signed_message = {key, message, MessageType::kRaw, algorithm, {}};
    request.signature = signature;
    return Outcome(kms().Verify(store_.caller, request));
  }
};

// For random messages, contexts and keys: decrypt(encrypt) is the identity.
TEST_F(KmsCryptoTest, DecryptionIsTheInverseOfEncryption) {
  std::mt19937 draw(7);
  const std::string keys[] = {CreateKey(), CreateKey(), CreateKey()};
  for (int i = 0; i < 200; ++i) {
    std::string text(1 + draw() % (i % 10 == 0 ? 4096 : 64), '\0');
    for (char& c : text) c = static_cast<char>(draw());
    ContextMap context;
    for (uint64_t n = draw() % 5; n > 0; --n) {
      context["k" + std::to_string(draw() % 9)] = std::string(draw() % 20, 'v');
    }
    const std::string& key = keys[draw() % 3];
    auto encrypted = Encrypt(key, text, context);
    ASSERT_TRUE(encrypted) << encrypted.error().message;
    EXPECT_EQ(encrypted->key_id, ArnOf(key));
    auto decrypted = Decrypt(encrypted->ciphertext_blob, context);
    ASSERT_TRUE(decrypted) << decrypted.error().message;
    EXPECT_EQ(testing::Text(decrypted->plaintext), text);
    EXPECT_EQ(decrypted->key_id, ArnOf(key));
    EXPECT_EQ(decrypted->key_material_id, ToHex(Describe(key).Current()->id));
    context["more"] = "";
    EXPECT_EQ(DecryptText(encrypted->ciphertext_blob, context),
              "error: InvalidCiphertextException");
  }
}

TEST_F(KmsCryptoTest, EveryChangedBitOfBlobOrContextFails) {
  const std::string key = CreateKey();
  const ContextMap context{{"name", "value"}, {"x", ""}};
  Bytes blob = Encrypt(key, "correct horse", context)->ciphertext_blob;
  for (size_t bit = 0; bit < blob.size() * 8; ++bit) {
    blob[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    auto decrypted = Decrypt(blob, context);
    ASSERT_FALSE(decrypted) << bit;
    EXPECT_EQ(decrypted.error().code, Code::kInvalidCiphertext) << bit;
    EXPECT_EQ(decrypted.error().message, "") << bit;  // AWS says no more.
    blob[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
  for (size_t size = 1; size < blob.size(); ++size) {
    EXPECT_EQ(DecryptText(Bytes(blob.begin(), blob.begin() + static_cast<long>(size)), context),
              "error: InvalidCiphertextException");
  }
  const std::string text = "namevalue";
  for (size_t bit = 0; bit < 7 * text.size(); ++bit) {
    // Bit 7 would make what is no UTF-8.
    std::string changed = text;
    changed[bit / 7] = static_cast<char>(changed[bit / 7] ^ (1 << bit % 7));
    EXPECT_EQ(DecryptText(blob, {{changed.substr(0, 4), changed.substr(4)}, {"x", ""}}),
              "error: InvalidCiphertextException")
        << bit;
  }
  EXPECT_EQ(DecryptText(blob, {{"name", "valuex"}}), "error: InvalidCiphertextException");
  EXPECT_EQ(DecryptText(blob, {{"x", ""}, {"name", "value"}}), "correct horse");
}

TEST_F(KmsCryptoTest, ACiphertextStaysWithTheKeyThatMadeIt) {
  const std::string one = CreateKey();
  const std::string two = CreateKey();
  ASSERT_EQ(Alias("alias/web", one), "ok");
  const Bytes blob = Encrypt("alias/web", "text")->ciphertext_blob;
  EXPECT_TRUE(Decrypt(blob, {}, "alias/web"));
  ASSERT_TRUE(kms().UpdateAlias(store_.caller, {"alias/web", two, ""}));
  EXPECT_EQ(DecryptText(blob), "text");
  auto wrong = Decrypt(blob, {}, "alias/web");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Code::kIncorrectKey);
  EXPECT_EQ(wrong.error().message,
            "The key ID in the request does not identify a CMK that can perform this operation.");
  EXPECT_EQ(Outcome(Decrypt(blob, {}, one)), "ok");
}

TEST_F(KmsCryptoTest, BoundsOfEncryption) {
  const std::string key = CreateKey();
  EXPECT_EQ(Outcome(Encrypt(key, std::string(4096, 'x'))), "ok");
  EXPECT_EQ(Encrypt(key, std::string(4096, 'x'))->ciphertext_blob.size(), 4096u + 89);
  EXPECT_EQ(Outcome(Encrypt(key, std::string(4097, 'x'))), "ValidationException");
  EXPECT_EQ(Outcome(Encrypt(key, "")), "ValidationException");
  EXPECT_EQ(Outcome(Encrypt(key, "x", {{"k", std::string(8191, 'v')}})), "ok");
  EXPECT_EQ(Outcome(Encrypt(key, "x", {{"k", std::string(8192, 'v')}})), "ValidationException");
  EXPECT_EQ(Outcome(Encrypt(key, "x", {{"\xff", ""}})), "ValidationException");
  EXPECT_EQ(DecryptText({}), "error: ValidationException");
  EXPECT_EQ(DecryptText(Bytes(6145, 1)), "error: ValidationException");
  EXPECT_EQ(DecryptText(Bytes(6144, 1)), "error: InvalidCiphertextException");
}

TEST_F(KmsCryptoTest, ReEncryptionMovesACiphertextToAnotherKeyAndContext) {
  const std::string one = CreateKey();
  const std::string two = CreateKey();
  ReEncryptRequest request;
  request.ciphertext_blob = Encrypt(one, "text", {{"a", "1"}})->ciphertext_blob;
  request.source_encryption_context = {{"a", "1"}};
  request.destination_key_id = two;
  request.destination_encryption_context = {{"b", "2"}};
  auto moved = kms().ReEncrypt(store_.caller, request);
  ASSERT_TRUE(moved) << moved.error().message;
  EXPECT_EQ(moved->source_key_id, ArnOf(one));
  EXPECT_EQ(moved->key_id, ArnOf(two));
  EXPECT_EQ(moved->destination_key_material_id, ToHex(Describe(two).Current()->id));
  EXPECT_EQ(DecryptText(moved->ciphertext_blob, {{"b", "2"}}), "text");
  request.source_encryption_context = {};
  EXPECT_EQ(Outcome(kms().ReEncrypt(store_.caller, request)), "InvalidCiphertextException");
  request.source_encryption_context = {{"a", "1"}};
  request.source_key_id = two;
  EXPECT_EQ(Outcome(kms().ReEncrypt(store_.caller, request)), "IncorrectKeyException");
  request.source_key_id = one;
  Disable(two);
  EXPECT_EQ(Outcome(kms().ReEncrypt(store_.caller, request)), "DisabledException");
}

TEST_F(KmsCryptoTest, DataKeysAreWhatTheirCiphertextHolds) {
  const std::string key = CreateKey();
  const ContextMap context{{"a", "1"}};
  GenerateDataKeyRequest request;
  request.key_id = key;
  request.encryption_context = context;
  const auto outcome = [&] { return Outcome(kms().GenerateDataKey(store_.caller, request)); };
  EXPECT_EQ(outcome(), "ValidationException");
  request.number_of_bytes = 1024;
  request.key_spec = DataKeySpec::kAes256;
  EXPECT_EQ(outcome(), "ValidationException");
  request.key_spec.reset();
  for (const int64_t bad : {0, 1025, -1}) {
    request.number_of_bytes = bad;
    EXPECT_EQ(outcome(), "ValidationException");
  }
  request.number_of_bytes = 1024;
  EXPECT_EQ(kms().GenerateDataKey(store_.caller, request)->plaintext.size(), 1024u);
  request.number_of_bytes.reset();
  for (const auto& [spec, size] :
       {std::pair{DataKeySpec::kAes128, 16u}, {DataKeySpec::kAes256, 32u}}) {
    request.key_spec = spec;
    auto made = kms().GenerateDataKey(store_.caller, request);
    ASSERT_TRUE(made);
    EXPECT_EQ(made->plaintext.size(), size);
    EXPECT_EQ(DecryptText(made->ciphertext_blob, context), testing::Text(made->plaintext));
    EXPECT_EQ(DecryptText(made->ciphertext_blob), "error: InvalidCiphertextException");
    auto hidden = kms().GenerateDataKeyWithoutPlaintext(store_.caller, request);
    EXPECT_TRUE(hidden->plaintext.empty());
    EXPECT_EQ(DecryptText(hidden->ciphertext_blob, context).size(), size);
  }
}

TEST_F(KmsCryptoTest, DataKeyPairsSignWithTheKeyThatIsReturned) {
  GenerateDataKeyPairRequest request;
  request.key_id = CreateKey();
  request.key_pair_spec = KeySpec::kEccNistP256;
  auto made = kms().GenerateDataKeyPair(store_.caller, request);
  ASSERT_TRUE(made);
  EXPECT_EQ(DecryptText(made->private_key_ciphertext_blob),
            testing::Text(made->private_key_plaintext));
  auto pair = crypto::AsymmetricKey::FromPkcs8(request.key_pair_spec, made->private_key_plaintext);
  ASSERT_TRUE(pair);
  EXPECT_EQ(pair->PublicKeyDer(), made->public_key);
  auto hidden = kms().GenerateDataKeyPairWithoutPlaintext(store_.caller, request);
  EXPECT_TRUE(hidden->private_key_plaintext.empty());
  EXPECT_NE(hidden->public_key, made->public_key);
  request.key_pair_spec = KeySpec::kHmac256;
  EXPECT_EQ(Outcome(kms().GenerateDataKeyPair(store_.caller, request)),
            "UnsupportedOperationException");
}

TEST_F(KmsCryptoTest, RsaEncrypts) {
  const std::string key = CreateKey(KeySpec::kRsa2048, KeyUsage::kEncryptDecrypt);
  EncryptRequest request;
  request.key_id = key;
  request.plaintext = crypto::SecretBuffer::CopyOf(AsBytes("text"));
  EXPECT_EQ(Outcome(kms().Encrypt(store_.caller, request)), "InvalidKeyUsageException");
  request.encryption_algorithm = EncryptionAlgorithm::kRsaesOaepSha256;
  auto encrypted = kms().Encrypt(store_.caller, request);
  ASSERT_TRUE(encrypted);
  DecryptRequest decrypt;
  decrypt.ciphertext_blob = encrypted->ciphertext_blob;
  decrypt.encryption_algorithm = request.encryption_algorithm;
  EXPECT_EQ(Outcome(kms().Decrypt(store_.caller, decrypt)), "ValidationException");
  decrypt.key_id = key;
  EXPECT_EQ(testing::Text(kms().Decrypt(store_.caller, decrypt)->plaintext), "text");
  decrypt.ciphertext_blob[0] ^= 1;
  EXPECT_EQ(Outcome(kms().Decrypt(store_.caller, decrypt)), "InvalidCiphertextException");
  request.encryption_context = {{"a", "b"}};
  EXPECT_EQ(Outcome(kms().Encrypt(store_.caller, request)), "ValidationException");
  request.encryption_context = {};
  request.plaintext = crypto::SecretBuffer(191);
  EXPECT_EQ(kms().Encrypt(store_.caller, request).error().message,
            "Algorithm RSAES_OAEP_SHA_256 and key spec RSA_2048 cannot encrypt data larger than "
            "190 bytes.");
  EXPECT_EQ(Outcome(Sign(key, {1}, SigningAlgorithm::kRsassaPssSha256)),
            "InvalidKeyUsageException");
}

TEST_F(KmsCryptoTest, SignaturesVerifyAndNothingElseDoes) {
  const std::string key = CreateKey(KeySpec::kEccNistP256, KeyUsage::kSignVerify);
  const Bytes message = {1, 2, 3};
  auto made = Sign(key, message, SigningAlgorithm::kEcdsaSha256);
  ASSERT_TRUE(made) << made.error().message;
  Reopen();
  EXPECT_EQ(Verify(key, message, SigningAlgorithm::kEcdsaSha256, made->signature), "ok");
  EXPECT_EQ(Verify(key, {1, 2, 4}, SigningAlgorithm::kEcdsaSha256, made->signature),
            "KMSInvalidSignatureException");
  EXPECT_EQ(Verify(key, message, SigningAlgorithm::kEcdsaSha384, made->signature),
            "InvalidKeyUsageException");
  EXPECT_EQ(
      Sign(key, message, SigningAlgorithm::kEcdsaSha256, MessageType::kDigest).error().message,
      "Digest is invalid length for algorithm ECDSA_SHA_256.");
  EXPECT_EQ(Outcome(Sign(key, Bytes(4097), SigningAlgorithm::kEcdsaSha256)), "ValidationException");
  auto encrypt = Encrypt(key, "x");
  EXPECT_EQ(encrypt.error().message,
            ArnOf(key) + " key usage is SIGN_VERIFY which is not valid for Encrypt.");
  auto shown = kms().GetPublicKey(store_.caller, {key, {}, ""});
  ASSERT_TRUE(shown);
  EXPECT_FALSE((*shown)->public_key.empty());
  EXPECT_EQ(Outcome(kms().GetPublicKey(store_.caller, {CreateKey(), {}, ""})),
            "UnsupportedOperationException");
}

TEST_F(KmsCryptoTest, MacsVerifyAndNothingElseDoes) {
  const std::string key = CreateKey(KeySpec::kHmac256, KeyUsage::kGenerateVerifyMac);
  MacRequest request;
  request.key_id = key;
  request.message = {1, 2, 3};
  auto made = kms().GenerateMac(store_.caller, request);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->mac.size(), 32u);
  Reopen();
  request.mac = made->mac;
  EXPECT_EQ(Outcome(kms().VerifyMac(store_.caller, request)), "ok");
  request.mac[31] ^= 1;
  EXPECT_EQ(Outcome(kms().VerifyMac(store_.caller, request)), "KMSInvalidMacException");
  request.mac_algorithm = MacAlgorithm::kHmacSha512;
  EXPECT_EQ(kms().GenerateMac(store_.caller, request).error().message,
            "Algorithm HMAC_SHA_512 is incompatible with key spec HMAC_256.");
}

TEST_F(KmsCryptoTest, TwoKeysAgreeOnASecret) {
  const std::string one = CreateKey(KeySpec::kEccNistP384, KeyUsage::kKeyAgreement);
  const std::string two = CreateKey(KeySpec::kEccNistP384, KeyUsage::kKeyAgreement);
  const auto derive = [&](const std::string& key, const std::string& peer) {
    DeriveSharedSecretRequest request;
    request.key_id = key;
    request.public_key = Describe(peer).public_key;
    return testing::Text(kms().DeriveSharedSecret(store_.caller, request)->shared_secret);
  };
  EXPECT_EQ(derive(one, two), derive(two, one));
  EXPECT_EQ(derive(one, two).size(), 48u);
  DeriveSharedSecretRequest request;
  request.key_id = one;
  request.public_key = {1, 2, 3};
  EXPECT_EQ(Outcome(kms().DeriveSharedSecret(store_.caller, request)), "ValidationException");
}

TEST_F(KmsCryptoTest, RandomBytesAreBounded) {
  EXPECT_EQ(kms().GenerateRandom(store_.caller, {1024, "", ""})->size(), 1024u);
  EXPECT_EQ(kms().GenerateRandom(store_.caller, {{}, "", ""}).error().message,
            "NumberOfBytes is required.");
  for (const int64_t bad : {0, 1025}) {
    EXPECT_EQ(Outcome(kms().GenerateRandom(store_.caller, {bad, "", ""})), "ValidationException");
  }
  EXPECT_EQ(Outcome(kms().GenerateRandom(store_.caller, {1, "cks-1", ""})),
            "UnsupportedOperationException");
}

TEST_F(KmsCryptoTest, ADryRunAnswersLastAndLeavesNoTrace) {
  const std::string key = CreateKey();
  EncryptRequest encrypt;
  encrypt.key_id = key;
  encrypt.plaintext = crypto::SecretBuffer(1);
  encrypt.options.dry_run = true;
  auto tried = kms().Encrypt(store_.caller, encrypt);
  EXPECT_EQ(tried.error().message,
            "The request would have succeeded, but the DryRun option is set.");
  EXPECT_EQ(Outcome(tried), "DryRunOperationException");
  EXPECT_EQ(kms().Encrypt(eve_, encrypt).error().code, Code::kPermissionDenied);
  EXPECT_FALSE(kms().GetKeyLastUsage(store_.caller, {key, ""})->last);
  DecryptRequest decrypt;
  decrypt.ciphertext_blob = {1, 2, 3};
  decrypt.options.dry_run = true;
  EXPECT_EQ(Outcome(kms().Decrypt(store_.caller, decrypt)), "InvalidCiphertextException");
  decrypt.ignore_ciphertext = true;
  EXPECT_EQ(Outcome(kms().Decrypt(store_.caller, decrypt)), "ValidationException");
  decrypt.key_id = key;
  EXPECT_EQ(Outcome(kms().Decrypt(store_.caller, decrypt)), "DryRunOperationException");
  Disable(key);
  EXPECT_EQ(Outcome(kms().Encrypt(store_.caller, encrypt)), "DisabledException");
  EXPECT_EQ(Outcome(kms().Decrypt(store_.caller, decrypt)), "DisabledException");
  bool recorded = false;
  for (const AuditEvent& event : Events()) {
    recorded = recorded || event.error_code == "DryRunOperationException";
  }
  EXPECT_TRUE(recorded);
}

// Memory does not grow with keys that are used.
TEST_F(KmsCryptoTest, ManyKeysTakeTurns) {
  std::vector<std::pair<Bytes, std::string>> blobs;
  for (int i = 0; i < 300; ++i) {
    const std::string key = CreateKey();
    const std::string text = "text " + std::to_string(i);
    blobs.emplace_back(Encrypt(key, text)->ciphertext_blob, text);
  }
  for (int round = 0; round < 2; ++round) {
    for (const auto& [blob, text] : blobs) EXPECT_EQ(DecryptText(blob), text);
  }
}

}  // namespace
}  // namespace secretfs::store
