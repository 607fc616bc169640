// What happens to keys over time: rotation, import, grants.

#include <algorithm>

#include "tests/crypto/oaep_wrapping.h"
#include "tests/store/kms_fixture.h"

namespace secretfs::store {
namespace {

using crypto::KeySpec;
using crypto::KeyUsage;

class KmsLifeTest : public KmsTest {
 protected:
  std::string Rotate(const std::string& key) {
    return Outcome(kms().RotateKeyOnDemand(store_.caller, {key, ""}));
  }
  std::vector<KeyRotation> Rotations(const std::string& key, bool all = false) {
    return kms().ListKeyRotations(store_.caller, {key, all, {}, ""})->entries;
  }
  std::string MaterialOf(const Bytes& blob) {
    return ToHex(crypto::ReadBlobOrigin(blob)->material);
  }

  struct Import {
    crypto::SecretBuffer material;
    std::optional<TimeMs> valid_to;
    std::optional<ImportType> type;
    std::string material_id;
  };
  Result<ImportedKeyMaterial> ImportInto(const std::string& key, const Import& import) {
    ParametersForImportRequest ask;
    ask.key_id = key;
    ask.wrapping = {crypto::WrappingAlgorithm::kRsaesOaepSha256, crypto::WrappingKeySpec::kRsa2048};
    auto parameters = kms().GetParametersForImport(store_.caller, ask);
    if (!parameters) return std::unexpected(parameters.error());
    ImportKeyMaterialRequest request;
    request.key_id = key;
    request.import_token = parameters->import_token;
    request.encrypted_key_material =
        testing::WrapWithOaepSha256(parameters->public_key, import.material.Reveal());
    request.valid_to = import.valid_to;
    request.expires = import.valid_to.has_value();
    request.import_type = import.type;
    request.key_material_id = import.material_id;
    return kms().ImportKeyMaterial(store_.caller, request);
  }
  static crypto::SecretBuffer MaterialOf(uint8_t byte) {
    return crypto::SecretBuffer::CopyOf(Bytes(32, byte));
  }
  CreateGrantRequest GrantFor(const std::string& key) {
    CreateGrantRequest request;
    request.key_id = key;
    request.grantee_principal = stranger_.arn;
    request.operations = {GrantOperation::kEncrypt, GrantOperation::kDecrypt};
    return request;
  }
};

// --- rotation

TEST_F(KmsLifeTest, ARotatedKeyDecryptsWhatItEverEncrypted) {
  const std::string key = CreateKey();
  std::vector<Bytes> blobs;
  for (int i = 0; i < 4; ++i) {
    blobs.push_back(Encrypt(key, "text " + std::to_string(i))->ciphertext_blob);
    store_.clock.Advance(1000);
    ASSERT_EQ(Rotate(key), "ok");
  }
  for (int round = 0; round < 2; ++round) {
    for (size_t i = 0; i < blobs.size(); ++i) {
      EXPECT_EQ(DecryptText(blobs[i]), "text " + std::to_string(i));
      for (size_t j = 0; j < i; ++j) EXPECT_NE(MaterialOf(blobs[i]), MaterialOf(blobs[j]));
    }
    Reopen();
  }
  const auto rotations = Rotations(key);
  ASSERT_EQ(rotations.size(), 4u);
  EXPECT_EQ(rotations[3].rotation, RotationType::kOnDemand);
  EXPECT_EQ(rotations[3].rotated_at, store_.clock.NowMs());
  EXPECT_EQ(rotations[3].state, MaterialState::kCurrent);
  EXPECT_TRUE(rotations[3].wrapped.empty());
  EXPECT_EQ(Rotations(key, true).size(), 5u);
  ListKeyRotationsRequest request{key, true, {2, ""}, ""};
  size_t listed = 0;
  do {
    auto page = kms().ListKeyRotations(store_.caller, request);
    listed += page->entries.size();
    request.page.marker = page->next_marker;
  } while (!request.page.marker.empty());
  EXPECT_EQ(listed, 5u);
}

TEST_F(KmsLifeTest, RotationOnDemandHasItsLimitAndItsStates) {
  const std::string key = CreateKey();
  for (int i = 0; i < 25; ++i) ASSERT_EQ(Rotate(key), "ok");
  EXPECT_EQ(Rotate(key), "LimitExceededException");
  Disable(key);
  EXPECT_EQ(Rotate(key), "DisabledException");
  EXPECT_EQ(Rotate(CreateKey(KeySpec::kHmac256, KeyUsage::kGenerateVerifyMac)),
            "UnsupportedOperationException");
}

TEST_F(KmsLifeTest, RotationRunsByTheClock) {
  const std::string key = CreateKey();
  ASSERT_TRUE(CreateUnder("a", "v1", "one", key));
  const Bytes first = Encrypt(key, "first")->ciphertext_blob;
  const auto enable = [&](std::optional<int64_t> days) {
    return Outcome(kms().EnableKeyRotation(store_.caller, {key, days, ""}));
  };
  for (const int64_t bad : {89, 2561}) EXPECT_EQ(enable(bad), "ValidationException");
  EXPECT_EQ(enable({}), "ok");
  EXPECT_EQ(kms().GetKeyRotationStatus(store_.caller, {key, ""})->period_in_days, 365);
  EXPECT_EQ(enable(90), "ok");
  const TimeMs due = store_.clock.NowMs() + 90 * kMsPerDay;
  EXPECT_EQ(kms().GetKeyRotationStatus(store_.caller, {key, ""})->next_rotation, due);
  store_.clock.Set(due - 1);
  ASSERT_TRUE(service_->PurgeExpired());
  EXPECT_TRUE(Rotations(key).empty());
  // On demand does not move the schedule.
  ASSERT_EQ(Rotate(key), "ok");
  Reopen();
  store_.clock.Set(due);
  ASSERT_TRUE(service_->PurgeExpired());
  ASSERT_EQ(Rotations(key).size(), 2u);
  EXPECT_EQ(Rotations(key)[1].rotation, RotationType::kAutomatic);
  EXPECT_EQ(kms().GetKeyRotationStatus(store_.caller, {key, ""})->next_rotation,
            due + 90 * kMsPerDay);
  EXPECT_EQ(DecryptText(first), "first");
  EXPECT_EQ(Get("a"), "one");
  EXPECT_NE(MaterialOf(Encrypt(key, "x")->ciphertext_blob), MaterialOf(first));
  ASSERT_TRUE(service_->PurgeExpired());
  EXPECT_EQ(Rotations(key).size(), 2u);
  // While it is disabled nothing rotates; then it catches up, once.
  Disable(key);
  store_.clock.Advance(300 * kMsPerDay);
  ASSERT_TRUE(service_->PurgeExpired());
  EXPECT_EQ(Rotations(key).size(), 2u);
  Enable(key);
  ASSERT_TRUE(service_->PurgeExpired());
  EXPECT_EQ(Rotations(key).size(), 3u);
  EXPECT_EQ(kms().GetKeyRotationStatus(store_.caller, {key, ""})->next_rotation,
            due + 360 * kMsPerDay);
  ASSERT_TRUE(kms().DisableKeyRotation(store_.caller, {key, ""}));
  EXPECT_FALSE(kms().GetKeyRotationStatus(store_.caller, {key, ""})->enabled);
  store_.clock.Advance(300 * kMsPerDay);
  ASSERT_TRUE(service_->PurgeExpired());
  EXPECT_EQ(Rotations(key).size(), 3u);
  size_t recorded = 0;
  for (const AuditEvent& event : Events()) recorded += event.action == Action::kKmsRotateKey;
  // And the key of secrets, each year.
  EXPECT_GE(recorded, 2u);
}

TEST_F(KmsLifeTest, TheKeyOfSecretsRotatesEachYear) {
  ASSERT_TRUE(Create("a", "v1", "one"));
  store_.clock.Advance(365 * kMsPerDay);
  ASSERT_TRUE(service_->PurgeExpired());
  ASSERT_TRUE(Put("a", "v2", "two"));
  Reopen();
  EXPECT_EQ(Get("a"), "two");
  EXPECT_EQ(Get("a", {{}, "AWSPREVIOUS"}), "one");
  EXPECT_EQ(Rotations(crypto::FormatUuid(Describe("alias/aws/secretsmanager").id)).size(), 1u);
}

// --- import

TEST_F(KmsLifeTest, AnImportedKeyWorksFromItsImportOn) {
  const std::string key = CreateExternalKey();
  EXPECT_EQ(StateOf(key), KeyState::kPendingImport);
  EXPECT_EQ(Encrypt(key, "x").error().message, ArnOf(key) + " is pending import.");
  EXPECT_EQ(Enable(key), "KMSInvalidStateException");
  EXPECT_EQ(Outcome(kms().EnableKeyRotation(store_.caller, {key, {}, ""})),
            "UnsupportedOperationException");
  auto imported = ImportInto(key, {MaterialOf(0x11), {}, {}, ""});
  ASSERT_TRUE(imported) << imported.error().message;
  Reopen();
  EXPECT_EQ(StateOf(key), KeyState::kEnabled);
  const Bytes blob = Encrypt(key, "text")->ciphertext_blob;
  EXPECT_EQ(imported->key_material_id, MaterialOf(blob));
  ASSERT_TRUE(CreateUnder("a", "v1", "one", key));
  // Deleted, and brought again: the same material, and no other.
  ASSERT_TRUE(kms().DeleteImportedKeyMaterial(store_.caller, {key, "", ""}));
  EXPECT_EQ(StateOf(key), KeyState::kPendingImport);
  EXPECT_EQ(Outcome(Decrypt(blob)), "KMSInvalidStateException");
  EXPECT_TRUE(Get("a").starts_with("error"));
  EXPECT_EQ(Outcome(ImportInto(key, {MaterialOf(0x12), {}, {}, ""})),
            "IncorrectKeyMaterialException");
  EXPECT_EQ(Outcome(ImportInto(key, {MaterialOf(0x11), {}, {}, std::string(64, 'a')})),
            "IncorrectKeyMaterialException");
  EXPECT_EQ(Outcome(ImportInto(key, {MaterialOf(0x11), {}, {}, imported->key_material_id})), "ok");
  EXPECT_EQ(StateOf(key), KeyState::kEnabled);
  EXPECT_EQ(DecryptText(blob), "text");
  EXPECT_EQ(Get("a"), "one");
}

TEST_F(KmsLifeTest, ImportedMaterialEndsAtItsTime) {
  const std::string key = CreateExternalKey();
  const TimeMs now = store_.clock.NowMs();
  EXPECT_EQ(Outcome(ImportInto(key, {MaterialOf(1), now, {}, ""})), "ValidationException");
  EXPECT_EQ(Outcome(ImportInto(key, {MaterialOf(1), now + 366 * kMsPerDay, {}, ""})),
            "ValidationException");
  ASSERT_TRUE(ImportInto(key, {MaterialOf(1), now + 1000, {}, ""}));
  EXPECT_EQ(Describe(key).ValidTo(), now + 1000);
  ASSERT_TRUE(CreateUnder("a", "v1", "one", key));
  const Bytes blob = Encrypt(key, "text")->ciphertext_blob;
  store_.clock.Advance(999);
  EXPECT_EQ(DecryptText(blob), "text");
  EXPECT_EQ(Get("a"), "one");
  // To the millisecond, whether or not upkeep has run.
  store_.clock.Advance(1);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Outcome(Decrypt(blob)), "KMSInvalidStateException");
    EXPECT_TRUE(Get("a").starts_with("error"));
    EXPECT_EQ(StateOf(key), KeyState::kPendingImport);
    ASSERT_TRUE(service_->PurgeExpired());
  }
  EXPECT_TRUE(Describe(key).materials[0].wrapped.empty());
  ASSERT_TRUE(ImportInto(key, {MaterialOf(1), {}, {}, ""}));
  EXPECT_EQ(Get("a"), "one");
  size_t recorded = 0;
  for (const AuditEvent& event : Events()) {
    recorded += event.action == Action::kKmsExpireKeyMaterial;
  }
  EXPECT_EQ(recorded, 1u);
}

