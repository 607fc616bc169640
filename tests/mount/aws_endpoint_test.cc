#include "mount/aws_endpoint.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/mount/endpoint_fixture.h"

namespace secretfs::mount {
namespace {

using nlohmann::json;
using testing::VersionId;

class AwsEndpointTest : public ::testing::Test {
 protected:
  HttpAnswer Send(const std::string& target, const std::string& body, uint32_t uid = getuid()) {
    return parts_.endpoint.Answer({.peer = {uid, getgid(), 42},
                                   .id = "11111111-2222-4333-8444-555555555555",
                                   .target = target,
                                   .content_type = std::string(kAwsJsonType),
                                   .body = crypto::SecretBuffer::CopyOf(AsBytes(body))});
  }
  HttpAnswer Call(const std::string& operation, const json& in, uint32_t uid = getuid()) {
    return Send("secretsmanager." + operation, in.dump(), uid);
  }
  json Ok(const std::string& operation, const json& in) {
    const HttpAnswer answer = Call(operation, in);
    EXPECT_EQ(answer.status, 200u) << operation << BodyText(answer);
    EXPECT_EQ(answer.error_type, "");
    return json::parse(BodyText(answer));
  }
  // "<status> <__type>: <Message>"
  static std::string Failure(const HttpAnswer& answer) {
    const json body = json::parse(BodyText(answer));
    const std::string type = body.value("__type", "none");
    EXPECT_EQ(answer.error_type, answer.status == 200 ? "" : type);
    return std::to_string(answer.status) + " " + type + ": " + body.value("Message", "");
  }
  void Create(const std::string& name, const std::string& value, const std::string& version) {
    Ok("CreateSecret",
       {{"Name", name}, {"ClientRequestToken", VersionId(version)}, {"SecretString", value}});
  }

