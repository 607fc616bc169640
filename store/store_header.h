#pragma once

#include <string>

#include "crypto/base/bytes.h"
#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/root_key.h"
#include "store/secret_name.h"

namespace secretfs::store {

// Format 1 knows one KMS key and no other thing of KMS. A store of format 1 becomes one of format 2
// when KMS is first used; then programs that know format 1 alone refuse it by its header.
inline constexpr uint32_t kFormatVersion = 2;
inline constexpr uint32_t kFormatVersionMin = 1;

// The one record of a store that is in clear: what must be known before anything can be unsealed.
// Its integrity is checked by a MAC under the store key once that is unwrapped.
struct StoreHeader {
  uint32_t format_version = kFormatVersion;
  std::string store_id;  // UUID.
  Realm realm;
  uint32_t owner_uid = 0;  // May do everything (see OwnerAuthorizer).
  TimeMs created_at = 0;
  crypto::RootKeySource root_key_source;
  Bytes wrapped_store_key;
};

// magic "SECRETFS" || U32 format version || fields || HMAC-SHA-256 (32 bytes) under `mac_key`.
Bytes EncodeStoreHeader(const StoreHeader& header, ByteSpan mac_key);
// Does not check the MAC. Errors: kCorrupt; kFailedPrecondition for a newer format, saying which
// version can read it.
Result<StoreHeader> DecodeStoreHeader(ByteSpan bytes);
// Errors: kCorrupt.
Status CheckStoreHeaderMac(ByteSpan bytes, ByteSpan mac_key);

// What is bound to the wrapped store key.
Bytes StoreKeyPurpose(const std::string& store_id);

}  // namespace secretfs::store