TEST_F(KmsLifeTest, NewImportedMaterialWaitsForItsRotation) {
  const std::string key = CreateExternalKey();
  ASSERT_TRUE(ImportInto(key, {MaterialOf(1), {}, {}, ""}));
  EXPECT_EQ(Rotate(key), "KMSInvalidStateException");
  const Bytes old_blob = Encrypt(key, "old")->ciphertext_blob;
  auto next = ImportInto(key, {MaterialOf(2), {}, ImportType::kNewKeyMaterial, ""});
  ASSERT_TRUE(next) << next.error().message;
  EXPECT_EQ(Outcome(ImportInto(key, {MaterialOf(3), {}, ImportType::kNewKeyMaterial, ""})),
            "KMSInvalidStateException");
  EXPECT_EQ(MaterialOf(Encrypt(key, "x")->ciphertext_blob), MaterialOf(old_blob));
  EXPECT_EQ(Rotations(key, true)[1].state, MaterialState::kPendingRotation);
  ASSERT_EQ(Rotate(key), "ok");
  Reopen();
  EXPECT_EQ(MaterialOf(Encrypt(key, "x")->ciphertext_blob), next->key_material_id);
  EXPECT_EQ(DecryptText(old_blob), "old");
  // Without any one of them the key does nothing.
  ASSERT_TRUE(kms().DeleteImportedKeyMaterial(store_.caller, {key, MaterialOf(old_blob), ""}));
  EXPECT_EQ(Outcome(Encrypt(key, "x")), "KMSInvalidStateException");
  ASSERT_TRUE(ImportInto(key, {MaterialOf(1), {}, {}, ""}));
  EXPECT_EQ(DecryptText(old_blob), "old");
}

