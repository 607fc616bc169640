// Random sequences of operations against a model in memory, and every state against every operation
// at the door.

#include <map>
#include <random>

#include "tests/store/kms_fixture.h"

namespace secretfs::store {
namespace {

class KmsModelTest : public KmsTest {
 protected:
  // What the model knows of a key.
  struct Key {
    std::string id;
    KeyState state = KeyState::kEnabled;
    TimeMs deletion_at = 0;
    int rotations = 0;
  };
  // What it knows of something encrypted.
  struct Text {
    size_t key = 0;
    std::string text;
    ContextMap context;
    Bytes blob;
  };

  size_t Pick(size_t count) { return random_() % count; }
  Key& PickKey() { return keys_[Pick(keys_.size())]; }

  // The error of an operation that wants an enabled key; "ok" if it is one.
  static std::string IfEnabled(const Key& key) {
    switch (key.state) {
      case KeyState::kEnabled:
        return "ok";
      case KeyState::kDisabled:
        return "DisabledException";
      default:
        return "KMSInvalidStateException";
    }
  }

  void MakeKey() { keys_.push_back({CreateKey()}); }
  void Switch(bool on) {
    Key& key = PickKey();
    const bool allowed = key.state != KeyState::kPendingDeletion;
    EXPECT_EQ(on ? Enable(key.id) : Disable(key.id), allowed ? "ok" : "KMSInvalidStateException");
    if (allowed) key.state = on ? KeyState::kEnabled : KeyState::kDisabled;
  }
  void DoSchedule() {
    Key& key = PickKey();
    const auto days = static_cast<int64_t>(7 + Pick(24));
    const bool allowed = key.state != KeyState::kPendingDeletion;
    EXPECT_EQ(Schedule(key.id, days), allowed ? "ok" : "KMSInvalidStateException");
    if (!allowed) return;
    key.state = KeyState::kPendingDeletion;
    key.deletion_at = store_.clock.NowMs() + days * kMsPerDay;
  }
  void DoCancel() {
    Key& key = PickKey();
    const bool allowed = key.state == KeyState::kPendingDeletion;
    EXPECT_EQ(Cancel(key.id), allowed ? "ok" : "KMSInvalidStateException");
    if (allowed) key.state = KeyState::kDisabled;
  }
  void DoRotate() {
    Key& key = PickKey();
    std::string expected = IfEnabled(key);
    if (expected == "ok" && key.rotations == 25) expected = "LimitExceededException";
    EXPECT_EQ(Outcome(kms().RotateKeyOnDemand(store_.caller, {key.id, ""})), expected);
    if (expected == "ok") ++key.rotations;
  }
  void DoEncrypt() {
    Text text;
    text.key = Pick(keys_.size());
    text.text = "text " + std::to_string(random_());
    if (Pick(2) == 0) text.context["n"] = std::to_string(Pick(5));
    auto encrypted = Encrypt(keys_[text.key].id, text.text, text.context);
    EXPECT_EQ(Outcome(encrypted), IfEnabled(keys_[text.key]));
    if (!encrypted) return;
    text.blob = encrypted->ciphertext_blob;
    texts_.push_back(std::move(text));
  }
  void DoDecrypt(const Text& text) {
    auto decrypted = Decrypt(text.blob, text.context);
    ASSERT_EQ(Outcome(decrypted), IfEnabled(keys_[text.key]));
    if (!decrypted) return;
    EXPECT_EQ(testing::Text(decrypted->plaintext), text.text);
  }
  void DoSecret() {
    const size_t key = Pick(keys_.size());
    const std::string name = "s" + std::to_string(secrets_.size());
    auto made = CreateUnder(name, "v1", name, keys_[key].id);
    EXPECT_EQ(made.has_value(), keys_[key].state == KeyState::kEnabled);
    if (made) secrets_[name] = key;
  }
  void DoMove() {
    if (secrets_.empty()) return;
    auto& [name, key] = *std::next(secrets_.begin(), static_cast<long>(Pick(secrets_.size())));
    const size_t target = Pick(keys_.size());
    UpdateRequest request;
    request.secret_id = name;
    request.kms_key_id = keys_[target].id;
    const bool allowed =
        keys_[key].state == KeyState::kEnabled && keys_[target].state == KeyState::kEnabled;
    EXPECT_EQ(service_->UpdateSecret(store_.caller, std::move(request)).has_value(), allowed);
    if (allowed) key = target;
  }
  void DoPassTime() {
    store_.clock.Advance(static_cast<TimeMs>(Pick(10)) * kMsPerDay);
    ASSERT_TRUE(service_->PurgeExpired());
    std::vector<size_t> gone;
    for (size_t i = 0; i < keys_.size(); ++i) {
      if (keys_[i].state == KeyState::kPendingDeletion &&
          keys_[i].deletion_at <= store_.clock.NowMs()) {
        gone.push_back(i);
      }
    }
    for (const size_t i : gone) {
      EXPECT_EQ(Outcome(kms().DescribeKey(store_.caller, {keys_[i].id, {}, ""})),
                "NotFoundException");
      for (const Text& text : texts_) {
        if (text.key != i) continue;
        EXPECT_EQ(Outcome(Decrypt(text.blob, text.context)), "InvalidCiphertextException");
      }
      std::erase_if(texts_, [&](const Text& text) { return text.key == i; });
      std::erase_if(secrets_, [&](const auto& secret) {
        if (secret.second != i) return false;
        EXPECT_TRUE(Get(secret.first).starts_with("error: ")) << secret.first;
        EXPECT_TRUE(Delete(secret.first, true));
        return true;
      });
      // A new key takes its place in the model.
      keys_[i] = {CreateKey()};
    }
  }
  void CheckAll() {
    for (const Key& key : keys_) EXPECT_EQ(StateOf(key.id), key.state);
    for (const Text& text : texts_) DoDecrypt(text);
    for (const auto& [name, key] : secrets_) {
      const bool readable = keys_[key].state == KeyState::kEnabled;
      EXPECT_EQ(Get(name) == name, readable) << name;
    }
  }

