#include "store/kms_key.h"

#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "store/kms_grant.h"

namespace secretfs::store {
namespace {

// Table 4.4 of aws-semantics, typed anew. Columns: Enabled, Disabled, PendingDeletion,
// PendingImport, PendingReplicaDeletion, Unavailable, Creating, Updating. Y: allowed; else the
// footnote. "2 or 3" is 3; a state that AWS says does not come with an operation is answered as by
// the operations beside it. The last word is the origin that the operation asks for.
constexpr const char* kTable = R"(
CancelKeyDeletion                    4 4 Y 4 Y 4 4 4  any
CreateAlias                          Y Y 3 Y 3 Y Y Y  any
TagResource                          Y Y 3 Y 3 Y Y Y  any
UntagResource                        Y Y 3 Y 3 Y Y Y  any
UpdateKeyDescription                 Y Y 3 Y 3 Y Y Y  any
CreateGrant                          Y 1 3 5 3 Y 14 Y  any
Decrypt                              Y 1 3 5 3 11 14 Y  any
Encrypt                              Y 1 3 5 3 11 14 Y  any
GenerateDataKey                      Y 1 3 5 3 11 14 Y  any
GenerateDataKeyPair                  Y 1 3 5 3 11 14 Y  any
GenerateDataKeyPairWithoutPlaintext  Y 1 3 5 3 11 14 Y  any
GenerateDataKeyWithoutPlaintext      Y 1 3 5 3 11 14 Y  any
ReEncryptFrom                        Y 1 3 5 3 11 14 Y  any
ReEncryptTo                          Y 1 3 5 3 11 14 Y  any
DeleteAlias                          Y Y Y Y Y Y Y Y  any
DescribeKey                          Y Y Y Y Y Y Y Y  any
GetKeyPolicy                         Y Y Y Y Y Y Y Y  any
ListAliases                          Y Y Y Y Y Y Y Y  any
ListGrants                           Y Y Y Y Y Y Y Y  any
ListKeyPolicies                      Y Y Y Y Y Y Y Y  any
ListResourceTags                     Y Y Y Y Y Y Y Y  any
PutKeyPolicy                         Y Y Y Y Y Y Y Y  any
RetireGrant                          Y Y Y Y Y Y Y Y  any
RevokeGrant                          Y Y Y Y Y Y Y Y  any
DeleteImportedKeyMaterial            Y Y Y Y Y 11 14 15  imported
DisableKey                           Y Y 3 5 3 Y 14 15  any
EnableKey                            Y Y 3 5 3 Y 14 15  any
DisableKeyRotation                   Y 1 3 5 3 11 14 Y  own
EnableKeyRotation                    Y 1 3 5 3 11 14 Y  own
GenerateMac                          Y 1 3 5 3 11 14 Y  any
GetPublicKey                         Y 1 3 5 3 11 14 Y  any
Sign                                 Y 1 3 5 3 11 14 Y  any
Verify                               Y 1 3 5 3 11 14 Y  any
VerifyMac                            Y 1 3 5 3 11 14 Y  any
GetKeyRotationStatus                 Y Y Y Y Y Y Y Y  own
GetParametersForImport               Y Y 3 Y 3 11 14 15  imported
ImportKeyMaterial                    Y Y 3 Y 3 11 14 Y  imported
ScheduleKeyDeletion                  Y Y 3 Y 3 Y Y 15  any
UpdateAlias                          Y Y 3 Y 3 Y Y Y  any
DeriveSharedSecret                   Y 1 3 5 3 11 14 Y  any
RotateKeyOnDemand                    Y 1 3 5 3 11 14 Y  any
ListKeyRotations                     Y Y Y Y Y Y Y Y  any
GetKeyLastUsage                      Y Y Y Y Y Y Y Y  any
)";

struct Answer {
  Code code;
  std::string message;  // After the key's ARN.
};
const std::map<std::string, Answer> kFootnotes = {
    {"1", {Code::kDisabled, " is disabled."}},
    {"3", {Code::kFailedPrecondition, " is pending deletion."}},
    {"4", {Code::kFailedPrecondition, " is not pending deletion."}},
    {"5", {Code::kFailedPrecondition, " is pending import."}},
    {"11", {Code::kFailedPrecondition, " is unavailable."}},
    {"14", {Code::kFailedPrecondition, " is creating."}},
    {"15", {Code::kFailedPrecondition, " is updating."}},
};
constexpr KeyState kStates[] = {
    KeyState::kEnabled,
    KeyState::kDisabled,
    KeyState::kPendingDeletion,
    KeyState::kPendingImport,
    KeyState::kPendingReplicaDeletion,
    KeyState::kUnavailable,
    KeyState::kCreating,
    KeyState::kUpdating,
};

std::map<std::string, Action> ActionsOfKms() {
  std::map<std::string, Action> actions;
  for (int number = 0; number < 256; ++number) {
    const auto action = ActionFromNumber(static_cast<uint8_t>(number));
    if (action && ActionSource(*action) == "kms.amazonaws.com") {
      actions[std::string(ActionName(*action))] = *action;
    }
  }
  return actions;
}

KmsKey KeyIn(KeyState state, KeyOrigin origin) {
  KmsKey key;
  key.arn = "arn:key";
  key.state = state;
  key.origin = origin;
  return key;
}

TEST(KmsKeyTest, EveryCellOfTheStateTableIsAsAwsHasIt) {
  const auto actions = ActionsOfKms();
  std::istringstream table(kTable);
  std::string name;
  int cells = 0;
  while (table >> name) {
    ASSERT_TRUE(actions.contains(name)) << name;
    std::vector<std::string> row(std::size(kStates));
    for (std::string& cell : row) table >> cell;
    std::string origin;
    table >> origin;
    for (size_t i = 0; i < row.size(); ++i) {
      SCOPED_TRACE(name + " while " + std::string(KeyStateName(kStates[i])));
      const KeyOrigin fitting = origin == "imported" ? KeyOrigin::kExternal : KeyOrigin::kAwsKms;
      const Status status = CheckKeyState(KeyIn(kStates[i], fitting), actions.at(name), 0);
      ++cells;
      if (row[i] == "Y") {
        EXPECT_TRUE(status) << status.error().message;
      } else {
        ASSERT_FALSE(status);
        EXPECT_EQ(status.error().code, kFootnotes.at(row[i]).code);
        EXPECT_EQ(status.error().message, "arn:key" + kFootnotes.at(row[i]).message);
      }
      if (origin == "any") continue;
      // Footnotes 6 to 9: the origin decides before the state does.
      const KeyOrigin other = origin == "imported" ? KeyOrigin::kAwsKms : KeyOrigin::kExternal;
      const Status refused = CheckKeyState(KeyIn(kStates[i], other), actions.at(name), 0);
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, Code::kUnsupported);
    }
  }
  EXPECT_EQ(cells, 43 * 8);
}

