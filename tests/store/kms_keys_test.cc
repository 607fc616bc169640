// Keys, tags, policies, aliases, and what is common to all operations.

#include <set>

#include "store/key_policy.h"
#include "tests/store/kms_fixture.h"

namespace secretfs::store {
namespace {

using crypto::KeySpec;
using crypto::KeyUsage;

class KmsKeysTest : public KmsTest {
 protected:
  std::string DefaultKey() { return crypto::FormatUuid(Describe("alias/aws/secretsmanager").id); }
};

TEST_F(KmsKeysTest, ANewKeyIsAsAwsMakesIt) {
  CreateKeyRequest request;
  request.description = "main";
  request.tags = {{"team", "core"}};
  const std::string id = CreateKey(request);
  for (int i = 0; i < 2; ++i) {
    const KmsKey key = Describe(id);
    EXPECT_EQ(key.arn, ArnOf(id));
    EXPECT_EQ(key.description, "main");
    EXPECT_EQ(key.state, KeyState::kEnabled);
    EXPECT_EQ(key.manager, KeyManager::kCustomer);
    EXPECT_EQ(key.origin, KeyOrigin::kAwsKms);
    EXPECT_EQ(key.created_at, store_.clock.NowMs());
    EXPECT_FALSE(key.rotation_enabled);
    EXPECT_EQ(key.tags.at("team"), "core");
    Reopen();
  }
  const std::vector<AuditEvent> events = Events();
  EXPECT_EQ(events[0].action, Action::kKmsCreateKey);
  EXPECT_EQ(events[0].resource_arn, ArnOf(id));
  EXPECT_EQ(events[0].error_code, "");
}

TEST_F(KmsKeysTest, CreateKeyRefusesWhatAwsRefuses) {
  const auto outcome = [&](const std::function<void(CreateKeyRequest&)>& change) {
    CreateKeyRequest request;
    change(request);
    auto made = kms().CreateKey(store_.caller, request);
    return made ? "ok" : NameOf(made.error().code) + ": " + made.error().message;
  };
  EXPECT_EQ(outcome([](auto& r) { r.key_spec = KeySpec::kRsa2048; }),
            "ValidationException: You must specify a KeyUsage value for all KMS keys except for "
            "symmetric encryption keys.");
  EXPECT_EQ(outcome([](auto& r) {
              r.key_spec = KeySpec::kRsa2048;
              r.key_usage = KeyUsage::kKeyAgreement;
            }),
            "ValidationException: KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048");
  EXPECT_TRUE(
      outcome([](auto& r) { r.multi_region = true; }).starts_with("UnsupportedOperationException"));
  EXPECT_TRUE(outcome([](auto& r) {
                r.origin = KeyOrigin::kAwsCloudHsm;
              }).starts_with("UnsupportedOperationException"));
  EXPECT_TRUE(outcome([](auto& r) {
                r.custom_key_store_id = "cks-1";
              }).starts_with("UnsupportedOperationException"));
  EXPECT_TRUE(outcome([](auto& r) {
                r.key_spec = KeySpec::kSm2;
                r.key_usage = KeyUsage::kSignVerify;
              }).starts_with("UnsupportedOperationException"));
  EXPECT_TRUE(outcome([](auto& r) {
                r.description = std::string(8193, 'x');
              }).starts_with("ValidationException"));
  EXPECT_EQ(outcome([](auto& r) { r.tags = {{"aws:x", ""}}; }),
            "TagException: Tags beginning with aws: are reserved");
  EXPECT_EQ(outcome([](auto& r) { r.policy = "{}"; }),
            "MalformedPolicyDocumentException: The policy needs at least one Statement.");
  EXPECT_EQ(kms().ListKeys(store_.caller, {})->entries.size(), 1u);
}

TEST_F(KmsKeysTest, KeysOfAllSpecsCanBeMade) {
  for (const KeySpec spec : crypto::AllOf<KeySpec>()) {
    if (!crypto::IsSupported(spec) || spec == KeySpec::kRsa3072 || spec == KeySpec::kRsa4096) {
      continue;
    }
    for (const KeyUsage usage : crypto::UsagesOf(spec)) {
      const KmsKey key = Describe(CreateKey(spec, usage));
      EXPECT_EQ(key.spec, spec);
      EXPECT_EQ(key.usage, usage);
      EXPECT_EQ(key.public_key.empty(), !crypto::IsAsymmetric(spec));
    }
  }
}

TEST_F(KmsKeysTest, StatesChangeAsAwsHasIt) {
  const std::string key = CreateKey();
  EXPECT_EQ(Enable(key), "ok");
  EXPECT_EQ(Disable(key), "ok");
  EXPECT_EQ(Disable(key), "ok");
  Reopen();
  EXPECT_EQ(StateOf(key), KeyState::kDisabled);
  EXPECT_EQ(Cancel(key), "KMSInvalidStateException");
  EXPECT_EQ(Schedule(key, 6), "ValidationException");
  EXPECT_EQ(Schedule(key, 31), "ValidationException");
  auto scheduled = kms().ScheduleKeyDeletion(store_.caller, {ArnOf(key), {}, false, ""});
  ASSERT_TRUE(scheduled);
  EXPECT_EQ(scheduled->key_id, ArnOf(key));
  EXPECT_EQ(scheduled->pending_window_in_days, 30);
  EXPECT_EQ(scheduled->deletion_date, store_.clock.NowMs() + 30 * kMsPerDay);
  Reopen();
  EXPECT_EQ(StateOf(key), KeyState::kPendingDeletion);
  EXPECT_EQ(Describe(key).deletion_at, scheduled->deletion_date);
  EXPECT_EQ(Schedule(key, 7), "KMSInvalidStateException");
  EXPECT_EQ(Enable(key), "KMSInvalidStateException");
  EXPECT_EQ(kms().CancelKeyDeletion(store_.caller, {key, ""}).value(), ArnOf(key));
  Reopen();
  EXPECT_EQ(StateOf(key), KeyState::kDisabled);
  EXPECT_FALSE(Describe(key).deletion_at);
  EXPECT_EQ(Enable(key), "ok");
  EXPECT_EQ(StateOf(key), KeyState::kEnabled);
}

TEST_F(KmsKeysTest, AKeyIsDestroyedWhenItsTimeHasCome) {
  const std::string key = CreateKey();
  const std::string kept = CreateKey();
  const Bytes blob = Encrypt(key, "text")->ciphertext_blob;
  ASSERT_EQ(Alias("alias/gone", key), "ok");
  CreateGrantRequest grant;
  grant.key_id = key;
  grant.grantee_principal = stranger_.arn;
  grant.retiring_principal = stranger_.arn;
  grant.operations = {GrantOperation::kDecrypt};
  ASSERT_TRUE(kms().CreateGrant(store_.caller, grant));
  ASSERT_EQ(Schedule(key, 7), "ok");
  ASSERT_EQ(Schedule(kept, 7), "ok");
  store_.clock.Advance(7 * kMsPerDay - 1);
  ASSERT_TRUE(service_->PurgeExpired());
  EXPECT_EQ(StateOf(key), KeyState::kPendingDeletion);
  // Cancelled in the last moment.
  ASSERT_EQ(Cancel(kept), "ok");
  store_.clock.Advance(1);
  ASSERT_TRUE(service_->PurgeExpired());
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Outcome(kms().DescribeKey(store_.caller, {key, {}, ""})), "NotFoundException");
    EXPECT_EQ(Outcome(kms().DescribeKey(store_.caller, {"alias/gone", {}, ""})),
              "NotFoundException");
    EXPECT_EQ(StateOf(kept), KeyState::kDisabled);
    EXPECT_EQ(DecryptText(blob), "error: InvalidCiphertextException");
    EXPECT_TRUE(kms().ListRetirableGrants(store_.caller, {stranger_.arn, {}, ""})->entries.empty());
    EXPECT_EQ(kms().ListKeys(store_.caller, {})->entries.size(), 2u);
    Reopen();
  }
  bool recorded = false;
  for (const AuditEvent& event : Events()) {
    recorded = recorded || (event.action == Action::kKmsDestroyKey &&
                            event.resource_arn == ArnOf(key) && event.door == Door::kInternal);
  }
  EXPECT_TRUE(recorded);
}

