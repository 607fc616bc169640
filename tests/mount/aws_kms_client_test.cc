#include "mount/aws_kms_client.h"

#include <gtest/gtest.h>

namespace secretfs::mount {
namespace {

std::string TextOf(const crypto::SecretBuffer& buffer) {
  return std::string(AsText(buffer.Reveal()));
}

TEST(KmsRequestTest, MembersAreInOrderAndWhatIsEmptyIsLeftOut) {
  KmsRequest constraints("");
  constraints.Map("EncryptionContextEquals", {{"a", "1"}, {"b", "\"2\""}});
  KmsRequest request("CreateGrant");
  request.Text("KeyId", "alias/web")
      .Text("Name", "")
      .TextOrEmpty("Description", "")
      .Number("Limit", 7)
      .Number("Days", std::nullopt)
      .Flag("DryRun", true)
      .Flag("Confirm", false)
      .Texts("Operations", {"Decrypt", "Sign"})
      .Texts("GrantTokens", {})
      .Object("Constraints", constraints)
      .Tags("Tags", {{"team", "web"}, {"x", ""}})
      .Blob("Plaintext", AsBytes("hunter2"));
  EXPECT_EQ(TextOf(request.Body().value()),
            R"({"KeyId":"alias/web","Description":"","Limit":7,"DryRun":true,)"
            R"("Operations":["Decrypt","Sign"],)"
            R"("Constraints":{"EncryptionContextEquals":{"a":"1","b":"\"2\""}},)"
            R"("Tags":[{"TagKey":"team","TagValue":"web"},{"TagKey":"x","TagValue":""}],)"
            R"("Plaintext":"aHVudGVyMg=="})");
  EXPECT_EQ(request.operation(), "CreateGrant");
}

TEST(KmsRequestTest, APageBeginsAtItsMarker) {
  EXPECT_EQ(TextOf(KmsRequest("ListKeys").Body("m").value()), R"({"Marker":"m"})");
  EXPECT_EQ(TextOf(KmsRequest("ListGrants").Text("KeyId", "k").Body("m").value()),
            R"({"KeyId":"k","Marker":"m"})");
  EXPECT_EQ(TextOf(KmsRequest("ListKeys").Body().value()), "{}");
}

TEST(KmsRequestTest, WhatIsNoUtf8IsRefused) {
  EXPECT_EQ(KmsRequest("DescribeKey").Text("KeyId", "\xFF").Body().error().code,
            Code::kInvalidArgument);
  KmsRequest inner("");
  inner.Text("a", "\xC3");
  EXPECT_FALSE(KmsRequest("CreateGrant").Object("Constraints", inner).Body());
}

TEST(KmsKeyReferenceTest, ABareWordIsAnAlias) {
  const std::string uuid = "01234567-89ab-cdef-0123-456789ABCDEF";
  EXPECT_EQ(KmsKeyReference("web"), "alias/web");
  EXPECT_EQ(KmsKeyReference("prod/web"), "alias/prod/web");
  EXPECT_EQ(KmsKeyReference("alias/web"), "alias/web");
  EXPECT_EQ(KmsKeyReference("arn:aws:kms:r:0:alias/web"), "arn:aws:kms:r:0:alias/web");
  EXPECT_EQ(KmsKeyReference(uuid), uuid);
  EXPECT_EQ(KmsKeyReference(uuid.substr(1)), "alias/" + uuid.substr(1));
  EXPECT_EQ(KmsKeyReference(""), "");
}

AwsAnswer Answer(std::string_view text) {
  return crypto::SecretBuffer::CopyOf(AsBytes(text));
}

TEST(KmsAnswerTest, BlobsAndTextsAreReadBesidePlaintexts) {
  const AwsAnswer answer = Answer(R"({"KeyId":"k","Plaintext":"aHVudGVyMg=="})");
  EXPECT_EQ(TextOf(ParseBlob(answer, "Plaintext").value()), "hunter2");
  EXPECT_EQ(ParseTextMember(answer, "KeyId").value(), "k");
  EXPECT_EQ(ParseBlob(answer, "Mac").error().code, Code::kInternal);
  EXPECT_EQ(ParseBlob(answer, "KeyId").error().code, Code::kInternal);
}

TEST(KmsAnswerTest, MetadataNamesTheAlgorithmsOfTheUsage) {
  const auto key = ParseKeyMetadata(
      Answer(R"({"KeyMetadata":{"KeyId":"k","KeyState":"PendingDeletion","DeletionDate":1.5,)"
             R"("SigningAlgorithms":["A","B"],"CreationDate":0.25}})"));
  ASSERT_TRUE(key);
  EXPECT_EQ(key->state, "PendingDeletion");
  EXPECT_EQ(key->deletion_at, 1500);
  EXPECT_EQ(key->created_at, 250);
  EXPECT_EQ(key->valid_to, std::nullopt);
  EXPECT_EQ(key->algorithms, (std::vector<std::string>{"A", "B"}));
  EXPECT_FALSE(ParseKeyMetadata(Answer(R"({"KeyMetadata":7})")));
  EXPECT_FALSE(ParseAliases(Answer(R"({"Keys":[]})")));
}

}  // namespace
}  // namespace secretfs::mount