TEST(KmsKeyTest, ImportedMaterialEndsByTheClockAlone) {
  KmsKey key = KeyIn(KeyState::kEnabled, KeyOrigin::kExternal);
  KeyMaterial material;
  material.wrapped = {1};
  material.valid_to = 1000;
  key.materials.push_back(material);
  EXPECT_TRUE(CheckKeyState(key, Action::kKmsEncrypt, 999));
  EXPECT_EQ(key.StateAt(999), KeyState::kEnabled);
  EXPECT_EQ(CheckKeyState(key, Action::kKmsEncrypt, 1000).error().message,
            "arn:key is pending import.");
  EXPECT_EQ(key.StateAt(1000), KeyState::kPendingImport);
  EXPECT_EQ(key.DueAt(), 1000);
  key.state = KeyState::kPendingDeletion;
  key.deletion_at = 500;
  EXPECT_EQ(key.StateAt(1000), KeyState::kPendingDeletion);
  EXPECT_EQ(key.DueAt(), 500);
}

TEST(KmsKeyTest, RotationMakesOneGenerationCurrent) {
  KmsKey key;
  key.materials.resize(1);
  key.materials[0].id[0] = 1;
  KeyMaterial next;
  next.id[0] = 2;
  key.Rotate(next, RotationType::kOnDemand, 77);
  ASSERT_EQ(key.materials.size(), 2u);
  EXPECT_EQ(key.materials[0].state, MaterialState::kNonCurrent);
  EXPECT_EQ(key.Current()->id[0], 2);
  EXPECT_EQ(key.Current()->rotation, RotationType::kOnDemand);
  EXPECT_EQ(key.Current()->rotated_at, 77);
}