TEST_F(KmsKeysTest, TheKeyOfSecretsIsAwss) {
  const KmsKey key = Describe("alias/aws/secretsmanager");
  const std::string id = DefaultKey();
  EXPECT_EQ(key.manager, KeyManager::kAws);
  EXPECT_TRUE(key.rotation_enabled);
  EXPECT_EQ(Disable(id), "AccessDeniedException");
  EXPECT_EQ(Schedule(id, 7), "AccessDeniedException");
  EXPECT_EQ(Outcome(Encrypt(id, "x")), "AccessDeniedException");
  EXPECT_EQ(Alias("alias/mine", id), "AccessDeniedException");
  EXPECT_EQ(Outcome(kms().DisableKeyRotation(store_.caller, {id, ""})), "AccessDeniedException");
  EXPECT_EQ(kms().GetKeyRotationStatus(store_.caller, {id, ""})->period_in_days, 365);
  const std::string policy = kms().GetKeyPolicy(store_.caller, {id, "default", ""}).value();
  EXPECT_NE(policy.find("secretsmanager.local-1.amazonaws.com"), std::string::npos);
  ASSERT_TRUE(Create("a", "v1", "one"));
  EXPECT_EQ(Get("a"), "one");
}

TEST_F(KmsKeysTest, ListsComeInPagesWhoseMarkersBelongToThem) {
  std::set<std::string> made{DefaultKey()};
  for (int i = 0; i < 7; ++i) made.insert(CreateKey());
  std::set<std::string> listed;
  ListKeysRequest request;
  request.page.limit = 3;
  int pages = 0;
  std::string marker;
  do {
    auto page = kms().ListKeys(store_.caller, request);
    ASSERT_TRUE(page) << page.error().message;
    EXPECT_LE(page->entries.size(), 3u);
    for (const crypto::KeyId& key : page->entries) listed.insert(crypto::FormatUuid(key));
    if (!page->next_marker.empty()) marker = page->next_marker;
    request.page.marker = page->next_marker;
    ++pages;
  } while (!request.page.marker.empty());
  EXPECT_EQ(listed, made);
  EXPECT_EQ(pages, 3);
  // Of another operation, altered, or no marker at all.
  ListForKeyRequest aliases{"", {{}, marker}, ""};
  EXPECT_EQ(Outcome(kms().ListAliases(store_.caller, aliases)), "InvalidMarkerException");
  request.page.marker = marker;
  request.page.marker[5] = request.page.marker[5] == 'A' ? 'B' : 'A';
  EXPECT_EQ(Outcome(kms().ListKeys(store_.caller, request)), "InvalidMarkerException");
  request.page.marker = "nonsense";
  EXPECT_EQ(Outcome(kms().ListKeys(store_.caller, request)), "InvalidMarkerException");
  for (const int64_t limit : {0, 1001, -1}) {
    request.page = {limit, ""};
    EXPECT_EQ(Outcome(kms().ListKeys(store_.caller, request)), "ValidationException");
  }
}

