#pragma once

#include <string>

#include "store/audit_event.h"
#include "store/secret.h"
#include "store/secret_name.h"

namespace secretfs::store {

// The metadata of a secret as AWS DescribeSecret answers it: one JSON object with only the members
// that are set, times as seconds since the epoch with milliseconds. `_meta` shows it indented, the
// endpoint compact.
std::string DescribeSecretJson(const Secret& secret, const Realm& realm, bool indented);

// An entry of ListSecrets: as DescribeSecret, with `SecretVersionsToStages`.
std::string SecretListEntryJson(const Secret& secret, const Realm& realm);

// AWS ListSecretVersionIds: {"ARN", "Name", "Versions": [{"VersionId", "VersionStages",
// "CreatedDate", "KmsKeyIds"}]}, oldest first; deprecated versions only if asked for.
std::string ListVersionsJson(const Secret& secret, const Realm& realm, bool include_deprecated);

// An audit event in CloudTrail's record shape (aws-semantics 8.1), compact, with the local members
// "additionalEventData": {"uid", "gid", "pid", "door", "sequence"}.
std::string AuditEventJson(const AuditEvent& event, uint64_t sequence, const Realm& realm);

}  // namespace secretfs::store