TEST(KmsKeyTest, ADisabledKeyIsNotDueForRotation) {
  KmsKey key = KeyIn(KeyState::kEnabled, KeyOrigin::kAwsKms);
  key.rotation_enabled = true;
  key.next_rotation_at = 5;
  EXPECT_EQ(key.DueAt(), 5);
  key.state = KeyState::kDisabled;
  EXPECT_EQ(key.DueAt(), std::nullopt);
}

TEST(KmsKeyTest, AKeyIsNamedInFourWays) {
  const Realm realm;
  const std::string id = "01234567-89ab-cdef-0123-456789abcdef";
  const std::string arns = "arn:aws:kms:" + realm.region + ":" + realm.account + ":";
  for (const std::string& text : {id, arns + "key/" + id}) {
    const auto reference = ParseKeyReference(text, realm);
    ASSERT_TRUE(reference) << text;
    EXPECT_EQ(crypto::FormatUuid(*reference->key), id);
  }
  for (const std::string& text : {std::string("alias/web"), arns + "alias/web"}) {
    const auto reference = ParseKeyReference(text, realm);
    ASSERT_TRUE(reference) << text;
    EXPECT_EQ(reference->alias, "alias/web");
  }
}

TEST(KmsKeyTest, OtherNamesOfKeysAreNotFound) {
  const Realm realm;
  const auto message = [&](const std::string& text) {
    const auto reference = ParseKeyReference(text, realm);
    EXPECT_FALSE(reference) << text;
    EXPECT_EQ(reference.error().code, Code::kNotFound);
    return reference.error().message;
  };
  for (const char* text :
       {"", "x", "01234567-89AB-cdef-0123-456789abcdef", "0123456789abcdef0123456789abcdef",
        "01234567-89ab-cdef-0123-456789abcde", "01234567089ab-cdef-0123-456789abcdef"}) {
    EXPECT_EQ(message(text), "Invalid keyId '" + std::string(text) + "'");
  }
  EXPECT_EQ(message("arn:aws:kms:us-east-1:000000000000:key/x"), "Invalid arn us-east-1");
  for (const char* text : {"arn:", "arn:aws", "arn:aws:kms", "arn:aws:kms:x"}) message(text);
  const std::string own = "arn:aws:kms:" + realm.region + ":" + realm.account + ":";
  EXPECT_EQ(message(own + "secret/x"), "Invalid keyId '" + own + "secret/x'");
}

TEST(KmsKeyTest, AliasNamesFollowTheApiModel) {
  for (const char* name : {"alias/a", "alias/aws/x", "alias/A:b/c_d-9"}) {
    EXPECT_TRUE(ValidateAliasName(name)) << name;
  }
  EXPECT_TRUE(ValidateAliasName("alias/" + std::string(250, 'x')));
  for (const std::string& name :
       {std::string(), std::string("web"), std::string("alias/"), std::string("alias/a b"),
        std::string("alias/a.b"), std::string("alias/\xc3\xa4"),
        "alias/" + std::string(251, 'x')}) {
    const Status status = ValidateAliasName(name);
    ASSERT_FALSE(status) << name;
    EXPECT_EQ(status.error().code, Code::kValidation);
  }
}

TEST(KmsKeyTest, TagsFollowTheApiModel) {
  std::map<std::string, std::string> tags{{"team", ""},
                                          {std::string(128, 'k'), std::string(256, 'v')}};
  EXPECT_TRUE(ValidateKeyTags(tags));
  EXPECT_EQ(ValidateKeyTags({{"aws:x", ""}}).error().message,
            "Tags beginning with aws: are reserved");
  EXPECT_EQ(ValidateKeyTags({{"", ""}}).error().code, Code::kValidation);
  EXPECT_EQ(ValidateKeyTags({{std::string(129, 'k'), ""}}).error().code, Code::kValidation);
  for (int i = 0; i < 50; ++i) tags["t" + std::to_string(i)] = "";
  EXPECT_EQ(ValidateKeyTags(tags).error().code, Code::kInvalidTag);
}

// --- grants