TEST_F(KmsKeysTest, AStrangerLearnsNothingAndIsRecorded) {
  const std::string key = CreateKey();
  ASSERT_EQ(Alias("alias/web", key), "ok");
  const std::string unknown = "01234567-89ab-4def-8123-456789abcdef";
  for (const std::string& name :
       {key, unknown, std::string("alias/web"), std::string("alias/no"), std::string("nonsense")}) {
    auto denied = kms().DescribeKey(eve_, {name, {}, ""});
    ASSERT_FALSE(denied);
    EXPECT_EQ(denied.error().code, Code::kPermissionDenied) << name;
  }
  EncryptRequest request;
  request.key_id = key;
  request.plaintext = crypto::SecretBuffer(1);
  EXPECT_EQ(kms().Encrypt(eve_, request).error().code, Code::kPermissionDenied);
  DecryptRequest decrypt;
  decrypt.ciphertext_blob = {1, 2, 3};
  EXPECT_EQ(kms().Decrypt(eve_, decrypt).error().code, Code::kPermissionDenied);
  EXPECT_EQ(kms().CreateKey(eve_, {}).error().code, Code::kPermissionDenied);
  EXPECT_EQ(kms().ListKeys(eve_, {}).error().code, Code::kPermissionDenied);
  EXPECT_EQ(kms().GenerateRandom(eve_, {16, "", ""}).error().code, Code::kPermissionDenied);
  EXPECT_EQ(kms().DisableKey(eve_, {key, ""}).error().code, Code::kPermissionDenied);
  EXPECT_EQ(kms().CreateAlias(eve_, {"alias/eve", key, ""}).error().code, Code::kPermissionDenied);
  EXPECT_EQ(kms().DeleteAlias(eve_, {"alias/web", "", ""}).error().code, Code::kPermissionDenied);
  size_t denials = 0;
  for (const AuditEvent& event : Events()) {
    if (event.principal_arn != stranger_.arn) continue;
    EXPECT_EQ(event.error_code, "AccessDeniedException");
    ++denials;
  }
  EXPECT_EQ(denials, 13u);
  EXPECT_EQ(StateOf(key), KeyState::kEnabled);
}

