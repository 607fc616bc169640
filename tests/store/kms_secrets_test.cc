// Secrets as clients of KMS.

#include <functional>
#include <span>
#include <utility>

#include "crypto/aead.h"
#include "store/secret_json.h"
#include "store/secret_store.h"
#include "tests/store/kms_fixture.h"

namespace secretfs::store {
namespace {

using testing::VersionId;

// Random bytes that let another request come in between: before the next `size` of them are drawn,
// `request` runs, once.
class InterruptedRandom final : public crypto::RandomSource {
 public:
  void Fill(std::span<uint8_t> out) override {
    if (request_ && out.size() == size_) std::exchange(request_, nullptr)();
    random_.Fill(out);
  }
  void InterruptAt(size_t size, std::function<void()> request) {
    size_ = size;
    request_ = std::move(request);
  }
  bool was_interrupted() const { return request_ == nullptr; }

 private:
  crypto::SystemRandom random_;
  size_t size_ = 0;
  std::function<void()> request_;
};

class KmsSecretsTest : public KmsTest {
 protected:
  SecretPtr Metadata(const std::string& name) {
    return service_->DescribeSecret(store_.caller, name, "").value();
  }
  Result<WrittenVersion> Move(const std::string& name, const std::string& key) {
    UpdateRequest request;
    request.secret_id = name;
    request.kms_key_id = key;
    return service_->UpdateSecret(store_.caller, std::move(request));
  }
  Code CodeOfGet(const std::string& name, const VersionSelector& selector = {}) {
    auto value = service_->GetSecretValue(store_.caller, name, selector, "");
    return value ? Code::kInternal : value.error().code;
  }
  Code CodeOfPut(const std::string& name, const std::string& token) {
    auto written = Put(name, token, "x");
    return written ? Code::kInternal : written.error().code;
  }
  Code CodeOfOpen(const std::string& name) {
    const SecretPtr secret = Metadata(name);
    const Status opened = service_->OpenValue(store_.caller, *secret,
                                              *secret->FindVersionByLabel(kCurrent), kCurrent);
    return opened ? Code::kInternal : opened.error().code;
  }
  Code CodeOfRead(const std::string& name) {
    const auto read = service_->ReadValue(store_.caller,
                                          Metadata(name)->FindVersionByLabel(kCurrent)->number, {});
    return read ? Code::kInternal : read.error().code;
  }
  std::vector<Change> ChangesAfter(uint64_t sequence) {
    return service_->ChangesSince(sequence, 1000).value();
  }
  std::string KeyOf(const Version& version) { return crypto::FormatUuid(version.kms_key); }
};

TEST_F(KmsSecretsTest, ASecretIsEncryptedUnderTheKeyThatItNames) {
  const std::string key = CreateKey();
  ASSERT_EQ(Alias("alias/web", key), "ok");
  ASSERT_TRUE(CreateUnder("a", "v1", "one", key));
  ASSERT_TRUE(CreateUnder("b", "v1", "two", "alias/web"));
  ASSERT_TRUE(CreateUnder("c", "v1", "three", ArnOf(key)));
  ASSERT_TRUE(Create("d", "v1", "four"));
  Reopen();
  EXPECT_EQ(Get("a"), "one");
  EXPECT_EQ(Get("b"), "two");
  EXPECT_EQ(Get("c"), "three");
  EXPECT_EQ(Get("d"), "four");
  EXPECT_EQ(Metadata("b")->kms_key_id, "alias/web");
  EXPECT_EQ(Metadata("d")->kms_key_id, "");
  EXPECT_EQ(KeyOf(Metadata("b")->versions[0]), key);
  EXPECT_NE(DescribeSecretJson(*Metadata("b"), service_->realm(), false)
                .find(R"("KmsKeyId":"alias/web")"),
            std::string::npos);
  EXPECT_EQ(DescribeSecretJson(*Metadata("d"), service_->realm(), false).find("KmsKeyId"),
            std::string::npos);
  EXPECT_NE(ListVersionsJson(*Metadata("a"), service_->realm(), false).find(ArnOf(key)),
            std::string::npos);
  EXPECT_NE(ListVersionsJson(*Metadata("d"), service_->realm(), false).find("DefaultEncryptionKey"),
            std::string::npos);
}

TEST_F(KmsSecretsTest, AKeyThatCannotEncryptSecretsIsRefused) {
  const std::string rsa = CreateKey(crypto::KeySpec::kRsa2048, crypto::KeyUsage::kEncryptDecrypt);
  const std::string disabled = CreateKey();
  Disable(disabled);
  const std::string empty = CreateExternalKey();
  EXPECT_EQ(CreateUnder("a", "v1", "x", "alias/none").error().code, Code::kInvalidArgument);
  EXPECT_EQ(CreateUnder("a", "v1", "x", "nonsense").error().code, Code::kInvalidArgument);
  EXPECT_EQ(CreateUnder("a", "v1", "x", rsa).error().code, Code::kInvalidArgument);
  EXPECT_EQ(CreateUnder("a", "v1", "x", disabled).error().code, Code::kCannotEncrypt);
  EXPECT_EQ(CreateUnder("a", "v1", "x", empty).error().code, Code::kCannotEncrypt);
  CreateRequest without_value;
  without_value.name = "a";
  without_value.client_request_token = VersionId("v1");
  without_value.kms_key_id = disabled;
  EXPECT_EQ(service_->CreateSecret(store_.caller, std::move(without_value)).error().code,
            Code::kCannotEncrypt);
  EXPECT_EQ(CodeOfGet("a"), Code::kNotFound);
}

TEST_F(KmsSecretsTest, DisablingAKeyMakesItsSecretsUnreadableAtOnce) {
  const std::string key = CreateKey();
  ASSERT_TRUE(CreateUnder("a", "v1", "one", key));
  ASSERT_TRUE(Create("other", "v1", "two"));
  EXPECT_EQ(Get("a"), "one");
  ASSERT_EQ(Disable(key), "ok");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(CodeOfGet("a"), Code::kKeyUnavailable);
    EXPECT_EQ(CodeOfOpen("a"), Code::kKeyUnavailable);
    EXPECT_EQ(CodeOfRead("a"), Code::kKeyUnavailable);
    EXPECT_EQ(CodeOfPut("a", "v2"), Code::kCannotEncrypt);
    EXPECT_EQ(Get("other"), "two");
    Reopen();
  }
  EXPECT_EQ(Events().back().action, Action::kReadAuditTrail);
  ASSERT_EQ(Enable(key), "ok");
  EXPECT_EQ(Get("a"), "one");
  EXPECT_EQ(CodeOfOpen("a"), Code::kInternal);
  EXPECT_EQ(CodeOfRead("a"), Code::kInternal);
  EXPECT_TRUE(Put("a", "v2", "two"));
}

TEST_F(KmsSecretsTest, ARefusedReadIsRecordedByAwssName) {
  const std::string key = CreateKey();
  ASSERT_TRUE(CreateUnder("a", "v1", "one", key));
  ASSERT_EQ(Disable(key), "ok");
  CodeOfRead("a");
  CodeOfPut("a", "v2");
  std::vector<AuditEvent> events = Events();
  EXPECT_EQ(events[events.size() - 3].action, Action::kGetSecretValue);
  EXPECT_EQ(events[events.size() - 3].error_code, "DecryptionFailure");
  EXPECT_EQ(events[events.size() - 2].error_code, "EncryptionFailure");
}

TEST_F(KmsSecretsTest, WatchersAreToldWhenAKeyChangesWhatCanBeRead) {
  const std::string key = CreateKey();
  ASSERT_TRUE(CreateUnder("a", "v1", "one", key));
  ASSERT_TRUE(CreateUnder("b", "v1", "two", key));
  ASSERT_TRUE(Create("other", "v1", "three"));
  uint64_t before = service_->GetHealth().last_change;
  const auto expect_change = [&](bool changed) {
    std::vector<PathId> paths;
    for (const Change& change : ChangesAfter(before)) {
      EXPECT_EQ(change.kind, ChangeKind::kKeyState);
      paths.push_back(change.path);
    }
    EXPECT_EQ(paths,
              changed ? (std::vector<PathId>{PathOf("a"), PathOf("b")}) : std::vector<PathId>{});
    before = service_->GetHealth().last_change;
  };
  Disable(key);
  expect_change(true);
  Disable(key);
  expect_change(false);
  Enable(key);
  expect_change(true);
  Schedule(key, 7);
  expect_change(true);
  Cancel(key);
  expect_change(false);
  Enable(key);
  expect_change(true);
}

TEST_F(KmsSecretsTest, SchedulingDeletionNamesTheSecretsUnderTheKey) {
  const std::string key = CreateKey();
  ASSERT_TRUE(CreateUnder("prod/a", "v1", "one", key));
  ASSERT_TRUE(CreateUnder("prod/b", "v1", "two", key));
  auto refused = kms().ScheduleKeyDeletion(store_.caller, {key, 7, false, ""});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kConflict);
  EXPECT_NE(refused.error().message.find("prod/a, prod/b;"), std::string::npos)
      << refused.error().message;
  EXPECT_EQ(Get("prod/a"), "one");
  auto scheduled = kms().ScheduleKeyDeletion(store_.caller, {key, 7, true, ""});
  ASSERT_TRUE(scheduled);
  EXPECT_EQ(scheduled->secrets, (std::vector<std::string>{"prod/a", "prod/b"}));
  EXPECT_EQ(CodeOfGet("prod/a"), Code::kKeyUnavailable);
  Cancel(key);
  // Those that are gone or moved need no confirmation.
  ASSERT_TRUE(Delete("prod/a", true));
  Enable(key);
  ASSERT_TRUE(Move("prod/b", "alias/aws/secretsmanager"));
  EXPECT_EQ(Schedule(key, 7, false), "ok");
  EXPECT_EQ(Get("prod/b"), "two");
}

