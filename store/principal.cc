#include "store/principal.h"

namespace secretfs::store {

std::string_view DoorName(Door door) {
  switch (door) {
    case Door::kMount:
      return "mount";
    case Door::kSocket:
      return "socket";
    case Door::kInternal:
      return "internal";
  }
  return "unknown";
}

std::string_view ActionName(Action action) {
  switch (action) {
    case Action::kCreateSecret:
      return "CreateSecret";
    case Action::kPutSecretValue:
      return "PutSecretValue";
    case Action::kUpdateSecret:
      return "UpdateSecret";
    case Action::kGetSecretValue:
      return "GetSecretValue";
    case Action::kDescribeSecret:
      return "DescribeSecret";
    case Action::kListSecrets:
      return "ListSecrets";
    case Action::kListSecretVersionIds:
      return "ListSecretVersionIds";
    case Action::kUpdateSecretVersionStage:
      return "UpdateSecretVersionStage";
    case Action::kDeleteSecret:
      return "DeleteSecret";
    case Action::kRestoreSecret:
      return "RestoreSecret";
    case Action::kTagResource:
      return "TagResource";
    case Action::kUntagResource:
      return "UntagResource";
    case Action::kDestroySecret:
      return "EndSecretVersionDelete";
    case Action::kKmsDecrypt:
      return "Decrypt";
    case Action::kKmsGenerateDataKey:
      return "GenerateDataKey";
    case Action::kReadAuditTrail:
      return "LookupEvents";
    case Action::kRecordAuditGap:
      return "RecordAuditGap";
  }
  return "Unknown";
}

std::string_view ActionSource(Action action) {
  switch (action) {
    case Action::kKmsDecrypt:
    case Action::kKmsGenerateDataKey:
      return "kms.amazonaws.com";
    case Action::kReadAuditTrail:
    case Action::kRecordAuditGap:
      return "cloudtrail.amazonaws.com";
    case Action::kCreateSecret:
    case Action::kPutSecretValue:
    case Action::kUpdateSecret:
    case Action::kGetSecretValue:
    case Action::kDescribeSecret:
    case Action::kListSecrets:
    case Action::kListSecretVersionIds:
    case Action::kUpdateSecretVersionStage:
    case Action::kDeleteSecret:
    case Action::kRestoreSecret:
    case Action::kTagResource:
    case Action::kUntagResource:
    case Action::kDestroySecret:
      return "secretsmanager.amazonaws.com";
  }
  return "secretsmanager.amazonaws.com";
}

bool IsReadOnly(Action action) {
  switch (action) {
    case Action::kGetSecretValue:
    case Action::kDescribeSecret:
    case Action::kListSecrets:
    case Action::kListSecretVersionIds:
    case Action::kKmsDecrypt:
    case Action::kKmsGenerateDataKey:
    case Action::kReadAuditTrail:
      return true;
    case Action::kCreateSecret:
    case Action::kPutSecretValue:
    case Action::kUpdateSecret:
    case Action::kUpdateSecretVersionStage:
    case Action::kDeleteSecret:
    case Action::kRestoreSecret:
    case Action::kTagResource:
    case Action::kUntagResource:
    case Action::kDestroySecret:
    case Action::kRecordAuditGap:
      return false;
  }
  return false;
}

}  // namespace secretfs::store