TEST_F(KmsKeysTest, ADenialIsRecordedWithWhatItWasAbout) {
  const std::string key = CreateKey();
  const std::string alias = "arn:aws:kms:local-1:000000000000:alias/web";
  ASSERT_EQ(Alias("alias/web", key), "ok");
  CreateGrantRequest request;
  request.key_id = key;
  request.grantee_principal = store_.owner.arn;
  request.operations = {GrantOperation::kEncrypt};
  const auto grant = kms().CreateGrant(store_.caller, request).value();
  const auto resource_of = [&](const Status& denied) {
    EXPECT_EQ(denied.error().code, Code::kPermissionDenied);
    std::string last;
    for (const AuditEvent& event : Events()) {
      if (event.principal_arn == stranger_.arn) last = event.resource_arn;
    }
    return last;
  };
  EXPECT_EQ(resource_of(kms().RetireGrant(eve_, {"", "", grant.grant_token, false, ""})),
            ArnOf(key));
  EXPECT_EQ(resource_of(kms().RetireGrant(eve_, {key, grant.grant_id, "", false, ""})), ArnOf(key));
  EXPECT_EQ(resource_of(kms().CreateAlias(eve_, {"alias/web", key, ""})), alias);
  EXPECT_EQ(resource_of(kms().UpdateAlias(eve_, {"alias/web", key, ""})), alias);
  EXPECT_EQ(resource_of(kms().DeleteAlias(eve_, {"alias/web", "", ""})), alias);
}

