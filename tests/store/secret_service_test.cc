#include "store/secret_service.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "tests/store/service_fixture.h"

namespace secretfs::store {
namespace {

using testing::Text;
using testing::TextValue;
using testing::VersionId;

TEST_F(SecretServiceTest, ValuesSurviveAReopen) {
  ASSERT_TRUE(Create("prod/db", "v1", "one"));
  ASSERT_TRUE(Put("prod/db", "v2", "two"));
  Reopen();
  EXPECT_EQ(Get("prod/db"), "two");
  EXPECT_EQ(Get("prod/db", {{}, "AWSPREVIOUS"}), "one");
  EXPECT_EQ(Get("prod/db", {VersionId("v1"), {}}), "one");
  EXPECT_EQ(Get("prod/db", {VersionId("v1"), "AWSCURRENT"}),
            "error: You provided a VersionStage that is not associated to the provided VersionId.");
}

TEST_F(SecretServiceTest, MissingThingsAreNamedAsAwsNamesThem) {
  EXPECT_EQ(Get("none"), "error: Secrets Manager can't find the specified secret.");
  ASSERT_TRUE(Create("x", "v1", "one"));
  EXPECT_EQ(
      Get("x", {{}, "AWSPENDING"}),
      "error: Secrets Manager can't find the specified secret value for staging label: AWSPENDING");
  EXPECT_EQ(Get("x", {VersionId("v9"), {}}),
            "error: Secrets Manager can't find the specified secret value for VersionId: " +
                VersionId("v9"));
}

TEST_F(SecretServiceTest, ASecretWithoutValueHasNoVersion) {
  CreateRequest request;
  request.name = "empty";
  request.client_request_token = VersionId("v0");
  auto created = service_->CreateSecret(store_.caller, std::move(request));
  ASSERT_TRUE(created);
  EXPECT_EQ(created->version_id, "");
  EXPECT_EQ(
      Get("empty"),
      "error: Secrets Manager can't find the specified secret value for staging label: AWSCURRENT");
  ASSERT_TRUE(Put("empty", "v1", "now", {"foo"}));
  EXPECT_EQ(Get("empty"), "now");
}

TEST_F(SecretServiceTest, TokensMakeWritesIdempotent) {
  auto first = Create("x", "v1", "one");
  auto again = Create("x", "v1", "one");
  ASSERT_TRUE(again);
  EXPECT_EQ(again->secret.arn, first->secret.arn);
  EXPECT_EQ(Create("x", "v1", "other").error().code, Code::kAlreadyExists);
  EXPECT_EQ(Create("x", "v2", "one").error().message,
            "The operation failed because the secret x already exists.");
  ASSERT_TRUE(Put("x", "v2", "two"));
  ASSERT_TRUE(Put("x", "v3", "three"));
  // A late retry must not move AWSCURRENT back in time.
  auto late = Put("x", "v2", "two");
  ASSERT_TRUE(late);
  EXPECT_EQ(late->version_stages, std::vector<std::string>{"AWSPREVIOUS"});
  EXPECT_EQ(Get("x"), "three");
  EXPECT_EQ(Put("x", "v2", "changed").error().message,
            "You can't use ClientRequestToken " + VersionId("v2") +
                " because that value is already in use for a version of secret " +
                first->secret.arn + ".");
}

TEST_F(SecretServiceTest, StringAndBinaryOfEqualBytesAreNotTheSameValue) {
  ASSERT_TRUE(Create("x", "v1", "one"));
  PutRequest request;
  request.secret_id = "x";
  request.client_request_token = VersionId("v1");
  request.value = {ValueKind::kBinary, crypto::SecretBuffer::CopyOf(AsBytes("one"))};
  EXPECT_EQ(service_->PutSecretValue(store_.caller, std::move(request)).error().code,
            Code::kAlreadyExists);
}

TEST_F(SecretServiceTest, ValuesOfEverySizeWithinBoundsRoundTrip) {
  ASSERT_TRUE(Create("x", "v0", "x"));
  int n = 1;
  for (size_t size :
       {size_t{1}, size_t{15}, size_t{16}, size_t{4096}, size_t{65535}, size_t{65536}}) {
    std::string value(size, 'v');
    ASSERT_TRUE(Put("x", "w" + std::to_string(n++), value)) << size;
    EXPECT_EQ(Get("x"), value);
  }
  EXPECT_EQ(Put("x", "too", std::string(65537, 'v')).error().code, Code::kValidation);
  EXPECT_EQ(Put("x", "empty", "").error().code, Code::kFailedPrecondition);
  EXPECT_EQ(Put("x", "utf", "\xff").error().code, Code::kInvalidArgument);
  EXPECT_EQ(Get("x"), std::string(65536, 'v'));
}

// Each thread reads into memory that it uses again.
TEST_F(SecretServiceTest, ValuesOfDifferentSizesAreReadInTurn) {
  const std::string large(65536, 'l');
  ASSERT_TRUE(Create("large", "v1", large));
  ASSERT_TRUE(Create("small", "v1", "s"));
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(Get("large"), large);
    EXPECT_EQ(Get("small"), "s");
  }
}

TEST_F(SecretServiceTest, CompareAndSwapRefusesALostRace) {
  ASSERT_TRUE(Create("x", "v1", "one"));
  ASSERT_TRUE(Put("x", "v2", "two", {}, VersionId("v1")));
  EXPECT_EQ(Put("x", "v3", "three", {}, VersionId("v1")).error().code, Code::kConflict);
  EXPECT_EQ(Get("x"), "two");
}

TEST_F(SecretServiceTest, DeletionWaitsForItsWindowAndCanBeUndone) {
  ASSERT_TRUE(Create("x", "v1", "one"));
  auto deleted = Delete("x", false, 7);
  ASSERT_TRUE(deleted);
  EXPECT_EQ(deleted->deletion_at, store_.clock.NowMs() + 7 * kMsPerDay);
  EXPECT_EQ(
      Get("x"),
      "error: You can't perform this operation on the secret because it was marked for deletion.");
  EXPECT_EQ(Create("x", "v2", "two").error().message,
            "You can't create this secret because a secret with this name is already scheduled for "
            "deletion.");
  EXPECT_EQ(Delete("x", false).error().code, Code::kFailedPrecondition);
  EXPECT_EQ(service_->PeekSecret(PathOf("x")).value(), nullptr);
  ASSERT_TRUE(service_->RestoreSecret(store_.caller, "x", ""));
  EXPECT_EQ(Get("x"), "one");

  ASSERT_TRUE(Delete("x", false, 7));
  store_.clock.Advance(7 * kMsPerDay - 1);
  EXPECT_EQ(service_->PurgeExpired().value(), 0u);
  store_.clock.Advance(1);
  EXPECT_EQ(service_->PurgeExpired().value(), 1u);
  EXPECT_EQ(Get("x"), "error: Secrets Manager can't find the specified secret.");
  EXPECT_EQ(Events().back().action, Action::kReadAuditTrail);
}

TEST_F(SecretServiceTest, DeletionArgumentsAreChecked) {
  ASSERT_TRUE(Create("x", "v1", "one"));
  EXPECT_EQ(Delete("x", false, 6).error().code, Code::kInvalidArgument);
  EXPECT_EQ(Delete("x", false, 31).error().code, Code::kInvalidArgument);
  EXPECT_EQ(Delete("x", true, 7).error().code, Code::kInvalidArgument);
  EXPECT_EQ(Delete("none", false).error().code, Code::kNotFound);
  EXPECT_TRUE(Delete("none", true));
}

TEST_F(SecretServiceTest, AReusedNameGetsANewArnAndTheOldOneResolvesToNothing) {
  auto first = Create("x", "v1", "one");
  ASSERT_TRUE(Delete("x", true));
  auto second = Create("x", "v2", "two");
  ASSERT_TRUE(second);
  EXPECT_NE(first->secret.arn, second->secret.arn);
  EXPECT_EQ(Get(second->secret.arn), "two");
  EXPECT_EQ(Get(first->secret.arn), "error: Secrets Manager can't find the specified secret.");
}

TEST_F(SecretServiceTest, StrangersGetNothingAndTheirAttemptsAreRecorded) {
  ASSERT_TRUE(Create("x", "v1", "one"));
  Principal stranger{"arn:aws:iam::000000000000:user/stranger", 12345, 12345};
  if (getuid() == 12345) stranger.uid = 12346;
  Caller caller{stranger, Door::kMount, 99};
  EXPECT_EQ(service_->GetSecretValue(caller, "x", {}, "").error().code, Code::kPermissionDenied);
  EXPECT_EQ(service_->GetSecretValue(caller, "none", {}, "").error().code, Code::kPermissionDenied);
  EXPECT_EQ(service_->ListSecrets(caller, {}).error().code, Code::kPermissionDenied);
  EXPECT_EQ(service_->DeleteSecret(caller, {"x", {}, true, ""}).error().code,
            Code::kPermissionDenied);
  SecretPtr secret = service_->PeekSecret(PathOf("x")).value();
  EXPECT_FALSE(service_->May(stranger, Action::kGetSecretValue, *secret));
  EXPECT_EQ(service_->OpenValue(caller, *secret, secret->versions[0], "").error().code,
            Code::kPermissionDenied);
  EXPECT_EQ(service_->ReadValue(caller, secret->versions[0].number, {}).error().code,
            Code::kPermissionDenied);
  size_t denials = 0;
  for (const AuditEvent& event : Events()) {
    if (event.uid == stranger.uid) {
      EXPECT_EQ(event.error_code, "AccessDeniedException");
      ++denials;
    }
  }
  EXPECT_EQ(denials, 6u);
  EXPECT_EQ(Get("x"), "one");
}

TEST_F(SecretServiceTest, EveryAttemptIsOneEventAndNoneHoldsAValue) {
  ASSERT_TRUE(Create("x", "v1", "top-secret-value"));
  ASSERT_TRUE(Put("x", "v2", "second-secret-value"));
  Get("x");
  Get("x", {{}, "nope"});
  std::vector<AuditEvent> events = Events();
  ASSERT_EQ(events.size(), 5u);  // With the reading of the trail itself.
  EXPECT_EQ(events[0].action, Action::kCreateSecret);
  EXPECT_EQ(events[1].version_id, VersionId("v2"));
  EXPECT_EQ(events[2].action, Action::kGetSecretValue);
  EXPECT_EQ(events[2].error_code, "");
  EXPECT_EQ(events[3].error_code, "ResourceNotFoundException");
  for (const AuditEvent& event : events) {
    EXPECT_EQ(std::string(AsText(EncodeAuditEvent(ViewOf(event)))).find("secret-value"),
              std::string::npos);
  }
}

TEST_F(SecretServiceTest, TheMountSeesNamesAsATreeAndKeysAsFiles) {
  ASSERT_TRUE(Create("prod", "v1", "plain"));
  ASSERT_TRUE(Create("prod/db", "v1", R"({"user":"app","password":"s3cr3t","n":1})"));
  PathId prod = *service_->PeekChild(kRootPath, "prod").value();
  PathId db = *service_->PeekChild(prod, "db").value();
  EXPECT_EQ(db, PathOf("prod/db"));
  SecretPtr secret = service_->PeekSecret(db).value();
  const Version* version = secret->FindVersionByLabel(kCurrent);
  ASSERT_TRUE(version->has_keys);
  KeySlot slot = *service_->PeekKeySlot("password").value();
  EXPECT_EQ(service_->PeekKeySize(version->number, slot).value(), 6u);
  EXPECT_EQ(Text(*service_->ReadValue(store_.caller, version->number, {slot})), "s3cr3t");
  EXPECT_EQ(service_->ListKeys(version->number)->size(), 3u);
  EXPECT_EQ(service_->PeekVersionPath(version->number).value(), db);
}

TEST_F(SecretServiceTest, EmptyDirectoriesGoWithTheirLastSecret) {
  ASSERT_TRUE(Create("a/b/c", "v1", "x"));
  ASSERT_TRUE(Create("a/d", "v1", "x"));
  PathId a = *service_->PeekChild(kRootPath, "a").value();
  ASSERT_TRUE(Delete("a/b/c", true));
  EXPECT_FALSE(service_->PeekChild(a, "b").value());
  EXPECT_TRUE(service_->PeekPathExists(a).value());
  ASSERT_TRUE(Delete("a/d", true));
  EXPECT_FALSE(service_->PeekPathExists(a).value());
}

TEST_F(SecretServiceTest, PathIdsStayWhenOthersComeAndGo) {
  ASSERT_TRUE(Create("a/keep", "v1", "x"));
  PathId before = PathOf("a/keep");
  for (int i = 0; i < 20; ++i) {
    std::string name = "a/other" + std::to_string(i % 5);
    ASSERT_TRUE(Create(name, "v1", "x"));
    ASSERT_TRUE(Delete(name, true));
    ASSERT_EQ(PathOf("a/keep"), before);
  }
}

TEST_F(SecretServiceTest, ListingPagesThroughEverySecretOnce) {
  for (int i = 0; i < 25; ++i) ASSERT_TRUE(Create("s" + std::to_string(i), "v1", "x"));
  ASSERT_TRUE(Create("t/other", "v1", "x"));
  ListRequest request;
  request.name_prefix = "s";
  request.max_results = 10;
  std::map<std::string, int> seen;
  for (;;) {
    auto page = service_->ListSecrets(store_.caller, request);
    ASSERT_TRUE(page) << page.error().message;
    for (const SecretPtr& secret : page->secrets) ++seen[secret->name];
    if (page->next_token.empty()) break;
    request.next_token = page->next_token;
  }
  EXPECT_EQ(seen.size(), 25u);
  EXPECT_TRUE(std::ranges::all_of(seen, [](const auto& entry) { return entry.second == 1; }));
  request.name_prefix = "other-query";
  request.next_token = "00000000000000010000000000000000";
  EXPECT_EQ(service_->ListSecrets(store_.caller, request).error().code, Code::kInvalidArgument);
}

TEST_F(SecretServiceTest, TagsKeepTheDifferenceBetweenNoneAndNoLonger) {
  ASSERT_TRUE(Create("x", "v1", "one"));
  EXPECT_FALSE(service_->DescribeSecret(store_.caller, "x", "").value()->ever_tagged);
  ASSERT_TRUE(service_->TagResource(store_.caller, {"x", {{"team", "core"}}, {}, ""}));
  ASSERT_TRUE(service_->UntagResource(store_.caller, {"x", {}, {"team", "missing"}, ""}));
  SecretPtr secret = service_->DescribeSecret(store_.caller, "x", "").value();
  EXPECT_TRUE(secret->ever_tagged);
  EXPECT_TRUE(secret->tags.empty());
  EXPECT_EQ(service_->TagResource(store_.caller, {"x", {{"aws:x", ""}}, {}, ""}).error().code,
            Code::kInvalidArgument);
}

TEST_F(SecretServiceTest, ChangesAreFedInOrder) {
  ASSERT_TRUE(Create("x", "v1", "one"));
  ASSERT_TRUE(Put("x", "v2", "two"));
  ASSERT_TRUE(Delete("x", true));
  auto changes = service_->ChangesSince(0, 10).value();
  ASSERT_EQ(changes.size(), 3u);
  EXPECT_EQ(changes[0].kind, ChangeKind::kCreated);
  EXPECT_EQ(changes[1].kind, ChangeKind::kLabelsMoved);
  EXPECT_EQ(changes[2].kind, ChangeKind::kRemoved);
  EXPECT_EQ(service_->ChangesSince(changes[1].sequence, 10)->size(), 1u);
}

TEST_F(SecretServiceTest, CustomLabelsKeepTheirSelectorWhenTheyComeAgain) {
  ASSERT_TRUE(Create("x", "v1", "one"));
  ASSERT_TRUE(Put("x", "v2", "two", {"blue"}));
  auto selector = [&] {
    const Label* label = service_->PeekSecret(PathOf("x")).value()->FindLabel("blue");
    return label == nullptr ? 0 : label->selector;
  };
  SelectorId first = selector();
  ASSERT_NE(first, 0u);
  EXPECT_EQ(service_->PeekLabel(first).value()->text, "blue");
  ASSERT_TRUE(
      service_->UpdateSecretVersionStage(store_.caller, {"x", "blue", VersionId("v2"), {}, ""}));
  EXPECT_EQ(selector(), 0u);
  ASSERT_TRUE(
      service_->UpdateSecretVersionStage(store_.caller, {"x", "blue", {}, VersionId("v1"), ""}));
  EXPECT_EQ(selector(), first);
}

TEST_F(SecretServiceTest, ARemovedVersionIsStaleForAnOpenHandle) {
  ASSERT_TRUE(Create("x", "v1", "one"));
  SelectorId number = service_->PeekSecret(PathOf("x")).value()->versions[0].number;
  ASSERT_TRUE(Delete("x", true));
  EXPECT_EQ(service_->ReadValue(store_.caller, number, {}).error().code, Code::kStale);
}

TEST_F(SecretServiceTest, TheStoreHoldsNothingInClear) {
  CreateRequest request;
  request.name = "visible-name/inner-part";
  request.client_request_token = VersionId("v1");
  request.description = "visible-description";
  request.tags = {{"visible-tag-key", "visible-tag-value"}};
  request.value = TextValue(R"({"visible-json-key":"visible-json-value"})");
  ASSERT_TRUE(service_->CreateSecret(store_.caller, std::move(request)));
  ASSERT_TRUE(Put("visible-name/inner-part", "v2", "visible-plain-value", {"visible-label"}));
  Get("visible-name/inner-part");
  service_.reset();
  std::string bytes;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(store_.path())) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    bytes.append(std::istreambuf_iterator<char>(file), {});
  }
  ASSERT_GT(bytes.size(), 10000u);
  for (const char* text : {"visible", "inner-part", "AWSCURRENT", "AWSPREVIOUS", "user/"}) {
    EXPECT_EQ(bytes.find(text), std::string::npos) << text;
  }
}

