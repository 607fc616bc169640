// What the operations do with data under keys, and with the material of keys.

#include "mount/aws_kms_operations.h"
#include "tests/mount/kms_fixture.h"

namespace secretfs::mount {
namespace {

using AwsKmsDataTest = AwsKmsTest;

// --- cryptographic operations

TEST_F(AwsKmsDataTest, EncryptAndDecryptWithContext) {
  const json key = Create();
  Ok("CreateAlias", {{"AliasName", "alias/mine"}, {"TargetKeyId", key["KeyId"]}});
  const json context = {{"purpose", "test"}, {"empty", ""}};
  const json encrypted = Ok(
      "Encrypt",
      {{"KeyId", "alias/mine"}, {"Plaintext", Base64("hunter2")}, {"EncryptionContext", context}});
  EXPECT_EQ(NamesOf(encrypted), (Names{"CiphertextBlob", "KeyId", "EncryptionAlgorithm"}));
  EXPECT_EQ(encrypted["KeyId"], key["Arn"]);
  EXPECT_EQ(encrypted["EncryptionAlgorithm"], "SYMMETRIC_DEFAULT");
  const HttpAnswer answer = Call(
      "Decrypt", {{"CiphertextBlob", encrypted["CiphertextBlob"]}, {"EncryptionContext", context}});
  EXPECT_TRUE(IsSecret(answer));
  EXPECT_EQ(json::parse(BodyText(answer)), (json{{"KeyId", key["Arn"]},
                                                 {"Plaintext", Base64("hunter2")},
                                                 {"EncryptionAlgorithm", "SYMMETRIC_DEFAULT"},
                                                 {"KeyMaterialId", key["CurrentKeyMaterialId"]}}));
  // AWS says no more.
  EXPECT_EQ(Failure("Decrypt", {{"CiphertextBlob", encrypted["CiphertextBlob"]}}),
            "400 InvalidCiphertextException");
  EXPECT_EQ(Failure("Decrypt", {{"CiphertextBlob", Base64("nonsense")}}),
            "400 InvalidCiphertextException");
  EXPECT_THAT(Failure("Decrypt", {{"CiphertextBlob", encrypted["CiphertextBlob"]},
                                  {"KeyId", CreateArn()},
                                  {"EncryptionContext", context}}),
              StartsWith("400 IncorrectKeyException: "));
}

TEST_F(AwsKmsDataTest, RsaEncryptsUnderTheAlgorithmThatIsNamed) {
  const std::string arn = CreateArn({{"KeySpec", "RSA_2048"}, {"KeyUsage", "ENCRYPT_DECRYPT"}});
  const json encrypted = Ok("Encrypt", {{"KeyId", arn},
                                        {"Plaintext", Base64("hunter2")},
                                        {"EncryptionAlgorithm", "RSAES_OAEP_SHA_256"}});
  const json decrypted = Ok("Decrypt", {{"KeyId", arn},
                                        {"CiphertextBlob", encrypted["CiphertextBlob"]},
                                        {"EncryptionAlgorithm", "RSAES_OAEP_SHA_256"}});
  EXPECT_EQ(decrypted, (json{{"KeyId", arn},
                             {"Plaintext", Base64("hunter2")},
                             {"EncryptionAlgorithm", "RSAES_OAEP_SHA_256"}}));
  EXPECT_THAT(Failure("Encrypt", {{"KeyId", arn},
                                  {"Plaintext", Base64(std::string(215, 'x'))},
                                  {"EncryptionAlgorithm", "RSAES_OAEP_SHA_1"}}),
              StartsWith("400 ValidationException: "));
}

TEST_F(AwsKmsDataTest, ReEncryptMovesCiphertext) {
  const json from = Create();
  const json to = Create();
  const json blob = Ok("Encrypt", {{"KeyId", from["KeyId"]},
                                   {"Plaintext", Base64("hunter2")},
                                   {"EncryptionContext", {{"a", "1"}}}})["CiphertextBlob"];
  const HttpAnswer answer = Call("ReEncrypt", {{"CiphertextBlob", blob},
                                               {"SourceEncryptionContext", {{"a", "1"}}},
                                               {"DestinationKeyId", to["KeyId"]},
                                               {"DestinationEncryptionContext", {{"b", "2"}}}});
  const json moved = json::parse(BodyText(answer));
  EXPECT_EQ(moved, (json{{"CiphertextBlob", moved["CiphertextBlob"]},
                         {"SourceKeyId", from["Arn"]},
                         {"KeyId", to["Arn"]},
                         {"SourceEncryptionAlgorithm", "SYMMETRIC_DEFAULT"},
                         {"DestinationEncryptionAlgorithm", "SYMMETRIC_DEFAULT"},
                         {"SourceKeyMaterialId", from["CurrentKeyMaterialId"]},
                         {"DestinationKeyMaterialId", to["CurrentKeyMaterialId"]}}));
  EXPECT_EQ(Ok("Decrypt", {{"CiphertextBlob", moved["CiphertextBlob"]},
                           {"EncryptionContext", {{"b", "2"}}}})["Plaintext"],
            Base64("hunter2"));
  EXPECT_THAT(Failure("ReEncrypt", {{"CiphertextBlob", blob},
                                    {"DestinationKeyId", to["KeyId"]},
                                    {"DryRunModifiers", {"IGNORE_CIPHERTEXT"}}}),
              StartsWith("400 UnsupportedOperationException: DryRunModifiers: "));
}

TEST_F(AwsKmsDataTest, DataKeysComeWithAndWithoutPlaintext) {
  const json key = Create();
  for (const auto& [member, value, size] :
       {std::tuple{"KeySpec", json("AES_256"), 32u}, std::tuple{"KeySpec", json("AES_128"), 16u},
        std::tuple{"NumberOfBytes", json(7), 7u}}) {
    const HttpAnswer answer = Call("GenerateDataKey", {{"KeyId", key["KeyId"]}, {member, value}});
    EXPECT_TRUE(IsSecret(answer));
    const json out = json::parse(BodyText(answer));
    EXPECT_EQ(NamesOf(out), (Names{"CiphertextBlob", "Plaintext", "KeyId", "KeyMaterialId"}));
    EXPECT_EQ(Unbase64(out["Plaintext"]).size(), size);
    EXPECT_EQ(Ok("Decrypt", {{"CiphertextBlob", out["CiphertextBlob"]}})["Plaintext"],
              out["Plaintext"]);
  }
  const json hidden =
      Ok("GenerateDataKeyWithoutPlaintext", {{"KeyId", key["KeyId"]}, {"KeySpec", "AES_256"}});
  EXPECT_EQ(NamesOf(hidden), (Names{"CiphertextBlob", "KeyId", "KeyMaterialId"}));
  EXPECT_EQ(hidden["KeyId"], key["Arn"]);
  EXPECT_EQ(hidden["KeyMaterialId"], key["CurrentKeyMaterialId"]);
  EXPECT_THAT(Failure("GenerateDataKey", {{"KeyId", key["KeyId"]}}),
              StartsWith("400 ValidationException: "));
  EXPECT_EQ(Failure("GenerateDataKey", {{"KeyId", key["KeyId"]}, {"KeySpec", "AES_512"}}),
            "400 ValidationException: 1 validation error detected: Value 'AES_512' at 'keySpec' "
            "failed to satisfy constraint: Member must satisfy enum value set: [AES_256, AES_128]");
}

TEST_F(AwsKmsDataTest, DataKeyPairsComeWithAndWithoutPlaintext) {
  const json key = Create();
  const json in = {{"KeyId", key["KeyId"]}, {"KeyPairSpec", "ECC_NIST_P256"}};
  const HttpAnswer answer = Call("GenerateDataKeyPair", in);
  EXPECT_TRUE(IsSecret(answer));
  const json pair = json::parse(BodyText(answer));
  const Names hidden_names{"PrivateKeyCiphertextBlob", "PublicKey", "KeyId", "KeyPairSpec",
                           "KeyMaterialId"};
  Names names = hidden_names;
  names.insert("PrivateKeyPlaintext");
  EXPECT_EQ(NamesOf(pair), names);
  EXPECT_EQ(pair["KeyPairSpec"], "ECC_NIST_P256");
  EXPECT_EQ(Ok("Decrypt", {{"CiphertextBlob", pair["PrivateKeyCiphertextBlob"]}})["Plaintext"],
            pair["PrivateKeyPlaintext"]);
  EXPECT_EQ(NamesOf(Ok("GenerateDataKeyPairWithoutPlaintext", in)), hidden_names);
  EXPECT_THAT(Failure("GenerateDataKeyPair", {{"KeyId", key["KeyId"]}}),
              StartsWith("400 ValidationException: 1 validation error detected: Value null at "
                         "'keyPairSpec'"));
}

TEST_F(AwsKmsDataTest, RandomBytesAreAsManyAsAskedFor) {
  const HttpAnswer answer = Call("GenerateRandom", {{"NumberOfBytes", 1024}});
  EXPECT_TRUE(IsSecret(answer));
  const json out = json::parse(BodyText(answer));
  EXPECT_EQ(NamesOf(out), Names{"Plaintext"});
  EXPECT_EQ(Unbase64(out["Plaintext"]).size(), 1024u);
  EXPECT_EQ(Failure("GenerateRandom", json::object()),
            "400 ValidationException: NumberOfBytes is required.");
  EXPECT_THAT(Failure("GenerateRandom", {{"NumberOfBytes", 1025}}),
              StartsWith("400 ValidationException: "));
  EXPECT_THAT(Failure("GenerateRandom", {{"NumberOfBytes", 1}, {"CustomKeyStoreId", "cks-1"}}),
              StartsWith("400 UnsupportedOperationException: "));
}

TEST_F(AwsKmsDataTest, SignaturesVerify) {
  const std::string arn = CreateArn({{"KeySpec", "ECC_NIST_P256"}, {"KeyUsage", "SIGN_VERIFY"}});
  json in = {{"KeyId", arn}, {"Message", Base64("m")}, {"SigningAlgorithm", "ECDSA_SHA_256"}};
  const json done = Ok("Sign", in);
  EXPECT_EQ(done, (json{{"KeyId", arn},
                        {"Signature", done["Signature"]},
                        {"SigningAlgorithm", "ECDSA_SHA_256"}}));
  in["Signature"] = done["Signature"];
  EXPECT_EQ(
      Ok("Verify", in),
      (json{{"KeyId", arn}, {"SignatureValid", true}, {"SigningAlgorithm", "ECDSA_SHA_256"}}));
  in["Message"] = Base64("another");
  EXPECT_EQ(Failure("Verify", in), "400 KMSInvalidSignatureException");
  EXPECT_EQ(Failure("Sign", {{"KeyId", arn},
                             {"Message", Base64("m")},
                             {"MessageType", "DIGEST"},
                             {"SigningAlgorithm", "ECDSA_SHA_256"}}),
            "400 ValidationException: Digest is invalid length for algorithm ECDSA_SHA_256.");
  EXPECT_THAT(
      Failure("Sign",
              {{"KeyId", arn}, {"Message", Base64("m")}, {"SigningAlgorithm", "ECDSA_SHA_384"}}),
      StartsWith("400 InvalidKeyUsageException: "));
  EXPECT_THAT(Failure("Sign", {{"KeyId", CreateArn()},
                               {"Message", Base64("m")},
                               {"SigningAlgorithm", "ECDSA_SHA_256"}}),
              StartsWith("400 InvalidKeyUsageException: "));
}

TEST_F(AwsKmsDataTest, MacsVerify) {
  const std::string arn = CreateArn({{"KeySpec", "HMAC_256"}, {"KeyUsage", "GENERATE_VERIFY_MAC"}});
  json in = {{"KeyId", arn}, {"Message", Base64("m")}, {"MacAlgorithm", "HMAC_SHA_256"}};
  const HttpAnswer answer = Call("GenerateMac", in);
  EXPECT_TRUE(IsSecret(answer));
  const json done = json::parse(BodyText(answer));
  EXPECT_EQ(NamesOf(done), (Names{"Mac", "MacAlgorithm", "KeyId"}));
  EXPECT_EQ(Unbase64(done["Mac"]).size(), 32u);
  in["Mac"] = done["Mac"];
  EXPECT_EQ(Ok("VerifyMac", in),
            (json{{"KeyId", arn}, {"MacValid", true}, {"MacAlgorithm", "HMAC_SHA_256"}}));
  in["Message"] = Base64("another");
  EXPECT_EQ(Failure("VerifyMac", in), "400 KMSInvalidMacException");
  in.erase("Mac");
  EXPECT_EQ(Failure("VerifyMac", in),
            "400 ValidationException: 1 validation error detected: Value null at 'mac' failed to "
            "satisfy constraint: Member must not be null");
}

TEST_F(AwsKmsDataTest, TwoKeysAgreeOnOneSecret) {
  const json in = {{"KeySpec", "ECC_NIST_P256"}, {"KeyUsage", "KEY_AGREEMENT"}};
  const std::string ours = CreateArn(in);
  const std::string theirs = CreateArn(in);
  const auto derive = [&](const std::string& key, const std::string& other) {
    return Call("DeriveSharedSecret",
                {{"KeyId", key},
                 {"KeyAgreementAlgorithm", "ECDH"},
                 {"PublicKey", Ok("GetPublicKey", {{"KeyId", other}})["PublicKey"]}});
  };
  const HttpAnswer answer = derive(ours, theirs);
  EXPECT_TRUE(IsSecret(answer));
  const json done = json::parse(BodyText(answer));
  EXPECT_EQ(done, (json{{"KeyId", ours},
                        {"SharedSecret", done["SharedSecret"]},
                        {"KeyAgreementAlgorithm", "ECDH"},
                        {"KeyOrigin", "AWS_KMS"}}));
  EXPECT_EQ(Unbase64(done["SharedSecret"]).size(), 32u);
  EXPECT_EQ(json::parse(BodyText(derive(theirs, ours)))["SharedSecret"], done["SharedSecret"]);
}

TEST_F(AwsKmsDataTest, PublicKeyComesWithWhatItIsFor) {
  const std::string arn = CreateArn({{"KeySpec", "ECC_NIST_P256"}, {"KeyUsage", "SIGN_VERIFY"}});
  const json out = Ok("GetPublicKey", {{"KeyId", arn}});
  EXPECT_EQ(out, (json{{"KeyId", arn},
                       {"PublicKey", out["PublicKey"]},
                       {"KeySpec", "ECC_NIST_P256"},
                       {"CustomerMasterKeySpec", "ECC_NIST_P256"},
                       {"KeyUsage", "SIGN_VERIFY"},
                       {"SigningAlgorithms", {"ECDSA_SHA_256"}}}));
  EXPECT_EQ(Unbase64(out["PublicKey"]).size(), 91u);  // SubjectPublicKeyInfo of P-256.
  EXPECT_THAT(Failure("GetPublicKey", {{"KeyId", CreateArn()}}),
              StartsWith("400 UnsupportedOperationException: "));
}

TEST_F(AwsKmsDataTest, DryRunEndsInItsOwnError) {
  const std::string arn = CreateArn();
  EXPECT_EQ(Failure("Encrypt", {{"KeyId", arn}, {"Plaintext", Base64("x")}, {"DryRun", true}}),
            "400 DryRunOperationException: The request would have succeeded, but the DryRun "
            "option is set.");
  EXPECT_THAT(
      Failure("Decrypt",
              {{"KeyId", arn}, {"DryRun", true}, {"DryRunModifiers", {"IGNORE_CIPHERTEXT"}}}),
      StartsWith("400 DryRunOperationException: "));
  EXPECT_THAT(Failure("Decrypt", {{"KeyId", arn}, {"DryRunModifiers", {"IGNORE_ALL"}}}),
              StartsWith("400 ValidationException: 1 validation error detected: Value "
                         "'IGNORE_ALL' at 'dryRunModifiers'"));
}

// --- material

TEST_F(AwsKmsDataTest, RotationIsEnabledAndListed) {
  const json key = Create();
  const std::string arn = key["Arn"];
  EXPECT_EQ(Ok("GetKeyRotationStatus", {{"KeyId", arn}}),
            (json{{"KeyRotationEnabled", false}, {"KeyId", arn}}));
  EXPECT_EQ(Ok("EnableKeyRotation", {{"KeyId", arn}, {"RotationPeriodInDays", 90}}),
            json::object());
  EXPECT_EQ(Ok("GetKeyRotationStatus", {{"KeyId", arn}}),
            (json{{"KeyRotationEnabled", true},
                  {"KeyId", arn},
                  {"RotationPeriodInDays", 90},
                  {"NextRotationDate", now_ + 90 * 24 * 3600}}));
  EXPECT_EQ(Ok("DisableKeyRotation", {{"KeyId", arn}}), json::object());
  EXPECT_EQ(Ok("RotateKeyOnDemand", {{"KeyId", arn}}), (json{{"KeyId", arn}}));
  const json rotations = Ok("ListKeyRotations", {{"KeyId", arn}});
  const json current = Ok("DescribeKey", {{"KeyId", arn}})["KeyMetadata"]["CurrentKeyMaterialId"];
  EXPECT_NE(current, key["CurrentKeyMaterialId"]);
  EXPECT_EQ(rotations, (json{{"Rotations",
                              {{{"KeyId", key["KeyId"]},
                                {"KeyMaterialId", current},
                                {"KeyMaterialState", "CURRENT"},
                                {"RotationDate", now_},
                                {"RotationType", "ON_DEMAND"}}}},
                             {"Truncated", false}}));
  const json all =
      Ok("ListKeyRotations", {{"KeyId", key["KeyId"]}, {"IncludeKeyMaterial", "ALL_KEY_MATERIAL"}});
  ASSERT_EQ(all["Rotations"].size(), 2u);
  EXPECT_EQ(all["Rotations"][0], (json{{"KeyId", key["KeyId"]},
                                       {"KeyMaterialId", key["CurrentKeyMaterialId"]},
                                       {"KeyMaterialState", "NON_CURRENT"}}));
  EXPECT_THAT(Failure("EnableKeyRotation", {{"KeyId", arn}, {"RotationPeriodInDays", 89}}),
              StartsWith("400 ValidationException: "));
  EXPECT_THAT(Failure("ListKeyRotations", {{"KeyId", arn}, {"IncludeKeyMaterial", "ALL"}}),
              StartsWith("400 ValidationException: "));
}

TEST_F(AwsKmsDataTest, KeyWithoutMaterialAsksForIt) {
  const json key = Create({{"Origin", "EXTERNAL"}});
  EXPECT_EQ(key["KeyState"], "PendingImport");
  EXPECT_EQ(key["Enabled"], false);
  EXPECT_FALSE(key.contains("ExpirationModel"));
  EXPECT_FALSE(key.contains("CurrentKeyMaterialId"));
  const std::string arn = key["Arn"];
  const json parameters = Ok("GetParametersForImport", {{"KeyId", arn},
                                                        {"WrappingAlgorithm", "RSAES_OAEP_SHA_256"},
                                                        {"WrappingKeySpec", "RSA_2048"}});
  EXPECT_EQ(NamesOf(parameters), (Names{"KeyId", "ImportToken", "PublicKey", "ParametersValidTo"}));
  EXPECT_EQ(parameters["ParametersValidTo"], now_ + 24 * 3600);
  json in = {{"KeyId", arn},
             {"ImportToken", parameters["ImportToken"]},
             {"EncryptedKeyMaterial", Base64(std::string(256, 'x'))}};
  EXPECT_EQ(Failure("ImportKeyMaterial", in),
            "400 ValidationException: A validTo date must be set if the ExpirationModel is "
            "KEY_MATERIAL_EXPIRES");
  in["ValidTo"] = "2024-02-01T00:00:00Z";
  EXPECT_EQ(Failure("ImportKeyMaterial", in),
            "400 SerializationException: The member ValidTo must be a number of seconds since "
            "1970.");
  in["ValidTo"] = static_cast<int64_t>(now_) + 3600;
  EXPECT_EQ(Failure("ImportKeyMaterial", in), "400 InvalidCiphertextException");
  in["ImportToken"] = Base64("nonsense");
  EXPECT_THAT(Failure("ImportKeyMaterial", in), StartsWith("400 InvalidImportTokenException"));
  EXPECT_THAT(Failure("DeleteImportedKeyMaterial", {{"KeyId", CreateArn()}}),
              StartsWith("400 UnsupportedOperationException: "));
  EXPECT_EQ(Ok("DeleteImportedKeyMaterial", {{"KeyId", arn}}), (json{{"KeyId", arn}}));
}

}  // namespace
}  // namespace secretfs::mount