  std::mt19937 random_{42};
  std::vector<Key> keys_;
  std::vector<Text> texts_;
  std::map<std::string, size_t> secrets_;
};

TEST_F(KmsModelTest, RandomOperationsDoWhatTheModelSays) {
  for (int i = 0; i < 4; ++i) MakeKey();
  for (int step = 0; step < 600; ++step) {
    SCOPED_TRACE("step " + std::to_string(step));
    switch (Pick(12)) {
      case 0:
      case 1:
        Switch(true);
        break;
      case 2:
        Switch(false);
        break;
      case 3:
        DoSchedule();
        break;
      case 4:
        DoCancel();
        break;
      case 5:
        DoRotate();
        break;
      case 6:
      case 7:
        DoEncrypt();
        break;
      case 8:
        if (!texts_.empty()) DoDecrypt(texts_[Pick(texts_.size())]);
        break;
      case 9:
        DoSecret();
        break;
      case 10:
        DoMove();
        break;
      default:
        if (Pick(5) == 0) DoPassTime();
        break;
    }
    if (step % 50 == 49) CheckAll();
    if (step % 100 == 99) Reopen();
    if (HasFailure()) return;
  }
  CheckAll();
}

// --- every operation in every state that a key can come to, at the door

class KmsStatesTest : public KmsTest {
 protected:
  // A fresh key of this kind in this state.
  std::string KeyIn(KeyState state, crypto::KeySpec spec, crypto::KeyUsage usage,
                    KeyOrigin origin) {
    CreateKeyRequest request;
    request.key_spec = spec;
    request.key_usage = usage;
    request.origin = origin;
    const std::string key = CreateKey(request);
    if (state == KeyState::kDisabled) {
      EXPECT_EQ(Disable(key), "ok");
    } else if (state == KeyState::kPendingDeletion) {
      EXPECT_EQ(Schedule(key, 7), "ok");
    }
    return key;
  }