TEST_F(KmsSecretsTest, ADestroyedKeyTakesItsSecretsValuesWithIt) {
  const std::string key = CreateKey();
  ASSERT_TRUE(CreateUnder("a", "v1", "one", key));
  ASSERT_EQ(Schedule(key, 7), "ok");
  store_.clock.Advance(7 * kMsPerDay);
  ASSERT_TRUE(service_->PurgeExpired());
  EXPECT_EQ(Outcome(kms().DescribeKey(store_.caller, {key, {}, ""})), "NotFoundException");
  EXPECT_EQ(CodeOfGet("a"), Code::kKeyUnavailable);
  EXPECT_EQ(Metadata("a")->name, "a");
  EXPECT_EQ(CodeOfPut("a", "v2"), Code::kInvalidArgument);
  EXPECT_TRUE(Delete("a", true));
}

TEST_F(KmsSecretsTest, AnAliasIsResolvedByEachWrite) {
  const std::string first = CreateKey();
  const std::string second = CreateKey();
  ASSERT_EQ(Alias("alias/web", first), "ok");
  ASSERT_TRUE(CreateUnder("a", "v1", "one", "alias/web"));
  ASSERT_EQ(Outcome(kms().UpdateAlias(store_.caller, {"alias/web", second, ""})), "ok");
  ASSERT_TRUE(Put("a", "v2", "two"));
  EXPECT_EQ(KeyOf(Metadata("a")->versions[0]), first);
  EXPECT_EQ(KeyOf(Metadata("a")->versions[1]), second);
  EXPECT_EQ(Metadata("a")->kms_key_id, "alias/web");
  Reopen();
  EXPECT_EQ(Get("a", {VersionId("v1"), {}}), "one");
  EXPECT_EQ(Get("a"), "two");
  // The older version is under the first key still, and counts.
  EXPECT_EQ(Schedule(first, 7, false), "ConflictException");
  Disable(first);
  EXPECT_EQ(CodeOfGet("a", {VersionId("v1"), {}}), Code::kKeyUnavailable);
  EXPECT_EQ(Get("a"), "two");
  EXPECT_EQ(Outcome(kms().DeleteAlias(store_.caller, {"alias/web", "", ""})), "ok");
  EXPECT_EQ(CodeOfPut("a", "v3"), Code::kInvalidArgument);
  EXPECT_EQ(Get("a"), "two");
}

