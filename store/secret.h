#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/keyring.h"
#include "store/ids.h"

namespace secretfs::store {

inline constexpr std::string_view kCurrent = "AWSCURRENT";
inline constexpr std::string_view kPrevious = "AWSPREVIOUS";
inline constexpr std::string_view kPending = "AWSPENDING";

// Quotas of AWS Secrets Manager ("Secrets Manager quotas", aws-semantics 3.5).
inline constexpr size_t kSecretValueBytesMax = 65536;
inline constexpr size_t kLabelsPerSecretMax = 20;
inline constexpr size_t kLabelBytesMax =
    255;  // AWS: 256; one less, so that a label is a file name.
inline constexpr size_t kVersionsPerSecretMax = 100;
inline constexpr size_t kTagsPerSecretMax = 50;
inline constexpr size_t kDescriptionBytesMax = 2048;
inline constexpr size_t kVersionIdBytesMin = 32;
inline constexpr size_t kVersionIdBytesMax = 64;

enum class ValueKind : uint8_t { kString = 1, kBinary = 2 };

struct Version {
  SelectorId number = 0;
  std::string id;  // The ClientRequestToken of the write that made it.
  TimeMs created_at = 0;
  ValueKind kind = ValueKind::kString;
  uint32_t size_bytes = 0;
  bool has_keys = false;           // The value is a JSON object: `_keys/` exists.
  crypto::KeyId kms_key{};         // Encrypts its data key.
  bool under_default_key = false;  // Not stored: `kms_key` is alias/aws/secretsmanager.
};

struct Label {
  std::string name;
  SelectorId version = 0;  // The number of the version that holds it.
  SelectorId selector =
      0;  // The label's own id for node ids; 0 for the three AWS labels, which need none.
  TimeMs moved_at = 0;
};

// Everything about one secret but its values: a value type on which the state machine of versions
// and staging labels works, stored as one record and so changed atomically.
//
// State machine (aws-semantics 3.1). A label is on exactly one version. A version without labels is
// deprecated: readable by id until it is collected. Three rules go beyond moving a label:
//   1. When AWSCURRENT leaves version c for v, AWSPREVIOUS goes to c.
//   2. The first version gets AWSCURRENT whatever labels were asked for; a secret with versions
//   always has AWSCURRENT.
//   3. When a *new version* takes AWSCURRENT from a version that also holds AWSPENDING, AWSPENDING
//   is dropped.
// Every change checks first and changes after: on an error the value is as it was.
struct Secret {
  PathId path = 0;
  std::string name;
  std::string arn_suffix;
  std::string arn;  // Not stored: the store computes it when it loads the secret.
  std::string description;
  std::map<std::string, std::string> tags;
  bool ever_tagged =
      false;  // AWS shows `Tags: []` after the last tag went, nothing before the first came.
  TimeMs created_at = 0;
  TimeMs changed_at = 0;
  std::optional<TimeMs>
      deletion_at;          // Scheduled time of destruction; the secret is marked for deletion.
  std::string kms_key_id;   // As given, and resolved anew by each write. Empty: the default key,
                            // whatever it was called.
  crypto::KeyId kms_key{};  // What it was when last resolved.
  std::vector<Version> versions;  // Oldest first.
  std::vector<Label> labels;      // By name.

  const Version* FindVersionById(std::string_view id) const;
  const Version* FindVersionByNumber(SelectorId number) const;
  const Label* FindLabel(std::string_view label) const;
  const Version* FindVersionByLabel(std::string_view label) const;
  // In alphabetical order.
  std::vector<std::string> LabelsOf(SelectorId version) const;

  // Appends `version` and attaches `stages` (empty: AWSCURRENT), then drops deprecated versions
  // beyond the quota that are older than a day, oldest first. Returns the numbers of the dropped
  // versions. REQUIRES: no version has this id. Errors: kLimitExceeded (labels, versions),
  // kValidation (label text).
  Result<std::vector<SelectorId>> AddVersion(Version version,
                                             const std::vector<std::string>& stages, TimeMs now);

  // AWS UpdateSecretVersionStage; both ids are version ids. Errors: kInvalidArgument and kNotFound
  // with AWS's messages, kLimitExceeded for the 21st label. Returns whether anything changed.
  Result<bool> MoveLabel(std::string_view label, const std::optional<std::string>& remove_from,
                         const std::optional<std::string>& move_to, TimeMs now);

 private:
  Label* MutableLabel(std::string_view label);
  void SetLabel(std::string_view label, SelectorId version, TimeMs now);
  void RemoveLabel(std::string_view label);
  void Attach(const std::vector<std::string>& stages, SelectorId version, TimeMs now);
  Status CheckLabelCount(const std::vector<std::string>& stages) const;
  Result<std::vector<SelectorId>> CollectDeprecated(TimeMs now);
};

// Errors: kValidation unless 1..255 bytes of UTF-8.
Status ValidateLabel(std::string_view label);
// A version id becomes a file name and an audit field: 32..64 printable ASCII characters without
// `/`.
Status ValidateVersionId(std::string_view id);
// Key 1..128 characters, not "aws:..."; value 0..256; at most kTagsPerSecretMax.
Status ValidateTags(const std::map<std::string, std::string>& tags);

}  // namespace secretfs::store