Grant ExampleGrant() {
  Grant grant;
  grant.grantee_principal = "arn:aws:iam::000000000000:role/web";
  grant.operations = {GrantOperation::kDecrypt, GrantOperation::kDescribeKey};
  return grant;
}

TEST(KmsGrantTest, AllowsTheGranteeItsOperations) {
  const Grant grant = ExampleGrant();
  const std::string& web = grant.grantee_principal;
  EXPECT_TRUE(GrantAllows(grant, web, Action::kKmsDecrypt, {}));
  EXPECT_TRUE(GrantAllows(grant, web, Action::kKmsDescribeKey, {}));
  EXPECT_FALSE(GrantAllows(grant, web, Action::kKmsEncrypt, {}));
  EXPECT_FALSE(GrantAllows(grant, web, Action::kKmsDisableKey, {}));
  EXPECT_FALSE(GrantAllows(grant, "arn:aws:iam::000000000000:role/other", Action::kKmsDecrypt, {}));
}

TEST(KmsGrantTest, ConstraintsLimitWhatTakesAContext) {
  const ContextMap context{{"app", "web"}, {"stage", "prod"}};
  Grant grant = ExampleGrant();
  const std::string& web = grant.grantee_principal;
  const auto allows = [&](const ContextMap& asked) {
    return GrantAllows(grant, web, Action::kKmsDecrypt, asked);
  };
  grant.constraints.encryption_context_equals = context;
  EXPECT_TRUE(allows(context));
  EXPECT_FALSE(allows({}));
  EXPECT_FALSE(allows({{"app", "web"}}));
  EXPECT_FALSE(allows({{"app", "web"}, {"stage", "prod"}, {"x", ""}}));
  EXPECT_TRUE(GrantAllows(grant, web, Action::kKmsDescribeKey, {}));
  grant.constraints = {};
  grant.constraints.encryption_context_subset = ContextMap{{"app", "web"}};
  EXPECT_TRUE(allows(context));
  EXPECT_TRUE(allows({{"app", "web"}}));
  EXPECT_FALSE(allows({{"app", "Web"}}));
  EXPECT_FALSE(allows({{"stage", "prod"}}));
}

TEST(KmsGrantTest, AChildStaysWithinItsParent) {
  Grant parent = ExampleGrant();
  Grant child = ExampleGrant();
  EXPECT_TRUE(IsWithin(child, parent));
  child.operations = {GrantOperation::kEncrypt};
  EXPECT_FALSE(IsWithin(child, parent));
  child.operations = {GrantOperation::kDecrypt};
  parent.constraints.encryption_context_subset = ContextMap{{"a", "1"}};
  EXPECT_FALSE(IsWithin(child, parent));
  child.constraints.encryption_context_subset = ContextMap{{"a", "1"}, {"b", "2"}};
  EXPECT_TRUE(IsWithin(child, parent));
  child.constraints = {};
  child.constraints.encryption_context_equals = ContextMap{{"b", "2"}};
  EXPECT_FALSE(IsWithin(child, parent));
  child.constraints.encryption_context_equals = ContextMap{{"a", "1"}};
  EXPECT_TRUE(IsWithin(child, parent));
  parent.constraints = child.constraints;
  EXPECT_TRUE(IsWithin(child, parent));
  child.constraints.encryption_context_equals->emplace("c", "3");
  EXPECT_FALSE(IsWithin(child, parent));
  child.key[0] = 1;
  EXPECT_FALSE(IsWithin(child, parent));
}

TEST(KmsGrantTest, EveryOperationHasItsNameAndAction) {
  for (uint8_t number = 1; number <= kGrantOperationMax; ++number) {
    const auto operation = static_cast<GrantOperation>(number);
    EXPECT_EQ(ParseGrantOperation(GrantOperationName(operation)), operation);
    const Action action = ActionsOfKms().at(std::string(GrantOperationName(operation)));
    EXPECT_EQ(GrantOperationOf(action), operation);
  }
  EXPECT_EQ(ParseGrantOperation("ReEncrypt"), std::nullopt);
  EXPECT_EQ(GrantOperationOf(Action::kKmsPutKeyPolicy), std::nullopt);
}

}  // namespace
}  // namespace secretfs::store