TEST_F(KmsSecretsTest, AnotherKeyTakesTheVersionsThatAwssLabelsAreOn) {
  ASSERT_TRUE(Create("a", "v1", "one"));
  ASSERT_TRUE(Put("a", "v2", "two", {"blue"}));
  ASSERT_TRUE(Put("a", "v3", "three"));
  ASSERT_TRUE(Put("a", "v4", "four", {"AWSPENDING"}));
  const std::string key = CreateKey();
  const std::string default_key = KeyOf(Metadata("a")->versions[0]);
  ASSERT_TRUE(Move("a", key));
  Reopen();
  const SecretPtr moved = Metadata("a");
  EXPECT_EQ(moved->kms_key_id, key);
  const std::vector<std::string> expected = {key, default_key, key, key};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(KeyOf(moved->versions[i]), expected[i]) << i;
    EXPECT_EQ(Get("a", {moved->versions[i].id, {}}),
              (std::vector<std::string>{"one", "two", "three", "four"})[i]);
  }
  Disable(key);
  EXPECT_EQ(CodeOfGet("a"), Code::kKeyUnavailable);
  EXPECT_EQ(Get("a", {{}, "blue"}), "two");
  // What cannot be decrypted cannot be moved.
  EXPECT_EQ(Move("a", "alias/aws/secretsmanager").error().code, Code::kKeyUnavailable);
  Enable(key);
  ASSERT_TRUE(Move("a", ""));
  EXPECT_EQ(Metadata("a")->kms_key_id, "");
  EXPECT_EQ(Schedule(key, 7, false), "ok");
  EXPECT_EQ(Get("a"), "three");
}