// What a denial says of what exists is what it says of what does not.
TEST_F(KmsKeysTest, ADenialShowsOnlyWhatWasAskedFor) {
  const std::string key = CreateKey();
  ASSERT_EQ(Alias("alias/web", key), "ok");
  const std::string unknown = "01234567-89ab-4def-8123-456789abcdef";
  const auto described = [&](const std::string& name) {
    std::string text = kms().DescribeKey(eve_, {name, {}, ""}).error().message;
    const size_t at = text.find(name);
    EXPECT_NE(at, std::string::npos) << text;
    if (at != std::string::npos) text.replace(at, name.size(), "NAME");
    return text;
  };
  EXPECT_EQ(described(key), described(unknown));
  EXPECT_EQ(described(ArnOf(key)), described(ArnOf(unknown)));
  EXPECT_EQ(described("alias/web"), described("alias/no"));
  DecryptRequest decrypt;
  decrypt.ciphertext_blob = Encrypt(key, "x")->ciphertext_blob;
  const std::string of_real_blob = kms().Decrypt(eve_, decrypt).error().message;
  decrypt.ciphertext_blob = {1, 2, 3};
  EXPECT_EQ(of_real_blob, kms().Decrypt(eve_, decrypt).error().message);
  CreateGrantRequest request;
  request.key_id = key;
  request.grantee_principal = store_.owner.arn;
  request.operations = {GrantOperation::kEncrypt};
  const auto grant = kms().CreateGrant(store_.caller, request).value();
  const auto retired = [&](const std::string& id) {
    return kms().RetireGrant(eve_, {key, id, "", false, ""}).error().message;
  };
  EXPECT_EQ(retired(grant.grant_id), retired(std::string(64, 'a')));
  const std::string by_token =
      kms().RetireGrant(eve_, {"", "", grant.grant_token, false, ""}).error().message;
  EXPECT_EQ(by_token.find(key), std::string::npos) << by_token;
}

TEST_F(KmsKeysTest, NamesThatLeadNowhereAreNotFound) {
  const std::string key = CreateKey();
  ASSERT_EQ(Alias("alias/web", key), "ok");
  const auto message = [&](const std::string& name) {
    return kms().DescribeKey(store_.caller, {name, {}, ""}).error().message;
  };
  const std::string unknown = "01234567-89ab-4def-8123-456789abcdef";
  EXPECT_EQ(message(unknown), "Key '" + ArnOf(unknown) + "' does not exist");
  EXPECT_EQ(message("alias/no"), "Alias arn:aws:kms:local-1:000000000000:alias/no is not found.");
  EXPECT_EQ(message("x"), "Invalid keyId 'x'");
  // Management takes ids and ARNs.
  EXPECT_EQ(Disable("alias/web"), "NotFoundException");
  EXPECT_EQ(Disable(ArnOf(key)), "ok");
  EXPECT_EQ(Describe("arn:aws:kms:local-1:000000000000:alias/web").arn, ArnOf(key));
}

TEST_F(KmsKeysTest, TagsAreReplacedRemovedAndListed) {
  const std::string key = CreateKey();
  ASSERT_TRUE(kms().TagResource(store_.caller, {key, {{"a", "1"}, {"b", "2"}}, {}, ""}));
  ASSERT_TRUE(kms().TagResource(store_.caller, {key, {{"b", "3"}, {"c", "4"}}, {}, ""}));
  ASSERT_TRUE(kms().UntagResource(store_.caller, {key, {}, {"a", "none"}, ""}));
  Reopen();
  ListForKeyRequest list{key, {1, ""}, ""};
  auto first = kms().ListResourceTags(store_.caller, list);
  ASSERT_EQ(first->entries.size(), 1u);
  EXPECT_EQ(first->entries[0].key, "b");
  EXPECT_EQ(first->entries[0].value, "3");
  list.page.marker = first->next_marker;
  auto second = kms().ListResourceTags(store_.caller, list);
  EXPECT_EQ(second->entries[0].key, "c");
  EXPECT_EQ(second->next_marker, "");
  EXPECT_EQ(Outcome(kms().TagResource(store_.caller, {key, {{"aws:x", ""}}, {}, ""})),
            "TagException");
  std::map<std::string, std::string> many;
  for (int i = 0; i < 49; ++i) many["t" + std::to_string(i)] = "";
  EXPECT_EQ(Outcome(kms().TagResource(store_.caller, {key, many, {}, ""})),
            "LimitExceededException");
}