  EndpointParts parts_;
};

TEST_F(AwsEndpointTest, CreateAndGetGiveWhatAwsGives) {
  const json created = Ok("CreateSecret", {{"Name", "prod/db"},
                                           {"ClientRequestToken", VersionId("v1")},
                                           {"SecretString", "hunter2"},
                                           {"Description", "d"},
                                           {"Tags", {{{"Key", "k"}, {"Value", "v"}}}}});
  const std::string arn = created["ARN"];
  EXPECT_TRUE(arn.starts_with("arn:aws:secretsmanager:local-1:000000000000:secret:prod/db-"));
  EXPECT_EQ(created, (json{{"ARN", arn}, {"Name", "prod/db"}, {"VersionId", VersionId("v1")}}));
  const json got = Ok("GetSecretValue", {{"SecretId", arn}});
  EXPECT_EQ(got["SecretString"], "hunter2");
  EXPECT_EQ(got["VersionId"], VersionId("v1"));
  EXPECT_EQ(got["VersionStages"], json{"AWSCURRENT"});
  EXPECT_TRUE(got["CreatedDate"].is_number());
  EXPECT_FALSE(got.contains("SecretBinary"));
}

TEST_F(AwsEndpointTest, ValueTravelsInSecretMemory) {
  Create("a", "hunter2", "v1");
  const HttpAnswer answer = Call("GetSecretValue", {{"SecretId", "a"}});
  EXPECT_TRUE(std::holds_alternative<crypto::SecretBuffer>(answer.body));
}

TEST_F(AwsEndpointTest, BinaryIsBase64) {
  Ok("CreateSecret",
     {{"Name", "b"}, {"ClientRequestToken", VersionId("v1")}, {"SecretBinary", "AP/+"}});
  const json got = Ok("GetSecretValue", {{"SecretId", "b"}});
  EXPECT_EQ(got["SecretBinary"], "AP/+");
  EXPECT_FALSE(got.contains("SecretString"));
}

TEST_F(AwsEndpointTest, LargestValueOfWorstCharactersFits) {
  const std::string value(store::kSecretValueBytesMax, '\x01');
  const json in = {{"Name", "c"}, {"ClientRequestToken", VersionId("v1")}, {"SecretString", value}};
  ASSERT_LE(in.dump().size(), kHttpBodyBytesMax);
  Ok("CreateSecret", in);
  EXPECT_EQ(Ok("GetSecretValue", {{"SecretId", "c"}})["SecretString"], value);
}

TEST_F(AwsEndpointTest, PutMovesLabelsAndUpdateChangesTheDescription) {
  Create("a", "1", "v1");
  const json put = Ok("PutSecretValue", {{"SecretId", "a"},
                                         {"ClientRequestToken", VersionId("v2")},
                                         {"SecretString", "2"},
                                         {"VersionStages", {"AWSPENDING", "mine"}}});
  EXPECT_EQ(put["VersionStages"], (json{"AWSPENDING", "mine"}));
  const json updated =
      Ok("UpdateSecret",
         {{"SecretId", "a"}, {"ClientRequestToken", VersionId("v3")}, {"Description", "new"}});
  EXPECT_FALSE(updated.contains("VersionId"));
  Ok("UpdateSecretVersionStage", {{"SecretId", "a"},
                                  {"VersionStage", "AWSCURRENT"},
                                  {"RemoveFromVersionId", VersionId("v1")},
                                  {"MoveToVersionId", VersionId("v2")}});
  const json described = Ok("DescribeSecret", {{"SecretId", "a"}});
  EXPECT_EQ(described["Description"], "new");
  EXPECT_EQ(described["VersionIdsToStages"][VersionId("v1")], json{"AWSPREVIOUS"});
  EXPECT_EQ(described["VersionIdsToStages"][VersionId("v2")],
            (json{"AWSCURRENT", "AWSPENDING", "mine"}));
}

TEST_F(AwsEndpointTest, CompareAndSwapComparesTheCurrentVersion) {
  Create("a", "1", "v1");
  const auto put = [&](const std::string& token, const std::string& if_version) {
    return Failure(Call("PutSecretValue", {{"SecretId", "a"},
                                           {"ClientRequestToken", VersionId(token)},
                                           {"SecretString", token},
                                           {"IfVersionId", if_version}}));
  };
  EXPECT_TRUE(put("v2", VersionId("v1")).starts_with("200"));
  EXPECT_TRUE(put("v3", VersionId("v1")).starts_with("400 PreconditionNotMetException: "));
  EXPECT_TRUE(put("v3", "").starts_with("400 PreconditionNotMetException: "));
  EXPECT_EQ(Ok("GetSecretValue", {{"SecretId", "a"}})["SecretString"], "v2");
}

TEST_F(AwsEndpointTest, ListFiltersByPrefixAndPages) {
  for (const char* name : {"prod/a", "prod/b", "test/a"}) Create(name, "x", "v1");
  json in = {{"Filters", {{{"Key", "name"}, {"Values", {"prod/"}}}}}, {"MaxResults", 1}};
  std::vector<std::string> names;
  for (int page = 0; page < 4; ++page) {
    const json out = Ok("ListSecrets", in);
    for (const json& secret : out["SecretList"]) names.push_back(secret["Name"]);
    if (!out.contains("NextToken")) break;
    in["NextToken"] = out["NextToken"];
  }
  EXPECT_EQ(names, (std::vector<std::string>{"prod/a", "prod/b"}));
  in["NextToken"] = "nonsense";
  EXPECT_TRUE(Failure(Call("ListSecrets", in)).starts_with("400 InvalidNextTokenException: "));
}

TEST_F(AwsEndpointTest, ListRefusesWhatItWouldHaveToIgnore) {
  const auto refused = [&](const json& in) {
    return Failure(Call("ListSecrets", in)).starts_with("400 InvalidParameterException: ");
  };
  EXPECT_TRUE(refused({{"Filters", {{{"Key", "tag-key"}, {"Values", {"x"}}}}}}));
  EXPECT_TRUE(refused({{"Filters", {{{"Key", "name"}, {"Values", {"!x"}}}}}}));
  EXPECT_TRUE(refused({{"Filters", {{{"Key", "name"}, {"Values", {"x", "y"}}}}}}));
  EXPECT_TRUE(refused({{"Filters", "name"}}));
  EXPECT_TRUE(refused({{"SortOrder", "desc"}}));
  EXPECT_TRUE(refused({{"SortBy", "name"}}));
}

TEST_F(AwsEndpointTest, VersionsComeInPages) {
  Create("a", "1", "v1");
  for (const char* token : {"v2", "v3", "v4"}) {
    Ok("PutSecretValue",
       {{"SecretId", "a"}, {"ClientRequestToken", VersionId(token)}, {"SecretString", token}});
  }
  EXPECT_EQ(Ok("ListSecretVersionIds", {{"SecretId", "a"}})["Versions"].size(), 2u);
  json in = {{"SecretId", "a"}, {"IncludeDeprecated", true}, {"MaxResults", 3}};
  const json first = Ok("ListSecretVersionIds", in);
  EXPECT_EQ(first["Versions"].size(), 3u);
  in["NextToken"] = first["NextToken"];
  const json second = Ok("ListSecretVersionIds", in);
  ASSERT_EQ(second["Versions"].size(), 1u);
  EXPECT_EQ(second["Versions"][0]["VersionId"], VersionId("v4"));
  EXPECT_FALSE(second.contains("NextToken"));
  in["NextToken"] = "nonsense";
  EXPECT_TRUE(
      Failure(Call("ListSecretVersionIds", in)).starts_with("400 InvalidNextTokenException: "));
  in["MaxResults"] = 101;
  EXPECT_TRUE(Failure(Call("ListSecretVersionIds", in)).starts_with("400 ValidationException: "));
}

TEST_F(AwsEndpointTest, DeleteRestoreAndTags) {
  Create("a", "1", "v1");
  const json deleted = Ok("DeleteSecret", {{"SecretId", "a"}, {"RecoveryWindowInDays", 7}});
  EXPECT_NEAR(deleted["DeletionDate"].get<double>(),
              static_cast<double>(parts_.temp.clock.NowMs() + 7 * kMsPerDay) / 1000, 0.01);
  EXPECT_EQ(Failure(Call("GetSecretValue", {{"SecretId", "a"}})),
            "400 InvalidRequestException: You can't perform this operation on the secret because "
            "it was marked for deletion.");
  EXPECT_EQ(Ok("ListSecrets", json::object())["SecretList"].size(), 0u);
  EXPECT_EQ(Ok("ListSecrets", {{"IncludePlannedDeletion", true}})["SecretList"].size(), 1u);
  Ok("RestoreSecret", {{"SecretId", "a"}});
  EXPECT_EQ(Ok("TagResource", {{"SecretId", "a"}, {"Tags", {{{"Key", "k"}, {"Value", "v"}}}}}),
            json::object());
  EXPECT_EQ(Ok("DescribeSecret", {{"SecretId", "a"}})["Tags"][0]["Key"], "k");
  Ok("UntagResource", {{"SecretId", "a"}, {"TagKeys", {"k"}}});
  EXPECT_EQ(Ok("DescribeSecret", {{"SecretId", "a"}})["Tags"], json::array());
}

TEST_F(AwsEndpointTest, RefusesMembersThatNothingHereCanHonour) {
  const json base = {{"Name", "a"}, {"ClientRequestToken", VersionId("v1")}, {"SecretString", "x"}};
  for (const json& extra :
       {json{{"KmsKeyId", "alias/mine"}}, json{{"AddReplicaRegions", {{{"Region", "x"}}}}},
        json{{"Type", "partner"}}, json{{"SecretBinary", "AA=="}}}) {
    json in = base;
    in.update(extra);
    EXPECT_TRUE(Failure(Call("CreateSecret", in)).starts_with("400 InvalidParameterException: "))
        << extra;
  }
  json in = base;
  in["KmsKeyId"] = "alias/aws/secretsmanager";
  Ok("CreateSecret", in);
}

TEST_F(AwsEndpointTest, MalformedRequestsGetTheNamesThatAwsGives) {
  EXPECT_EQ(Failure(Send("secretsmanager.Frobnicate", "{}")),
            "400 UnknownOperationException: The operation secretsmanager.Frobnicate is not known "
            "here.");
  EXPECT_TRUE(Failure(Send("", "{}")).starts_with("400 UnknownOperationException: "));
  EXPECT_TRUE(Failure(Send("secretsmanager.GetSecretValue", "{"))
                  .starts_with("400 SerializationException: "));
  EXPECT_EQ(Failure(Call("GetSecretValue", {{"SecretId", 7}})),
            "400 SerializationException: The member SecretId must be a string.");
  EXPECT_EQ(Failure(Call("GetSecretValue", json::object())),
            "400 ValidationException: 1 validation error detected: Value null at 'secretId' failed "
            "to satisfy constraint: Member must not be null");
  EXPECT_EQ(Failure(Call("UntagResource", {{"SecretId", "a"}})),
            "400 ValidationException: 1 validation error detected: Value null at 'tagKeys' failed "
            "to satisfy constraint: Member must not be null");
  EXPECT_EQ(Failure(Call("GetSecretValue", {{"SecretId", std::string(2049, 'x')}})),
            "400 ValidationException: 1 validation error detected: Value at 'secretId' failed to "
            "satisfy constraint: Member must have length less than or equal to 2048");
  HttpRequest plain{.peer = {getuid(), getgid(), 1},
                    .id = "x",
                    .target = "secretsmanager.ListSecrets",
                    .content_type = "text/plain",
                    .body = crypto::SecretBuffer::CopyOf(AsBytes("{}"))};
  EXPECT_TRUE(Failure(parts_.endpoint.Answer(std::move(plain)))
                  .starts_with("400 SerializationException: "));
}

TEST_F(AwsEndpointTest, ServiceErrorsGoThroughAsTheyAre) {
  EXPECT_EQ(Failure(Call("GetSecretValue", {{"SecretId", "nosuch"}})),
            "400 ResourceNotFoundException: Secrets Manager can't find the specified secret.");
  EXPECT_EQ(Failure(Call("PutSecretValue",
                         {{"SecretId", "nosuch"}, {"ClientRequestToken", VersionId("v1")}}))
                .substr(0, 29),
            "400 ResourceNotFoundException");
  EXPECT_EQ(Failure(Call("CreateSecret", {{"Name", "a"}, {"SecretString", "x"}})),
            "400 InvalidRequestException: You must provide a ClientRequestToken value. We "
            "recommend a UUID-type value.");
}

TEST_F(AwsEndpointTest, CallerIsWhoTheKernelSays) {
  Create("a", "hunter2", "v1");
  const HttpAnswer answer = Call("GetSecretValue", {{"SecretId", "a"}}, 54321);
  EXPECT_TRUE(
      Failure(answer).starts_with("400 AccessDeniedException: User: "
                                  "arn:aws:iam::000000000000:user/uid-54321 "))
      << BodyText(answer);
  const HttpAnswer unknown = Call("GetSecretValue", {{"SecretId", "a"}}, UINT32_MAX);
  EXPECT_TRUE(Failure(unknown).starts_with("400 AccessDeniedException: "));
}

TEST_F(AwsEndpointTest, AuditEventsArePagedAndCarryTheRequest) {
  Create("a", "1", "v1");
  Call("GetSecretValue", {{"SecretId", "a"}}, 54321);
  const auto events = [&](const json& in) {
    return json::parse(BodyText(Send("secretfs.ListAuditEvents", in.dump())))["Events"];
  };
  const json newest = events({{"MaxResults", 2}});
  ASSERT_EQ(newest.size(), 2u);
  EXPECT_EQ(newest[0]["errorCode"], "AccessDeniedException");
  EXPECT_EQ(newest[0]["requestID"], "11111111-2222-4333-8444-555555555555");
  EXPECT_EQ(newest[0]["additionalEventData"]["pid"], 42);
  EXPECT_EQ(newest[0]["additionalEventData"]["uid"], 54321);
  const json second = events({{"MaxResults", 1}, {"AfterSequence", 1}});
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(second[0]["additionalEventData"]["sequence"], 2);
  EXPECT_TRUE(Failure(Send("secretfs.ListAuditEvents", R"({"MaxResults":0})"))
                  .starts_with("400 ValidationException: "));
  EXPECT_TRUE(Failure(Send("secretfs.ListAuditEvents", "{}", 54321))
                  .starts_with("400 AccessDeniedException: "));
}

TEST_F(AwsEndpointTest, VerifyAuditCountsTheChain) {
  Create("a", "1", "v1");
  const json verdict = json::parse(BodyText(Send("secretfs.VerifyAudit", "{}")));
  EXPECT_EQ(verdict["Intact"], true);
  EXPECT_EQ(verdict["Events"], 2);
  EXPECT_EQ(verdict["HeadHash"].get<std::string>().size(), 64u);
}

TEST_F(AwsEndpointTest, StatusIsForEverybodyAndNamesNoSecret) {
  Create("prod/db", "1", "v1");
  const std::string text = BodyText(Send("secretfs.Status", "{}", 54321));
  const json status = json::parse(text);
  EXPECT_EQ(status["secrets"], 1);
  EXPECT_EQ(status["mountpoint"], "/mnt/secrets");
  EXPECT_EQ(status["pid"], getpid());
  EXPECT_EQ(status["audit"]["problem"], "");
  EXPECT_EQ(text.find("prod"), std::string::npos);
}

TEST_F(AwsEndpointTest, StatusIsBuiltAtMostOnceSecond) {
  Create("a", "1", "v1");
  const std::string first = parts_.status.Text();
  Create("b", "1", "v1");
  EXPECT_EQ(parts_.status.Text(), first);
  parts_.temp.clock.Advance(1000);
  EXPECT_EQ(json::parse(parts_.status.Text())["secrets"], 2);
}

}  // namespace
}  // namespace secretfs::mount