TEST_F(KmsSecretsTest, NamingTheSameAliasMovesToTheKeyThatItStandsForNow) {
  const std::string first = CreateKey();
  const std::string second = CreateKey();
  ASSERT_EQ(Alias("alias/web", first), "ok");
  ASSERT_TRUE(CreateUnder("a", "v1", "one", "alias/web"));
  ASSERT_EQ(Outcome(kms().UpdateAlias(store_.caller, {"alias/web", second, ""})), "ok");
  ASSERT_TRUE(Move("a", "alias/web"));
  EXPECT_EQ(Metadata("a")->kms_key_id, "alias/web");
  EXPECT_EQ(KeyOf(Metadata("a")->versions[0]), second);
  EXPECT_EQ(Schedule(first, 7, false), "ok");
  EXPECT_EQ(Get("a"), "one");
}

TEST_F(KmsSecretsTest, AValueAndAnotherKeyComeInOneChange) {
  ASSERT_TRUE(Create("a", "v1", "one"));
  const std::string key = CreateKey();
  UpdateRequest request;
  request.secret_id = "a";
  request.client_request_token = VersionId("v2");
  request.value = testing::TextValue("two");
  request.kms_key_id = key;
  request.description = "moved";
  const uint64_t txn = service_->GetHealth().last_txn;
  ASSERT_TRUE(service_->UpdateSecret(store_.caller, std::move(request)));
  EXPECT_EQ(service_->GetHealth().last_txn, txn + 1);
  EXPECT_EQ(Get("a"), "two");
  EXPECT_EQ(Get("a", {{}, "AWSPREVIOUS"}), "one");
  EXPECT_EQ(Metadata("a")->description, "moved");
  for (const Version& version : Metadata("a")->versions) EXPECT_EQ(KeyOf(version), key);
}

TEST_F(KmsSecretsTest, AnEnvelopeOfAnotherSecretOrVersionDoesNotOpen) {
  const std::string key = CreateKey();
  ASSERT_TRUE(CreateUnder("a", "v1", "aaaa", key));
  ASSERT_TRUE(Put("a", "v2", "AAAA"));
  ASSERT_TRUE(CreateUnder("b", "v1", "bbbb", key));
  const SelectorId older = Metadata("a")->versions[0].number;
  const SelectorId current = Metadata("a")->versions[1].number;
  const SelectorId others = Metadata("b")->versions[0].number;
  const StoreHeader header = service_->header();
  service_.reset();
  {
    auto env = Env::Open(store_.path(), Env::Mode::kOpen).value();
    const auto store_key =
        store_.root_key->Unwrap(header.wrapped_store_key, StoreKeyPurpose(header.store_id));
    SecretStore records(*env, StoreKeys(*store_key), header.realm, store_.random);
    ASSERT_TRUE(records.Load());
    Bytes of_older;
    Bytes of_others;
    ASSERT_TRUE(records.LoadEnvelope(older, of_older).value());
    ASSERT_TRUE(records.LoadEnvelope(others, of_others).value());
    auto mutation = records.Begin().value();
    ASSERT_TRUE(mutation->PutEnvelope(current, of_others));
    ASSERT_TRUE(mutation->PutEnvelope(others, of_older));
    ASSERT_TRUE(mutation->Commit());
  }
  service_ = store_.Open();
  EXPECT_EQ(CodeOfGet("a"), Code::kCorrupt);
  EXPECT_EQ(CodeOfGet("b"), Code::kCorrupt);
  EXPECT_EQ(Get("a", {VersionId("v1"), {}}), "aaaa");
}