TEST_F(KmsKeysTest, PoliciesAreKeptAsTheyWerePut) {
  const std::string key = CreateKey();
  const auto get = [&] { return kms().GetKeyPolicy(store_.caller, {key, "default", ""}).value(); };
  EXPECT_EQ(get(), DefaultKeyPolicy("000000000000"));
  const std::string policy = R"({"Statement":[{"Effect":"Allow","Principal":"*",)"
                             R"("Action":["kms:Put*"], "Resource":"*"}]})";
  PutKeyPolicyRequest request{key, "default", policy, false, ""};
  ASSERT_TRUE(kms().PutKeyPolicy(store_.caller, request));
  Reopen();
  EXPECT_EQ(get(), policy);
  request.policy = R"({"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:Get*",)"
                   R"("Resource":"*"}]})";
  EXPECT_EQ(Outcome(kms().PutKeyPolicy(store_.caller, request)),
            "MalformedPolicyDocumentException");
  EXPECT_EQ(get(), policy);
  request.bypass_policy_lockout_safety_check = true;
  EXPECT_EQ(Outcome(kms().PutKeyPolicy(store_.caller, request)), "ok");
  request.policy_name = "other";
  EXPECT_EQ(Outcome(kms().PutKeyPolicy(store_.caller, request)), "NotFoundException");
  EXPECT_EQ(kms().ListKeyPolicies(store_.caller, {key, {}, ""})->entries,
            std::vector<std::string>{"default"});
}

TEST_F(KmsKeysTest, AliasesAreUniqueAndMoveBetweenKeysOfOneKind) {
  const std::string one = CreateKey();
  const std::string two = CreateKey();
  const std::string signs = CreateKey(KeySpec::kEccNistP256, KeyUsage::kSignVerify);
  EXPECT_EQ(Alias("alias/web", one), "ok");
  EXPECT_EQ(Alias("alias/web", two), "AlreadyExistsException");
  EXPECT_EQ(Alias("web", one), "ValidationException");
  EXPECT_EQ(Alias("alias/aws/web", one), "InvalidAliasNameException");
  EXPECT_EQ(Alias("alias/x", "alias/web"), "NotFoundException");
  const auto move = [&](const std::string& name, const std::string& key) {
    return Outcome(kms().UpdateAlias(store_.caller, {name, key, ""}));
  };
  EXPECT_EQ(move("alias/none", two), "NotFoundException");
  EXPECT_EQ(move("alias/web", signs), "ValidationException");
  store_.clock.Advance(1000);
  EXPECT_EQ(move("alias/web", two), "ok");
  Reopen();
  EXPECT_EQ(Describe("alias/web").arn, ArnOf(two));
  auto listed = kms().ListAliases(store_.caller, {two, {}, ""});
  ASSERT_EQ(listed->entries.size(), 1u);
  EXPECT_EQ(listed->entries[0].name, "alias/web");
  EXPECT_EQ(listed->entries[0].updated_at, listed->entries[0].created_at + 1000);
  EXPECT_TRUE(kms().ListAliases(store_.caller, {one, {}, ""})->entries.empty());
  EXPECT_EQ(kms().ListAliases(store_.caller, {"", {}, ""})->entries.size(), 2u);
  EXPECT_EQ(Schedule(one, 7), "ok");
  EXPECT_EQ(move("alias/web", one), "KMSInvalidStateException");
  EXPECT_EQ(Outcome(kms().DeleteAlias(store_.caller, {"alias/web", "", ""})), "ok");
  EXPECT_EQ(Outcome(kms().DeleteAlias(store_.caller, {"alias/web", "", ""})), "NotFoundException");
  EXPECT_EQ(Outcome(kms().DescribeKey(store_.caller, {"alias/web", {}, ""})), "NotFoundException");
}