TEST_F(KmsLifeTest, MaterialThatWaitsForItsRotationEndsAlone) {
  const std::string key = CreateExternalKey();
  ASSERT_TRUE(ImportInto(key, {MaterialOf(1), {}, {}, ""}));
  ASSERT_TRUE(CreateUnder("a", "v1", "one", key));
  const TimeMs end = store_.clock.NowMs() + 1000;
  ASSERT_TRUE(ImportInto(key, {MaterialOf(2), end, ImportType::kNewKeyMaterial, ""}));
  EXPECT_FALSE(Describe(key).ValidTo());
  store_.clock.Set(end);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(StateOf(key), KeyState::kEnabled);
    EXPECT_EQ(Get("a"), "one");
    EXPECT_EQ(Rotate(key), "KMSInvalidStateException");
    ASSERT_TRUE(service_->PurgeExpired());
  }
  EXPECT_EQ(Describe(key).materials.size(), 1u);
  // Its place is free, also for what is deleted before its end.
  ASSERT_TRUE(ImportInto(key, {MaterialOf(3), end + 5000, ImportType::kNewKeyMaterial, ""}));
  ASSERT_TRUE(kms().DeleteImportedKeyMaterial(
      store_.caller, {key, ToHex(Describe(key).PendingRotation()->id), ""}));
  ASSERT_TRUE(ImportInto(key, {MaterialOf(4), end + 5000, ImportType::kNewKeyMaterial, ""}));
  ASSERT_EQ(Rotate(key), "ok");
  EXPECT_EQ(Describe(key).ValidTo(), end + 5000);
  EXPECT_EQ(Get("a"), "one");
}

