#include "mount/aws_kms_operations.h"

#include "tests/mount/kms_fixture.h"

namespace secretfs::mount {
namespace {

constexpr char kNoSuchKey[] = "01234567-89ab-4def-8123-456789abcdef";

using AwsKmsOperationsTest = AwsKmsTest;

// --- keys

TEST_F(AwsKmsOperationsTest, CreatedKeyIsDescribedAsAwsDoes) {
  const json key = Create({{"Description", "d"}, {"Tags", {{{"TagKey", "k"}, {"TagValue", "v"}}}}});
  const std::string id = key["KeyId"];
  const std::string arn = "arn:aws:kms:local-1:000000000000:key/" + id;
  json expected = {{"AWSAccountId", "000000000000"},
                   {"KeyId", id},
                   {"Arn", arn},
                   {"CreationDate", now_},
                   {"Enabled", true},
                   {"Description", "d"},
                   {"KeyUsage", "ENCRYPT_DECRYPT"},
                   {"KeyState", "Enabled"},
                   {"Origin", "AWS_KMS"},
                   {"KeyManager", "CUSTOMER"},
                   {"KeySpec", "SYMMETRIC_DEFAULT"},
                   {"CustomerMasterKeySpec", "SYMMETRIC_DEFAULT"},
                   {"EncryptionAlgorithms", {"SYMMETRIC_DEFAULT"}},
                   {"MultiRegion", false},
                   {"CurrentKeyMaterialId", key["CurrentKeyMaterialId"]}};
  EXPECT_EQ(key, expected);
  EXPECT_EQ(key["CurrentKeyMaterialId"].get<std::string>().size(), 64u);
  for (const std::string& name : {id, arn}) {
    EXPECT_EQ(Ok("DescribeKey", {{"KeyId", name}}), (json{{"KeyMetadata", key}}));
  }
  EXPECT_EQ(Ok("ListResourceTags", {{"KeyId", id}}),
            (json{{"Tags", {{{"TagKey", "k"}, {"TagValue", "v"}}}}, {"Truncated", false}}));
}

TEST_F(AwsKmsOperationsTest, AlgorithmsStandUnderTheNameOfTheUsage) {
  const json mac = Create({{"KeySpec", "HMAC_256"}, {"KeyUsage", "GENERATE_VERIFY_MAC"}});
  EXPECT_EQ(mac["MacAlgorithms"], json{"HMAC_SHA_256"});
  const json signing = Create({{"KeySpec", "ECC_NIST_P256"}, {"KeyUsage", "SIGN_VERIFY"}});
  EXPECT_EQ(signing["SigningAlgorithms"], json{"ECDSA_SHA_256"});
  const json agreeing = Create({{"KeySpec", "ECC_NIST_P256"}, {"KeyUsage", "KEY_AGREEMENT"}});
  EXPECT_EQ(agreeing["KeyAgreementAlgorithms"], json{"ECDH"});
  for (const json& key : {mac, signing, agreeing}) {
    EXPECT_FALSE(key.contains("EncryptionAlgorithms"));
    EXPECT_FALSE(key.contains("CurrentKeyMaterialId"));
  }
  const json by_old_name =
      Create({{"CustomerMasterKeySpec", "ECC_NIST_P384"}, {"KeyUsage", "SIGN_VERIFY"}});
  EXPECT_EQ(by_old_name["KeySpec"], "ECC_NIST_P384");
  EXPECT_THAT(
      Failure("CreateKey", {{"CustomerMasterKeySpec", "HMAC_256"}, {"KeySpec", "HMAC_256"}}),
      StartsWith("400 ValidationException: You cannot specify KeySpec and "));
}

TEST_F(AwsKmsOperationsTest, KeysAreListedInPages) {
  const size_t before = Ok("ListKeys", json::object())["Keys"].size();
  for (int i = 0; i < 3; ++i) Create();
  json in = {{"Limit", 2}};
  Names ids;
  for (size_t pages = 0; pages <= before + 3; ++pages) {
    const json out = Ok("ListKeys", in);
    for (const json& key : out["Keys"]) {
      EXPECT_EQ(key["KeyArn"],
                "arn:aws:kms:local-1:000000000000:key/" + key["KeyId"].get<std::string>());
      ids.insert(key["KeyId"]);
    }
    EXPECT_EQ(out["Truncated"], out.contains("NextMarker"));
    if (!out.contains("NextMarker")) break;
    in["Marker"] = out["NextMarker"];
  }
  EXPECT_EQ(ids.size(), before + 3);
  EXPECT_THAT(Failure("ListKeys", {{"Marker", "nonsense"}}),
              StartsWith("400 InvalidMarkerException"));
  EXPECT_THAT(Failure("ListKeys", {{"Limit", 1001}}), StartsWith("400 ValidationException: "));
}

TEST_F(AwsKmsOperationsTest, DisabledKeyRefusesByItsName) {
  const std::string arn = CreateArn();
  EXPECT_EQ(Ok("DisableKey", {{"KeyId", arn}}), json::object());
  const json disabled = Ok("DescribeKey", {{"KeyId", arn}})["KeyMetadata"];
  EXPECT_EQ(disabled["KeyState"], "Disabled");
  EXPECT_EQ(disabled["Enabled"], false);
  EXPECT_EQ(Failure("Encrypt", {{"KeyId", arn}, {"Plaintext", Base64("x")}}),
            "400 DisabledException: " + arn + " is disabled.");
  EXPECT_EQ(Ok("EnableKey", {{"KeyId", arn}}), json::object());
  Ok("Encrypt", {{"KeyId", arn}, {"Plaintext", Base64("x")}});
  EXPECT_EQ(Ok("UpdateKeyDescription", {{"KeyId", arn}, {"Description", ""}}), json::object());
  EXPECT_EQ(Ok("DescribeKey", {{"KeyId", arn}})["KeyMetadata"]["Description"], "");
}

TEST_F(AwsKmsOperationsTest, DeletionIsScheduledAndCancelled) {
  const std::string arn = CreateArn();
  const double end = now_ + 7 * 24 * 3600;
  EXPECT_EQ(Ok("ScheduleKeyDeletion", {{"KeyId", arn}, {"PendingWindowInDays", 7}}),
            (json{{"KeyId", arn},
                  {"DeletionDate", end},
                  {"KeyState", "PendingDeletion"},
                  {"PendingWindowInDays", 7}}));
  EXPECT_EQ(Ok("DescribeKey", {{"KeyId", arn}})["KeyMetadata"]["DeletionDate"], end);
  EXPECT_EQ(Failure("EnableKey", {{"KeyId", arn}}),
            "400 KMSInvalidStateException: " + arn + " is pending deletion.");
  EXPECT_EQ(Ok("CancelKeyDeletion", {{"KeyId", arn}}), (json{{"KeyId", arn}}));
  const json key = Ok("DescribeKey", {{"KeyId", arn}})["KeyMetadata"];
  EXPECT_EQ(key["KeyState"], "Disabled");
  EXPECT_FALSE(key.contains("DeletionDate"));
  EXPECT_THAT(Failure("ScheduleKeyDeletion", {{"KeyId", arn}, {"PendingWindowInDays", 6}}),
              StartsWith("400 ValidationException: "));
}

TEST_F(AwsKmsOperationsTest, LastUseIsToldOnceThereIsOne) {
  const std::string arn = CreateArn();
  const json unused = Ok("GetKeyLastUsage", {{"KeyId", arn}});
  EXPECT_EQ(unused, (json{{"KeyId", arn}, {"TrackingStartDate", now_}, {"KeyCreationDate", now_}}));
  Ok("Encrypt", {{"KeyId", arn}, {"Plaintext", Base64("x")}});
  const json used = Ok("GetKeyLastUsage", {{"KeyId", arn}});
  EXPECT_EQ(used["KeyLastUsage"], (json{{"Operation", "Encrypt"}, {"Timestamp", now_}}));
}

// --- tags, policies, aliases

TEST_F(AwsKmsOperationsTest, TagsAreSetAndRemoved) {
  const std::string arn = CreateArn();
  EXPECT_EQ(
      Ok("TagResource",
         {{"KeyId", arn},
          {"Tags", {{{"TagKey", "a"}, {"TagValue", "1"}}, {{"TagKey", "b"}, {"TagValue", ""}}}}}),
      json::object());
  EXPECT_EQ(Ok("ListResourceTags", {{"KeyId", arn}, {"Limit", 1}})["Truncated"], true);
  EXPECT_EQ(Ok("UntagResource", {{"KeyId", arn}, {"TagKeys", {"a", "absent"}}}), json::object());
  EXPECT_EQ(Ok("ListResourceTags", {{"KeyId", arn}})["Tags"],
            (json{{{"TagKey", "b"}, {"TagValue", ""}}}));
  const json twice = {{{"TagKey", "a"}, {"TagValue", "1"}}, {{"TagKey", "a"}, {"TagValue", "2"}}};
  EXPECT_EQ(Failure("TagResource", {{"KeyId", arn}, {"Tags", twice}}),
            "400 TagException: Duplicate tag keys");
  EXPECT_EQ(Failure("CreateKey", {{"Tags", twice}}), "400 TagException: Duplicate tag keys");
  EXPECT_EQ(Failure("TagResource", {{"KeyId", arn}, {"Tags", {{"a", "1"}}}}),
            "400 SerializationException: The member Tags must be a list of tags.");
}

TEST_F(AwsKmsOperationsTest, PolicyIsReadAndReplaced) {
  const std::string arn = CreateArn();
  const json out = Ok("GetKeyPolicy", {{"KeyId", arn}});
  EXPECT_EQ(NamesOf(out), (Names{"Policy", "PolicyName"}));
  EXPECT_EQ(out["PolicyName"], "default");
  json policy = json::parse(out["Policy"].get<std::string>());
  EXPECT_EQ(policy["Statement"][0]["Action"], "kms:*");
  policy["Id"] = "mine";
  EXPECT_EQ(Ok("PutKeyPolicy", {{"KeyId", arn}, {"Policy", policy.dump()}}), json::object());
  EXPECT_EQ(Ok("GetKeyPolicy", {{"KeyId", arn}, {"PolicyName", "default"}})["Policy"],
            policy.dump());
  EXPECT_EQ(Ok("ListKeyPolicies", {{"KeyId", arn}}),
            (json{{"PolicyNames", {"default"}}, {"Truncated", false}}));
  EXPECT_THAT(Failure("PutKeyPolicy", {{"KeyId", arn}, {"Policy", "{"}}),
              StartsWith("400 MalformedPolicyDocumentException: "));
}

TEST_F(AwsKmsOperationsTest, AliasIsMadeMovedListedAndDeleted) {
  const json first = Create();
  const json second = Create();
  EXPECT_EQ(Ok("CreateAlias", {{"AliasName", "alias/mine"}, {"TargetKeyId", first["KeyId"]}}),
            json::object());
  EXPECT_THAT(
      Failure("CreateAlias", {{"AliasName", "alias/mine"}, {"TargetKeyId", first["KeyId"]}}),
      StartsWith("400 AlreadyExistsException: "));
  EXPECT_EQ(Ok("DescribeKey", {{"KeyId", "alias/mine"}})["KeyMetadata"]["Arn"], first["Arn"]);
  parts_.temp.clock.Advance(1500);
  EXPECT_EQ(Ok("UpdateAlias", {{"AliasName", "alias/mine"}, {"TargetKeyId", second["Arn"]}}),
            json::object());
  const json listed = Ok("ListAliases", {{"KeyId", second["KeyId"]}});
  EXPECT_EQ(listed, (json{{"Aliases",
                           {{{"AliasName", "alias/mine"},
                             {"AliasArn", "arn:aws:kms:local-1:000000000000:alias/mine"},
                             {"TargetKeyId", second["KeyId"]},
                             {"CreationDate", now_},
                             {"LastUpdatedDate", now_ + 1.5}}}},
                          {"Truncated", false}}));
  EXPECT_EQ(Ok("DeleteAlias", {{"AliasName", "alias/mine"}}), json::object());
  EXPECT_EQ(Ok("ListAliases", {{"KeyId", second["KeyId"]}})["Aliases"], json::array());
  EXPECT_THAT(Failure("DeleteAlias", {{"AliasName", "alias/mine"}}),
              StartsWith("400 NotFoundException: "));
  EXPECT_THAT(Failure("CreateAlias", {{"AliasName", "mine"}, {"TargetKeyId", first["KeyId"]}}),
              StartsWith("400 ValidationException: Alias must start with the prefix"));
}

// --- grants

TEST_F(AwsKmsOperationsTest, GrantIsMadeListedAndEnded) {
  const std::string arn = CreateArn();
  const std::string grantee = "arn:aws:iam::000000000000:user/uid-54321";
  const json in = {{"KeyId", arn},
                   {"GranteePrincipal", grantee},
                   {"RetiringPrincipal", "arn:aws:iam::000000000000:root"},
                   {"Operations", {"Encrypt", "Decrypt"}},
                   {"Name", "mine"},
                   {"Constraints", {{"EncryptionContextSubset", {{"a", "1"}}}}}};
  const json created = Ok("CreateGrant", in);
  EXPECT_EQ(NamesOf(created), (Names{"GrantToken", "GrantId"}));
  const std::string id = created["GrantId"];
  EXPECT_EQ(id.size(), 64u);
  EXPECT_EQ(Ok("CreateGrant", in)["GrantId"], id);
  const json grant = {{"KeyId", arn},
                      {"GrantId", id},
                      {"Name", "mine"},
                      {"CreationDate", now_},
                      {"GranteePrincipal", grantee},
                      {"RetiringPrincipal", "arn:aws:iam::000000000000:root"},
                      {"IssuingAccount", "arn:aws:iam::000000000000:root"},
                      {"Operations", {"Decrypt", "Encrypt"}},
                      {"Constraints", {{"EncryptionContextSubset", {{"a", "1"}}}}}};
  const json list = {{"Grants", json::array({grant})}, {"Truncated", false}};
  EXPECT_EQ(Ok("ListGrants", {{"KeyId", arn}}), list);
  EXPECT_EQ(Ok("ListRetirableGrants", {{"RetiringPrincipal", "arn:aws:iam::000000000000:root"}}),
            list);
  EXPECT_EQ(Ok("RevokeGrant", {{"KeyId", arn}, {"GrantId", id}}), json::object());
  EXPECT_EQ(Ok("ListGrants", {{"KeyId", arn}})["Grants"], json::array());
  const json again = Ok("CreateGrant", in);
  EXPECT_EQ(Ok("RetireGrant", {{"GrantToken", again["GrantToken"]}}), json::object());
  EXPECT_THAT(Failure("RetireGrant", {{"GrantToken", "nonsense"}}),
              StartsWith("400 InvalidGrantTokenException"));
}

TEST_F(AwsKmsOperationsTest, GrantsAreReadStrictly) {
  const json good = {{"KeyId", CreateArn()},
                     {"GranteePrincipal", "arn:aws:iam::000000000000:root"},
                     {"Operations", {"Encrypt"}}};
  const auto refused = [&](const json& change) {
    json in = good;
    in.update(change);
    return Failure("CreateGrant", in);
  };
  EXPECT_THAT(refused({{"Operations", {"Frobnicate"}}}),
              StartsWith("400 ValidationException: 1 validation error detected: Value "
                         "'Frobnicate' at 'operations'"));
  EXPECT_THAT(refused({{"Operations", nullptr}}),
              StartsWith("400 ValidationException: 1 validation error detected: Value null"));
  EXPECT_EQ(refused({{"Constraints", "x"}}),
            "400 SerializationException: The member Constraints must be an object.");
  EXPECT_EQ(refused({{"Constraints", {{"EncryptionContextEquals", {{"a", 1}}}}}}),
            "400 SerializationException: The member EncryptionContextEquals must be a map of "
            "strings.");
  EXPECT_THAT(refused({{"DryRun", true}}), StartsWith("400 DryRunOperationException: "));
}

// --- what all have in common

TEST_F(AwsKmsOperationsTest, MalformedMembersAreNamed) {
  EXPECT_EQ(Failure("DescribeKey", json::object()),
            "400 ValidationException: 1 validation error detected: Value null at 'keyId' failed "
            "to satisfy constraint: Member must not be null");
  EXPECT_EQ(Failure("DescribeKey", {{"KeyId", 7}}),
            "400 SerializationException: The member KeyId must be a string.");
  EXPECT_EQ(Failure("Encrypt", {{"KeyId", kNoSuchKey}}),
            "400 ValidationException: 1 validation error detected: Value null at 'plaintext' "
            "failed to satisfy constraint: Member must not be null");
  EXPECT_EQ(Failure("Encrypt", {{"KeyId", kNoSuchKey}, {"Plaintext", "hunter2!"}}),
            "400 SerializationException: The member Plaintext is not base64.");
  EXPECT_EQ(Failure("Encrypt", {{"KeyId", kNoSuchKey}, {"Plaintext", 7}}),
            "400 SerializationException: The member Plaintext is not a string.");
  EXPECT_EQ(Failure("Decrypt", {{"CiphertextBlob", "QQ"}}),
            "400 SerializationException: The member CiphertextBlob must be base64.");
  EXPECT_EQ(Failure("Decrypt", {{"CiphertextBlob", "QUE="}, {"EncryptionContext", {"a"}}}),
            "400 SerializationException: The member EncryptionContext must be an object.");
  EXPECT_EQ(Failure("Encrypt", {{"KeyId", kNoSuchKey},
                                {"Plaintext", Base64("x")},
                                {"GrantTokens", json::array_t(11, "x")}}),
            "400 ValidationException: 1 validation error detected: Value at 'grantTokens' failed "
            "to satisfy constraint: Member must have length less than or equal to 10");
  EXPECT_EQ(FailureOf(Send("DescribeKey", "{")),
            "400 SerializationException: The body is not a JSON object.");
  EXPECT_EQ(Failure("Frobnicate", json::object()),
            "400 UnknownOperationException: The operation Frobnicate is not known here.");
}

TEST_F(AwsKmsOperationsTest, ErrorsOfTheServiceKeepTheirNames) {
  const std::string arn = "arn:aws:kms:local-1:000000000000:key/" + std::string(kNoSuchKey);
  EXPECT_EQ(Failure("DescribeKey", {{"KeyId", kNoSuchKey}}),
            "400 NotFoundException: Key '" + arn + "' does not exist");
  EXPECT_THAT(Failure("DescribeKey", {{"KeyId", arn}}, 54321),
              StartsWith("400 AccessDeniedException: User: "
                         "arn:aws:iam::000000000000:user/uid-54321 "));
  EXPECT_THAT(Failure("CreateKey", {{"KeySpec", "RSA_2048"}}),
              StartsWith("400 ValidationException: You must specify a KeyUsage value"));
}

TEST_F(AwsKmsOperationsTest, WhatOneHostDoesNotHaveIsSaidToBeUnsupported) {
  for (const char* operation :
       {"ConnectCustomKeyStore", "CreateCustomKeyStore", "DeleteCustomKeyStore",
        "DescribeCustomKeyStores", "DisconnectCustomKeyStore", "UpdateCustomKeyStore",
        "ReplicateKey", "UpdatePrimaryRegion"}) {
    EXPECT_THAT(Failure(operation, json::object()),
                StartsWith("400 UnsupportedOperationException: " + std::string(operation) + ": "));
  }
  const json recipient = {{"KeyEncryptionAlgorithm", "RSAES_OAEP_SHA_256"}};
  for (const char* operation : {"Decrypt", "GenerateDataKey", "GenerateDataKeyPair",
                                "GenerateRandom", "DeriveSharedSecret"}) {
    EXPECT_EQ(Failure(operation, {{"Recipient", recipient}}),
              "400 UnsupportedOperationException: Recipient: answers for Nitro enclaves are not "
              "supported.");
  }
  for (const json& in : {json{{"XksKeyId", "x"}}, json{{"MultiRegion", true}},
                         json{{"Origin", "AWS_CLOUDHSM"}}, json{{"CustomKeyStoreId", "cks-1"}}}) {
    EXPECT_THAT(Failure("CreateKey", in), StartsWith("400 UnsupportedOperationException: "));
  }
}

TEST_F(AwsKmsOperationsTest, SecretsGoWithTheirKeyOnlyWhenThatIsConfirmed) {
  const std::string arn = CreateArn();
  const auto send = [&](const std::string& operation, const json& in) {
    return parts_.endpoint.Answer({.peer = {getuid(), getgid(), 42},
                                   .id = "11111111-2222-4333-8444-555555555555",
                                   .target = "secretsmanager." + operation,
                                   .content_type = std::string(kAwsJsonType),
                                   .body = crypto::SecretBuffer::CopyOf(AsBytes(in.dump()))});
  };
  EXPECT_EQ(send("CreateSecret", {{"Name", "prod/db"},
                                  {"ClientRequestToken", testing::VersionId("v1")},
                                  {"SecretString", "hunter2"},
                                  {"KmsKeyId", arn}})
                .status,
            200u);
  const auto described = [&] {
    return json::parse(BodyText(send("DescribeSecret", {{"SecretId", "prod/db"}})));
  };
  EXPECT_EQ(described()["KmsKeyId"], arn);
  EXPECT_EQ(json::parse(BodyText(send("ListSecrets", json::object())))["SecretList"][0]["KmsKeyId"],
            arn);
  const std::string refused = Failure("ScheduleKeyDeletion", {{"KeyId", arn}});
  EXPECT_THAT(refused, StartsWith("400 ConflictException: "));
  EXPECT_THAT(refused, ::testing::HasSubstr("prod/db"));
  const json scheduled = Ok("ScheduleKeyDeletion", {{"KeyId", arn}, {"Confirm", true}});
  EXPECT_EQ(scheduled["Secrets"], json{"prod/db"});
  const json failed = json::parse(BodyText(send("GetSecretValue", {{"SecretId", "prod/db"}})));
  EXPECT_EQ(failed["__type"], "DecryptionFailure");
  Ok("CancelKeyDeletion", {{"KeyId", arn}});
  Ok("EnableKey", {{"KeyId", arn}});
  // Back to the default key, which is the one that answers do not name.
  EXPECT_EQ(send("UpdateSecret", {{"SecretId", "prod/db"},
                                  {"ClientRequestToken", testing::VersionId("v2")},
                                  {"KmsKeyId", "alias/aws/secretsmanager"}})
                .status,
            200u);
  EXPECT_FALSE(described().contains("KmsKeyId")) << described();
  Ok("ScheduleKeyDeletion", {{"KeyId", arn}});
  EXPECT_EQ(
      json::parse(BodyText(send("GetSecretValue", {{"SecretId", "prod/db"}})))["SecretString"],
      "hunter2");
}

}  // namespace
}  // namespace secretfs::mount