TEST_F(KmsKeysTest, AKeyHasAtMostFiftyAliases) {
  const std::string key = CreateKey();
  for (int i = 0; i < 50; ++i) ASSERT_EQ(Alias("alias/a" + std::to_string(i), key), "ok");
  EXPECT_EQ(Alias("alias/more", key), "LimitExceededException");
  ASSERT_TRUE(kms().DeleteAlias(store_.caller, {"alias/a7", "", ""}));
  EXPECT_EQ(Alias("alias/more", key), "ok");
  std::set<std::string> names;
  ListForKeyRequest list{key, {20, ""}, ""};
  do {
    auto page = kms().ListAliases(store_.caller, list);
    for (const auto& alias : page->entries) names.insert(alias.name);
    list.page.marker = page->next_marker;
  } while (!list.page.marker.empty());
  EXPECT_EQ(names.size(), 50u);
  EXPECT_TRUE(names.contains("alias/more"));
}

TEST_F(KmsKeysTest, TheLastUseOfAKeyIsKept) {
  const std::string key = CreateKey();
  const auto last = [&] { return kms().GetKeyLastUsage(store_.caller, {key, ""})->last; };
  EXPECT_FALSE(last());
  const Bytes blob = Encrypt(key, "x")->ciphertext_blob;
  EXPECT_EQ(last()->operation, Action::kKmsEncrypt);
  store_.clock.Advance(kMsPerDay);
  DecryptText(blob);
  EXPECT_FALSE(Encrypt(key, ""));  // No use.
  Disable(key);
  Enable(key);
  EXPECT_EQ(last()->operation, Action::kKmsDecrypt);
  EXPECT_EQ(last()->at, store_.clock.NowMs());
  Reopen();
  EXPECT_EQ(last()->operation, Action::kKmsDecrypt);
  EXPECT_EQ(last()->at / kMsPerDay, store_.clock.NowMs() / kMsPerDay);
  // Written down once a day, however often it is used.
  ASSERT_TRUE(service_->PurgeExpired());
  const uint64_t txn = service_->GetHealth().last_txn;
  for (int i = 0; i < 5; ++i) {
    DecryptText(blob);
    ASSERT_TRUE(service_->PurgeExpired());
    ASSERT_TRUE(Encrypt(key, "x"));
    ASSERT_TRUE(service_->PurgeExpired());
  }
  EXPECT_EQ(service_->GetHealth().last_txn, txn);
  ASSERT_TRUE(CreateUnder("a", "v1", "one", key));
  EXPECT_EQ(last()->operation, Action::kKmsGenerateDataKey);
  Get("a");
  EXPECT_EQ(last()->operation, Action::kKmsDecrypt);
}

// --- the grammar of policies

std::string PolicyOf(const std::string& statement) {
  return R"({"Version":"2012-10-17","Statement":[)" + statement + "]}";
}

TEST(KeyPolicyTest, GoodPoliciesAreAccepted) {
  const KeyPolicyCheck check{"000000000000", "arn:aws:iam::000000000000:user/ada"};
  for (const std::string& policy : {
           DefaultKeyPolicy("000000000000"),
           PolicyOf(R"({"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"*",)"
                    R"("Resource":"*"})"),
           PolicyOf(
               R"({"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::000000000000:user/ada"]},)"
               R"("Action":["KMS:putkeypolicy"],"Resource":["*"]})"),
           std::string(R"({"Statement":{"Effect":"Allow","Principal":"*","Action":"kms:?utKey*",)"
                       R"("Resource":"*"}})"),
       }) {
    const Status status = CheckKeyPolicy(policy, check);
    EXPECT_TRUE(status) << policy << ": " << status.error().message;
  }
}