TEST_F(KmsLifeTest, ImportTokensBelongToOneKeyAndOneDay) {
  const std::string key = CreateExternalKey();
  const std::string other = CreateExternalKey();
  ParametersForImportRequest ask;
  ask.key_id = key;
  ask.wrapping = {crypto::WrappingAlgorithm::kRsaesOaepSha256, crypto::WrappingKeySpec::kRsa2048};
  const auto parameters = kms().GetParametersForImport(store_.caller, ask).value();
  EXPECT_EQ(parameters.valid_to, store_.clock.NowMs() + kMsPerDay);
  EXPECT_LE(parameters.import_token.size(), 6144u);
  ImportKeyMaterialRequest request;
  request.key_id = other;
  request.import_token = parameters.import_token;
  request.expires = false;
  request.encrypted_key_material =
      testing::WrapWithOaepSha256(parameters.public_key, MaterialOf(1).Reveal());
  const auto outcome = [&] { return Outcome(kms().ImportKeyMaterial(store_.caller, request)); };
  EXPECT_EQ(outcome(), "InvalidImportTokenException");
  request.key_id = key;
  request.import_token[40] ^= 1;
  EXPECT_EQ(outcome(), "InvalidImportTokenException");
  request.import_token[40] ^= 1;
  request.encrypted_key_material[0] ^= 1;
  EXPECT_EQ(outcome(), "InvalidCiphertextException");
  request.encrypted_key_material[0] ^= 1;
  request.expires = true;
  EXPECT_EQ(outcome(), "ValidationException");
  request.expires = false;
  store_.clock.Advance(kMsPerDay);
  EXPECT_EQ(outcome(), "ExpiredImportTokenException");
  store_.clock.Advance(-1);
  Reopen();
  EXPECT_EQ(outcome(), "ok");
  ask.key_id = CreateKey();
  EXPECT_EQ(Outcome(kms().GetParametersForImport(store_.caller, ask)),
            "UnsupportedOperationException");
  ask.key_id = key;
  ask.wrapping.algorithm = crypto::WrappingAlgorithm::kRsaesPkcs1V15;
  EXPECT_EQ(Outcome(kms().GetParametersForImport(store_.caller, ask)),
            "UnsupportedOperationException");
}