TEST_F(KmsSecretsTest, AnOldEnvelopeDoesNotOpenAfterAMoveToAnotherKey) {
  const std::string a = CreateKey();
  const std::string b = CreateKey();
  ASSERT_TRUE(CreateUnder("s", "v1", "one", a));
  const SelectorId number = Metadata("s")->versions[0].number;
  const StoreHeader header = service_->header();
  // Reads the envelope, or writes another in its place.
  const auto exchange = [&](const Bytes* replacement) {
    service_.reset();
    Bytes envelope;
    {
      auto env = Env::Open(store_.path(), Env::Mode::kOpen).value();
      const auto store_key =
          store_.root_key->Unwrap(header.wrapped_store_key, StoreKeyPurpose(header.store_id));
      SecretStore records(*env, StoreKeys(*store_key), header.realm, store_.random);
      EXPECT_TRUE(records.Load());
      EXPECT_TRUE(records.LoadEnvelope(number, envelope).value());
      if (replacement != nullptr) {
        auto mutation = records.Begin().value();
        EXPECT_TRUE(mutation->PutEnvelope(number, *replacement));
        EXPECT_TRUE(mutation->Commit());
      }
    }
    service_ = store_.Open();
    return envelope;
  };
  const Bytes under_a = exchange(nullptr);
  ASSERT_TRUE(Move("s", b));
  exchange(&under_a);
  EXPECT_EQ(CodeOfGet("s"), Code::kCorrupt);
  EXPECT_EQ(CodeOfRead("s"), Code::kCorrupt);
  EXPECT_EQ(Move("s", "").error().code, Code::kCorrupt);
  ASSERT_EQ(Disable(b), "ok");
  EXPECT_EQ(CodeOfGet("s"), Code::kCorrupt);
}

// What a write encrypted is out of date when its transaction begins.
class KmsSecretRaceTest : public KmsSecretsTest {
 protected:
  // The nonce of a value is the last that a write draws, the nonce of a data key that a move does.
  static constexpr size_t kWrite = crypto::kGcmNonceBytes;
  static constexpr size_t kMove = crypto::kXaesNonceBytes;

  KmsSecretRaceTest() {
    service_.reset();
    SecretService::Options options;
    options.directory = store_.path();
    service_ =
        SecretService::Open(options, *store_.root_key, nullptr, store_.clock, random_).value();
  }
  ~KmsSecretRaceTest() override {
    EXPECT_TRUE(random_.was_interrupted());
    service_.reset();
  }

  InterruptedRandom random_;
};

TEST_F(KmsSecretRaceTest, APutDoesNotUndoAMove) {
  const std::string a = CreateKey();
  const std::string b = CreateKey();
  ASSERT_TRUE(CreateUnder("s", "v1", "one", a));
  random_.InterruptAt(kWrite, [&] { ASSERT_TRUE(Move("s", b)); });
  ASSERT_TRUE(Put("s", "v2", "two"));
  const SecretPtr secret = Metadata("s");
  EXPECT_EQ(secret->kms_key_id, b);
  EXPECT_EQ(crypto::FormatUuid(secret->kms_key), b);
  for (const Version& version : secret->versions) EXPECT_EQ(KeyOf(version), b) << version.id;
  EXPECT_EQ(Schedule(a, 7, false), "ok");
  EXPECT_EQ(Get("s"), "two");
}

TEST_F(KmsSecretRaceTest, AnUpdateOfTheValueDoesNotUndoAMove) {
  const std::string a = CreateKey();
  const std::string b = CreateKey();
  ASSERT_TRUE(CreateUnder("s", "v1", "one", a));
  random_.InterruptAt(kWrite, [&] { ASSERT_TRUE(Move("s", b)); });
  UpdateRequest request;
  request.secret_id = "s";
  request.client_request_token = VersionId("v2");
  request.value = testing::TextValue("two");
  ASSERT_TRUE(service_->UpdateSecret(store_.caller, std::move(request)));
  EXPECT_EQ(Metadata("s")->kms_key_id, b);
  EXPECT_EQ(KeyOf(Metadata("s")->versions[1]), b);
}

TEST_F(KmsSecretRaceTest, APutThatExpectsAnotherVersionStaysAConflict) {
  const std::string a = CreateKey();
  ASSERT_TRUE(CreateUnder("s", "v1", "one", a));
  random_.InterruptAt(kWrite, [&] { ASSERT_TRUE(Put("s", "v2", "two")); });
  EXPECT_EQ(Put("s", "v3", "three", {}, VersionId("v1")).error().code, Code::kConflict);
  EXPECT_EQ(Get("s"), "two");
}