TEST(KeyPolicyTest, MalformedOnesAreRefused) {
  const std::string good = R"("Effect":"Allow","Principal":"*","Action":"*","Resource":"*")";
  const KeyPolicyCheck check{"000000000000", "arn:aws:iam::000000000000:user/ada"};
  for (const std::string& policy : {
           std::string("{"),
           std::string("[]"),
           std::string("{}"),
           std::string("\"x\""),
           std::string(R"({"Statement":[]})"),
           std::string(R"({"Statement":7})"),
           R"({"Version":"2011","Statement":{)" + good + "}}",
           R"({"Else":"","Statement":{)" + good + "}}",
           PolicyOf("7"),
           PolicyOf("{" + good + R"(,"Else":1})"),
           PolicyOf(R"({"Effect":"Maybe","Principal":"*","Action":"*","Resource":"*"})"),
           PolicyOf(R"({"Effect":"Allow","Action":"*","Resource":"*"})"),
           PolicyOf("{" + good + R"(,"NotPrincipal":"*"})"),
           PolicyOf("{" + good + R"(,"NotAction":"*"})"),
           PolicyOf("{" + good + R"(,"NotResource":"*"})"),
           PolicyOf("{" + good + R"(,"Condition":[]})"),
           PolicyOf("{" + good + R"(,"Condition":{"StringEquals":{}}})"),
           PolicyOf("{" + good +
                    R"(},{"Effect":"Allow","Principal":"*","Condition":)"
                    R"({"ForAllValues:StringEquals":{"kms:EncryptionContext:a":"b"}}})"),
           PolicyOf(R"({"Effect":"Allow","Principal":{"AWS":"ada"},"Action":"*","Resource":"*"})"),
           PolicyOf(R"({"Effect":"Allow","Principal":{"AWS":[]},"Action":"*","Resource":"*"})"),
           PolicyOf(R"({"Effect":"Allow","Principal":{"Nobody":"x"},"Action":"*","Resource":"*"})"),
           PolicyOf(R"({"Effect":"Allow","Principal":"*","Action":7,"Resource":"*"})"),
       }) {
    const Status status = CheckKeyPolicy(policy, check);
    ASSERT_FALSE(status) << policy;
    EXPECT_EQ(status.error().code, Code::kMalformedPolicy) << policy;
  }
}

TEST(KeyPolicyTest, APolicyThatNobodyCouldReplaceIsRefused) {
  KeyPolicyCheck check{"000000000000", "arn:aws:iam::000000000000:user/ada"};
  const std::string statements[] = {
      R"({"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"})",
      R"({"Effect":"Allow","Principal":"*","Action":"kms:Get*","Resource":"*"})",
      R"({"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"*","Resource":"*"})",
      R"({"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":)"
      R"({"Bool":{"aws:SecureTransport":true}}})",
      R"({"Effect":"Allow","NotPrincipal":"*","Action":"*","Resource":"*"})",
      R"({"Effect":"Allow","Principal":"*","Resource":"*"})",
  };
  for (const std::string& statement : statements) {
    check.bypass_lockout = false;
    EXPECT_EQ(CheckKeyPolicy(PolicyOf(statement), check).error().message,
              "The new key policy will not allow you to update the key policy in the future.");
    check.bypass_lockout = true;
    EXPECT_TRUE(CheckKeyPolicy(PolicyOf(statement), check)) << statement;
  }
}

TEST(KeyPolicyTest, SizeAndCharactersAreBounded) {
  const KeyPolicyCheck check{"000000000000", "x", true};
  const std::string policy = DefaultKeyPolicy("000000000000");
  EXPECT_TRUE(CheckKeyPolicy(policy + std::string(32'768 - policy.size(), ' '), check));
  EXPECT_EQ(CheckKeyPolicy(policy + std::string(32'769 - policy.size(), ' '), check).error().code,
            Code::kLimitExceeded);
  for (const std::string& text :
       {std::string(), policy + '\0', policy + "\xe2\x82\xac", policy + "\xc3"}) {
    EXPECT_EQ(CheckKeyPolicy(text, check).error().code, Code::kValidation);
  }
}

}  // namespace
}  // namespace secretfs::store