TEST_F(KmsLifeTest, ADeletedImportStaysPendingDeletion) {
  const std::string key = CreateExternalKey();
  ASSERT_TRUE(ImportInto(key, {MaterialOf(1), {}, {}, ""}));
  ASSERT_EQ(Schedule(key, 7), "ok");
  ASSERT_TRUE(kms().DeleteImportedKeyMaterial(store_.caller, {key, "", ""}));
  EXPECT_EQ(StateOf(key), KeyState::kPendingDeletion);
  ASSERT_EQ(Cancel(key), "ok");
  EXPECT_EQ(StateOf(key), KeyState::kPendingImport);
}

// --- grants

TEST_F(KmsLifeTest, AGrantIsListedUntilItEnds) {
  const std::string key = CreateKey();
  CreateGrantRequest request = GrantFor(key);
  request.retiring_principal = stranger_.arn;
  request.constraints.encryption_context_subset = ContextMap{{"a", "1"}};
  auto made = kms().CreateGrant(store_.caller, request);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->grant_id.size(), 64u);
  Reopen();
  auto listed = kms().ListGrants(store_.caller, {key, "", "", {}, ""});
  ASSERT_EQ(listed->entries.size(), 1u);
  EXPECT_EQ(ToHex(listed->entries[0].id), made->grant_id);
  EXPECT_EQ(listed->entries[0].issued_by, store_.owner.arn);
  EXPECT_EQ(listed->entries[0].constraints.encryption_context_subset->at("a"), "1");
  EXPECT_EQ(kms().ListGrants(store_.caller, {key, made->grant_id, "", {}, ""})->entries.size(), 1u);
  EXPECT_TRUE(kms().ListGrants(store_.caller, {key, "", "arn:x", {}, ""})->entries.empty());
  EXPECT_EQ(Outcome(kms().ListGrants(store_.caller, {key, "x", "", {}, ""})),
            "InvalidGrantIdException");
  EXPECT_EQ(kms().ListRetirableGrants(store_.caller, {stranger_.arn, {}, ""})->entries.size(), 1u);
  EXPECT_TRUE(kms().ListRetirableGrants(store_.caller, {"arn:y", {}, ""})->entries.empty());
  EndGrantRequest end{key, made->grant_id, "", true, ""};
  EXPECT_EQ(Outcome(kms().RevokeGrant(store_.caller, end)), "DryRunOperationException");
  end.dry_run = false;
  EXPECT_EQ(kms().RevokeGrant(eve_, end).error().code, Code::kPermissionDenied);
  EXPECT_EQ(Outcome(kms().RevokeGrant(store_.caller, end)), "ok");
  EXPECT_EQ(Outcome(kms().RevokeGrant(store_.caller, end)), "NotFoundException");
  end.grant_id = "x";
  EXPECT_EQ(Outcome(kms().RevokeGrant(store_.caller, end)), "InvalidGrantIdException");
  EXPECT_TRUE(kms().ListGrants(store_.caller, {key, "", "", {}, ""})->entries.empty());
  EXPECT_TRUE(kms().ListRetirableGrants(store_.caller, {stranger_.arn, {}, ""})->entries.empty());
}

