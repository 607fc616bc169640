#pragma once

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "store/kms_grant.h"
#include "store/kms_key.h"
#include "store/kms_requests.h"

namespace secretfs::store {

// The records about KMS keys as bytes (store/FORMAT.md), with the rules of store/record.h.

// Record version 2. Decodes version 1 too, which stores of format 1 have for their only key,
// alias/aws/secretsmanager: what version 1 does not say is as AWS has it for a key that it manages.
Bytes EncodeKmsKey(const KmsKey& key);
Result<KmsKey> DecodeKmsKey(ByteSpan bytes);
// What a store of format 1 holds, to be written by tests alone. REQUIRES: an AWS managed key.
Bytes EncodeKmsKeyV1(const KmsKey& key, std::string_view alias);

Bytes EncodeAlias(const Alias& alias);
Result<Alias> DecodeAlias(ByteSpan bytes);

Bytes EncodeGrant(const Grant& grant);
Result<Grant> DecodeGrant(ByteSpan bytes);

Bytes EncodeKeyUse(const KeyUse& use);
Result<KeyUse> DecodeKeyUse(ByteSpan bytes);

// How many there are, so that limits need no counting. Of the whole store: customer managed keys.
struct KmsCounts {
  uint32_t keys = 0;
  uint32_t aliases = 0;
  uint32_t grants = 0;
};
Bytes EncodeKmsCounts(const KmsCounts& counts);
Result<KmsCounts> DecodeKmsCounts(ByteSpan bytes);

}  // namespace secretfs::store