TEST_F(SecretServiceTest, AWrongRootKeyIsSealedAndNothingChanges) {
  ASSERT_TRUE(Create("x", "v1", "one"));
  service_.reset();
  std::string other = store_.directory / "other-key";
  ASSERT_TRUE(crypto::CreateKeyFile(other, store_.random));
  auto right_key = std::move(store_.root_key);
  store_.root_key = store_.OpenKey(other);
  EXPECT_EQ(store_.TryOpen().error().code, Code::kSealed);
  store_.root_key = std::move(right_key);
  Reopen();
  EXPECT_EQ(Get("x"), "one");
}

TEST_F(SecretServiceTest, ASecondOpenIsRefused) {
  auto second = store_.TryOpen();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kFailedPrecondition);
  EXPECT_NE(second.error().message.find("in use by another secretfs process"), std::string::npos);
}

TEST_F(SecretServiceTest, CreateRefusesADirectoryThatHoldsAStore) {
  Status again =
      SecretService::Create(store_.path(), {}, getuid(), crypto::KeyFileSource{store_.key_path()},
                            *store_.root_key, store_.clock, store_.random);
  // Open by this process, so the lock answers first.
  EXPECT_EQ(again.error().code, Code::kFailedPrecondition);
  service_.reset();
  again =
      SecretService::Create(store_.path(), {}, getuid(), crypto::KeyFileSource{store_.key_path()},
                            *store_.root_key, store_.clock, store_.random);
  EXPECT_EQ(again.error().code, Code::kAlreadyExists);
}