TEST_F(KmsLifeTest, AListOfFewGrantsAmongManyComesInPages) {
  const std::string key = CreateKey();
  for (int i = 0; i < 501; ++i) ASSERT_TRUE(kms().CreateGrant(store_.caller, GrantFor(key)));
  CreateGrantRequest other = GrantFor(key);
  other.grantee_principal = "arn:aws:iam::000000000000:role/other";
  const std::string id = kms().CreateGrant(store_.caller, other)->grant_id;
  ListGrantsRequest request{key, "", other.grantee_principal, {}, ""};
  size_t pages = 0;
  std::vector<std::string> found;
  do {
    const auto page = kms().ListGrants(store_.caller, request).value();
    for (const Grant& grant : page.entries) found.push_back(ToHex(grant.id));
    request.page.marker = page.next_marker;
    ++pages;
  } while (!request.page.marker.empty());
  EXPECT_EQ(found, std::vector<std::string>{id});
  EXPECT_EQ(pages, 2u);
  const auto by_id = kms().ListGrants(store_.caller, {key, id, "", {}, ""}).value();
  EXPECT_EQ(by_id.entries.size(), 1u);
  EXPECT_EQ(by_id.next_marker, "");
  EXPECT_TRUE(
      kms().ListGrants(store_.caller, {key, id, stranger_.arn, {}, ""}).value().entries.empty());
}

TEST_F(KmsLifeTest, ANamedGrantIsMadeOnce) {
  const std::string key = CreateKey();
  CreateGrantRequest request = GrantFor(key);
  const auto id = [&] { return kms().CreateGrant(store_.caller, request)->grant_id; };
  EXPECT_NE(id(), id());
  request.name = "web";
  const auto first = kms().CreateGrant(store_.caller, request).value();
  std::ranges::reverse(request.operations);
  const auto second = kms().CreateGrant(store_.caller, request).value();
  EXPECT_EQ(first.grant_id, second.grant_id);
  EXPECT_NE(first.grant_token, second.grant_token);
  request.operations = {GrantOperation::kEncrypt};
  EXPECT_NE(id(), first.grant_id);
  EXPECT_EQ(kms().ListGrants(store_.caller, {key, "", "", {}, ""})->entries.size(), 4u);
  // Both tokens are the grant's, and end with it.
  EncryptRequest encrypt;
  encrypt.key_id = key;
  encrypt.plaintext = crypto::SecretBuffer(1);
  encrypt.options.grant_tokens = {first.grant_token, second.grant_token};
  EXPECT_EQ(Outcome(kms().Encrypt(store_.caller, encrypt)), "ok");
  encrypt.key_id = CreateKey();  // Good, and of no use.
  EXPECT_EQ(Outcome(kms().Encrypt(store_.caller, encrypt)), "ok");
  ASSERT_TRUE(kms().RetireGrant(store_.caller, {"", "", first.grant_token, false, ""}));
  EXPECT_EQ(Outcome(kms().Encrypt(store_.caller, encrypt)), "InvalidGrantTokenException");
  encrypt.options.grant_tokens = {"nonsense"};
  EXPECT_EQ(Outcome(kms().Encrypt(store_.caller, encrypt)), "InvalidGrantTokenException");
  encrypt.options.grant_tokens.assign(11, second.grant_token);
  EXPECT_EQ(Outcome(kms().Encrypt(store_.caller, encrypt)), "ValidationException");
}

