#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "crypto/base/check.h"
#include "crypto/root_key.h"
#include "store/audit_event.h"
#include "store/kms_record.h"
#include "store/record.h"
#include "store/store_header.h"

namespace {

using namespace secretfs;

// Any bytes: refused, or decoded to something whose encoding is stable.
template <typename Decode, typename Encode>
void Check(ByteSpan bytes, const Decode& decode, const Encode& encode) {
  auto decoded = decode(bytes);
  if (!decoded) return;
  Bytes encoded = encode(*decoded);
  auto again = decode(encoded);
  CHECK(again.has_value());
  CHECK(encode(*again) == encoded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  ByteSpan bytes(data + 1, size - 1);
  switch (data[0] % 14) {
    case 0:
      Check(bytes, store::DecodeSecret, store::EncodeSecret);
      break;
    case 1:
      Check(bytes, store::DecodeVersionRecord, store::EncodeVersionRecord);
      break;
    case 2:
      Check(bytes, store::DecodeKmsKey, store::EncodeKmsKey);
      break;
    case 3:
      Check(bytes, store::DecodePathRecord, store::EncodePathRecord);
      break;
    case 4:
      Check(bytes, store::DecodeInternedName, store::EncodeInternedName);
      break;
    case 5:
      Check(bytes, store::DecodeCounters, store::EncodeCounters);
      break;
    case 6:
      Check(bytes, store::DecodeChange, store::EncodeChange);
      break;
    case 7:
      Check(bytes, store::DecodeAuditEvent, [](const store::AuditEvent& event) {
        return store::EncodeAuditEvent(store::ViewOf(event));
      });
      break;
    case 8:
      Check(bytes, store::DecodeStoreHeader,
            [](const store::StoreHeader& header) { return store::EncodeStoreHeader(header, {}); });
      break;
    case 9:
      Check(bytes, crypto::DecodeRootKeySource, crypto::EncodeRootKeySource);
      break;
    case 10:
      Check(bytes, store::DecodeAlias, store::EncodeAlias);
      break;
    case 11:
      Check(bytes, store::DecodeGrant, store::EncodeGrant);
      break;
    case 12:
      Check(bytes, store::DecodeKeyUse, store::EncodeKeyUse);
      break;
    default:
      Check(bytes, store::DecodeKmsCounts, store::EncodeKmsCounts);
      break;
  }
  return 0;
}