  using Run = std::function<std::string(const std::string& key)>;
  struct Operation {
    Action action;
    crypto::KeySpec spec;
    crypto::KeyUsage usage;
    Run run;
  };
  std::vector<Operation> Operations() {
    std::vector<Operation> all = OnData();
    for (Operation& operation : OnTheKey()) all.push_back(std::move(operation));
    for (Operation& operation : OnItsMaterial()) all.push_back(std::move(operation));
    return all;
  }
  std::vector<Operation> OnData();
  std::vector<Operation> OnTheKey();
  std::vector<Operation> OnItsMaterial();
};

constexpr auto kSymmetric = crypto::KeySpec::kSymmetricDefault;
constexpr auto kP256 = crypto::KeySpec::kEccNistP256;

std::vector<KmsStatesTest::Operation> KmsStatesTest::OnData() {
  using A = Action;
  const Caller& who = store_.caller;
  std::vector<Operation> all;
  const auto add = [&](A action, const Run& run) {
    all.push_back({action, kSymmetric, crypto::KeyUsage::kEncryptDecrypt, run});
  };
  add(A::kKmsEncrypt, [=, this](const std::string& key) { return Outcome(Encrypt(key, "x")); });
  add(A::kKmsGenerateDataKey, [=, this](const std::string& key) {
    return Outcome(kms().GenerateDataKey(who, {key, {}, DataKeySpec::kAes256, {}, {}}));
  });
  add(A::kKmsGenerateDataKeyWithoutPlaintext, [=, this](const std::string& key) {
    return Outcome(
        kms().GenerateDataKeyWithoutPlaintext(who, {key, {}, DataKeySpec::kAes256, {}, {}}));
  });
  add(A::kKmsGenerateDataKeyPair, [=, this](const std::string& key) {
    return Outcome(kms().GenerateDataKeyPair(who, {key, {}, kP256, {}}));
  });
  add(A::kKmsGenerateDataKeyPairWithoutPlaintext, [=, this](const std::string& key) {
    return Outcome(kms().GenerateDataKeyPairWithoutPlaintext(who, {key, {}, kP256, {}}));
  });
  const auto sign = [=, this](const std::string& key) {
    return Outcome(kms().Sign(
        who, {key, {1}, crypto::MessageType::kRaw, crypto::SigningAlgorithm::kEcdsaSha256, {}}));
  };
  all.push_back({A::kKmsSign, kP256, crypto::KeyUsage::kSignVerify, sign});
  const auto show = [=, this](const std::string& key) {
    return Outcome(kms().GetPublicKey(who, {key, {}, ""}));
  };
  all.push_back({A::kKmsGetPublicKey, kP256, crypto::KeyUsage::kSignVerify, show});
  const auto mac = [=, this](const std::string& key) {
    return Outcome(kms().GenerateMac(who, {key, {1}, crypto::MacAlgorithm::kHmacSha256, {}, {}}));
  };
  all.push_back(
      {A::kKmsGenerateMac, crypto::KeySpec::kHmac256, crypto::KeyUsage::kGenerateVerifyMac, mac});
  return all;
}

std::vector<KmsStatesTest::Operation> KmsStatesTest::OnTheKey() {
  using A = Action;
  const Caller& who = store_.caller;
  std::vector<Operation> all;
  const auto add = [&](A action, const Run& run) {
    all.push_back({action, kSymmetric, crypto::KeyUsage::kEncryptDecrypt, run});
  };
  add(A::kKmsCancelKeyDeletion, [=, this](const std::string& key) { return Cancel(key); });
  add(A::kKmsCreateAlias, [=, this](const std::string& key) { return Alias("alias/" + key, key); });
  add(A::kKmsTagResource, [=, this](const std::string& key) {
    return Outcome(kms().TagResource(who, {key, {{"a", "b"}}, {}, ""}));
  });
  add(A::kKmsUntagResource, [=, this](const std::string& key) {
    return Outcome(kms().UntagResource(who, {key, {}, {"a"}, ""}));
  });
  add(A::kKmsUpdateKeyDescription, [=, this](const std::string& key) {
    return Outcome(kms().UpdateKeyDescription(who, {key, "x", ""}));
  });
  add(A::kKmsCreateGrant, [=, this](const std::string& key) {
    CreateGrantRequest request;
    request.key_id = key;
    request.grantee_principal = "arn:x";
    request.operations = {GrantOperation::kDescribeKey};
    return Outcome(kms().CreateGrant(who, request));
  });
  add(A::kKmsDescribeKey,
      [=, this](const std::string& key) { return Outcome(kms().DescribeKey(who, {key, {}, ""})); });
  add(A::kKmsGetKeyPolicy, [=, this](const std::string& key) {
    return Outcome(kms().GetKeyPolicy(who, {key, "default", ""}));
  });
  add(A::kKmsPutKeyPolicy, [=, this](const std::string& key) {
    const std::string policy = kms().GetKeyPolicy(who, {key, "default", ""}).value();
    return Outcome(kms().PutKeyPolicy(who, {key, "default", policy, false, ""}));
  });
  add(A::kKmsListAliases,
      [=, this](const std::string& key) { return Outcome(kms().ListAliases(who, {key, {}, ""})); });
  add(A::kKmsListGrants, [=, this](const std::string& key) {
    return Outcome(kms().ListGrants(who, {key, "", "", {}, ""}));
  });
  add(A::kKmsListKeyPolicies, [=, this](const std::string& key) {
    return Outcome(kms().ListKeyPolicies(who, {key, {}, ""}));
  });
  add(A::kKmsListResourceTags, [=, this](const std::string& key) {
    return Outcome(kms().ListResourceTags(who, {key, {}, ""}));
  });
  add(A::kKmsGetKeyLastUsage,
      [=, this](const std::string& key) { return Outcome(kms().GetKeyLastUsage(who, {key, ""})); });
  add(A::kKmsDisableKey, [=, this](const std::string& key) { return Disable(key); });
  add(A::kKmsEnableKey, [=, this](const std::string& key) { return Enable(key); });
  add(A::kKmsScheduleKeyDeletion, [=, this](const std::string& key) { return Schedule(key, 7); });
  return all;
}

std::vector<KmsStatesTest::Operation> KmsStatesTest::OnItsMaterial() {
  using A = Action;
  const Caller& who = store_.caller;
  std::vector<Operation> all;
  const auto add = [&](A action, const Run& run) {
    all.push_back({action, kSymmetric, crypto::KeyUsage::kEncryptDecrypt, run});
  };
  add(A::kKmsListKeyRotations, [=, this](const std::string& key) {
    return Outcome(kms().ListKeyRotations(who, {key, false, {}, ""}));
  });
  add(A::kKmsEnableKeyRotation, [=, this](const std::string& key) {
    return Outcome(kms().EnableKeyRotation(who, {key, {}, ""}));
  });
  add(A::kKmsDisableKeyRotation, [=, this](const std::string& key) {
    return Outcome(kms().DisableKeyRotation(who, {key, ""}));
  });
  add(A::kKmsGetKeyRotationStatus, [=, this](const std::string& key) {
    return Outcome(kms().GetKeyRotationStatus(who, {key, ""}));
  });
  add(A::kKmsGetParametersForImport, [=, this](const std::string& key) {
    return Outcome(kms().GetParametersForImport(
        who, {key,
              {crypto::WrappingAlgorithm::kRsaesOaepSha256, crypto::WrappingKeySpec::kRsa2048},
              ""}));
  });
  add(A::kKmsDeleteImportedKeyMaterial, [=, this](const std::string& key) {
    return Outcome(kms().DeleteImportedKeyMaterial(who, {key, "", ""}));
  });
  return all;
}

TEST_F(KmsStatesTest, TheDoorAnswersAsTheTableSays) {
  int cells = 0;
  for (const Operation& operation : Operations()) {
    for (const KeyState state : {KeyState::kEnabled, KeyState::kDisabled,
                                 KeyState::kPendingDeletion, KeyState::kPendingImport}) {
      for (const KeyOrigin origin : {KeyOrigin::kAwsKms, KeyOrigin::kExternal}) {
        // Without imported material these are the combinations that a key comes to.
        const bool waits = state == KeyState::kPendingImport;
        const bool external = origin == KeyOrigin::kExternal;
        if (external ? !waits && state != KeyState::kPendingDeletion : waits) continue;
        SCOPED_TRACE(std::string(ActionName(operation.action)) + " while " +
                     std::string(KeyStateName(state)) + ", " + std::string(KeyOriginName(origin)));
        const std::string key = KeyIn(state, operation.spec, operation.usage, origin);
        const Status expected =
            CheckKeyState(Describe(key), operation.action, store_.clock.NowMs());
        EXPECT_EQ(operation.run(key), expected ? "ok" : NameOf(expected.error().code));
        ++cells;
      }
    }
  }
  EXPECT_EQ(cells, 31 * 5);
}

}  // namespace
}  // namespace secretfs::store