TEST_F(KmsLifeTest, WhoMayRetireAGrant) {
  const std::string key = CreateKey();
  CreateGrantRequest request = GrantFor(key);
  const auto retire_as_eve = [&] {
    const auto made = kms().CreateGrant(store_.caller, request).value();
    return Outcome(kms().RetireGrant(eve_, {key, made.grant_id, "", false, ""}));
  };
  EXPECT_EQ(retire_as_eve(), "AccessDeniedException");
  request.operations.push_back(GrantOperation::kRetireGrant);
  EXPECT_EQ(retire_as_eve(), "ok");
  request = GrantFor(key);
  request.grantee_principal = "arn:aws:iam::000000000000:role/other";
  request.retiring_principal = stranger_.arn;
  EXPECT_EQ(retire_as_eve(), "ok");
  EXPECT_EQ(Outcome(kms().RetireGrant(eve_, {key, std::string(64, 'a'), "", false, ""})),
            "AccessDeniedException");
  EXPECT_EQ(Outcome(kms().RetireGrant(store_.caller, {key, std::string(64, 'a'), "", false, ""})),
            "NotFoundException");
  EXPECT_EQ(Outcome(kms().RetireGrant(store_.caller, {key, "", "", false, ""})),
            "ValidationException");
  EXPECT_EQ(Outcome(kms().RetireGrant(store_.caller, {"", "", "x", false, ""})),
            "InvalidGrantTokenException");
}

TEST_F(KmsLifeTest, GrantsFitTheirKey) {
  const std::string key = CreateKey();
  const std::string signs = CreateKey(KeySpec::kEccNistP256, KeyUsage::kSignVerify);
  const auto outcome = [&](const std::function<void(CreateGrantRequest&)>& change) {
    CreateGrantRequest request = GrantFor(key);
    change(request);
    return Outcome(kms().CreateGrant(store_.caller, request));
  };
  EXPECT_EQ(outcome([](auto& r) { r.operations = {}; }), "ValidationException");
  EXPECT_EQ(outcome([](auto& r) { r.operations = {GrantOperation::kSign}; }),
            "ValidationException");
  EXPECT_EQ(outcome([](auto& r) { r.grantee_principal = "a b"; }), "ValidationException");
  EXPECT_EQ(outcome([](auto& r) { r.name = "a b"; }), "ValidationException");
  EXPECT_EQ(outcome([&](auto& r) { r.key_id = signs; }), "ValidationException");
  EXPECT_EQ(outcome([&](auto& r) {
              r.key_id = signs;
              r.operations = {GrantOperation::kSign, GrantOperation::kGetPublicKey};
            }),
            "ok");
  const auto with = [&](const ContextMap& context) {
    return outcome([&](auto& r) { r.constraints.encryption_context_equals = context; });
  };
  EXPECT_EQ(with({{std::string(384, 'a'), std::string(384, 'b')}}), "ok");
  EXPECT_EQ(with({{"a", std::string(385, 'b')}}), "ValidationException");
  ContextMap nine;
  for (int i = 0; i < 9; ++i) nine[std::to_string(i)] = "";
  EXPECT_EQ(with(nine), "ValidationException");
  EXPECT_EQ(outcome([&](auto& r) { r.dry_run = true; }), "DryRunOperationException");
  Disable(key);
  EXPECT_EQ(outcome([](auto&) {}), "DisabledException");
}

}  // namespace
}  // namespace secretfs::store