TEST_F(KmsSecretRaceTest, ACreateUnderAKeyThatEndsIsRefused) {
  const std::string key = CreateKey();
  std::string scheduled;
  random_.InterruptAt(kWrite, [&] { scheduled = Schedule(key, 7, false); });
  EXPECT_EQ(CreateUnder("s", "v1", "one", key).error().code, Code::kCannotEncrypt);
  EXPECT_EQ(scheduled, "ok");
  EXPECT_EQ(CodeOfGet("s"), Code::kNotFound);
}

TEST_F(KmsSecretRaceTest, APutUnderAKeyThatIsDisabledIsRefused) {
  const std::string key = CreateKey();
  ASSERT_TRUE(CreateUnder("s", "v1", "one", key));
  random_.InterruptAt(kWrite, [&] { EXPECT_EQ(Disable(key), "ok"); });
  EXPECT_EQ(CodeOfPut("s", "v2"), Code::kCannotEncrypt);
  EXPECT_EQ(Metadata("s")->versions.size(), 1u);
}

TEST_F(KmsSecretRaceTest, AMoveToAKeyThatEndsIsRefused) {
  const std::string key = CreateKey();
  ASSERT_TRUE(Create("s", "v1", "one"));
  std::string scheduled;
  random_.InterruptAt(kMove, [&] { scheduled = Schedule(key, 7, false); });
  EXPECT_EQ(Move("s", key).error().code, Code::kCannotEncrypt);
  EXPECT_EQ(scheduled, "ok");
  EXPECT_EQ(Get("s"), "one");
}

TEST_F(KmsSecretRaceTest, ASecretThatIsMarkedForDeletionDoesNotMove) {
  const std::string key = CreateKey();
  ASSERT_TRUE(Create("s", "v1", "one"));
  random_.InterruptAt(kMove, [&] { ASSERT_TRUE(Delete("s", false)); });
  EXPECT_EQ(Move("s", key).error().code, Code::kFailedPrecondition);
  EXPECT_EQ(Metadata("s")->kms_key_id, "");
}

TEST_F(KmsSecretRaceTest, AMoveDoesNotGoOnWithASecretThatWasCreatedAnew) {
  const std::string key = CreateKey();
  ASSERT_TRUE(Create("s", "v1", "one"));
  random_.InterruptAt(kMove, [&] {
    ASSERT_TRUE(Delete("s", true));
    ASSERT_TRUE(Create("s", "v1", "another's"));
  });
  EXPECT_EQ(Move("s", key).error().code, Code::kNotFound);
  EXPECT_EQ(Metadata("s")->kms_key_id, "");
}

TEST_F(KmsSecretsTest, BothTheSecretAndItsKeyMustAllow) {
  // Allows everything but decryption under one key.
  class NoDecrypt final : public Authorizer {
   public:
    explicit NoDecrypt(std::string resource) : resource_(std::move(resource)) {}
    Decision Decide(const AccessRequest& request) const override {
      const bool of_key = request.resource == resource_;
      return {!of_key || request.action != Action::kKmsDecrypt, "a test's rule"};
    }

   private:
    std::string resource_;
  };
  const std::string key = CreateKey();
  ASSERT_TRUE(CreateUnder("a", "v1", "one", key));
  ASSERT_TRUE(Create("b", "v1", "two"));
  service_.reset();
  SecretService::Options options;
  options.directory = store_.path();
  service_ = SecretService::Open(options, *store_.root_key, std::make_unique<NoDecrypt>(ArnOf(key)),
                                 store_.clock, store_.random)
                 .value();
  EXPECT_EQ(Get("a"), "error: Access to KMS is not allowed");
  EXPECT_EQ(CodeOfOpen("a"), Code::kPermissionDenied);
  EXPECT_EQ(CodeOfRead("a"), Code::kPermissionDenied);
  EXPECT_FALSE(service_->May(store_.owner, Action::kGetSecretValue, *Metadata("a")));
  EXPECT_EQ(Get("b"), "two");
  EXPECT_EQ(Move("b", key).error().code, Code::kPermissionDenied);
  EXPECT_EQ(Move("a", "").error().code, Code::kPermissionDenied);
  EXPECT_TRUE(Put("a", "v2", "three"));                                      // Write-only.
  EXPECT_EQ(Put("a", "v2", "three").error().code, Code::kPermissionDenied);  // Compares.
}

}  // namespace
}  // namespace secretfs::store