// Writers from several threads: every acknowledged version is there, and the label rules hold.
TEST_F(SecretServiceTest, ConcurrentWritersLoseNothing) {
  ASSERT_TRUE(Create("x", "v0", "start"));
  constexpr int kWriters = 4;
  constexpr int kPuts = 20;
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < kPuts; ++i) {
        std::string token = "w" + std::to_string(w) + "x" + std::to_string(i);
        EXPECT_TRUE(Put("x", token, "value of " + token));
        EXPECT_NE(Get("x").find("value"), std::string::npos);
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  for (int w = 0; w < kWriters; ++w) {
    for (int i = 0; i < kPuts; ++i) {
      std::string token = "w" + std::to_string(w) + "x" + std::to_string(i);
      EXPECT_EQ(Get("x", {VersionId(token), {}}), "value of " + token);
    }
  }
}

// The service against a std::map under random puts, deletes and reopens.
TEST_F(SecretServiceTest, AgreesWithAMapUnderRandomOperations) {
  std::map<std::string, std::string> model;
  const std::vector<std::string> names = {"a",  "a/b", "a//b", "/a",     "a/",
                                          "_x", ".",   "..",   "a/../b", "Z"};
  uint64_t seed = 4711;
  auto next = [&](uint64_t bound) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % bound;
  };
  for (int step = 0; step < 600; ++step) {
    store_.clock.Advance(kMsPerDay / 10);
    const std::string& name = names[next(names.size())];
    std::string token = "t" + std::to_string(step);
    std::string value = "value " + std::to_string(step);
    switch (next(5)) {
      case 0:
        ASSERT_TRUE(Delete(name, true));
        model.erase(name);
        break;
      case 1:
        if (next(10) == 0) Reopen();
        break;
      default:
        if (model.contains(name)) {
          ASSERT_TRUE(Put(name, token, value));
        } else {
          ASSERT_TRUE(Create(name, token, value));
        }
        model[name] = value;
    }
    for (const std::string& each : names) {
      auto it = model.find(each);
      ASSERT_EQ(Get(each), it == model.end()
                               ? "error: Secrets Manager can't find the specified secret."
                               : it->second);
    }
    ASSERT_EQ(service_->GetHealth().secrets, model.size());
  }
}

TEST_F(SecretServiceTest, AStoreThatOthersMayOpenIsRefused) {
  service_.reset();
  ASSERT_EQ(chmod(store_.path().c_str(), 0755), 0);
  const auto service = store_.TryOpen();
  ASSERT_FALSE(service);
  EXPECT_EQ(service.error().code, Code::kPermissionDenied);
  EXPECT_NE(service.error().message.find("chmod 700"), std::string::npos);
}

}  // namespace
}  // namespace secretfs::store
