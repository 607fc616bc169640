#include "store/store_header.h"

#include <algorithm>

#include "crypto/kdf.h"

namespace secretfs::store {
namespace {

constexpr std::string_view kMagic = "SECRETFS";
constexpr size_t kMacBytes = 32;

}  // namespace

Bytes EncodeStoreHeader(const StoreHeader& header, ByteSpan mac_key) {
  ByteWriter out;
  out.Raw(AsBytes(kMagic)).U32(header.format_version);
  out.Sized(header.store_id).Sized(header.realm.region).Sized(header.realm.account);
  out.U32(header.owner_uid).U64(static_cast<uint64_t>(header.created_at));
  out.Sized(crypto::EncodeRootKeySource(header.root_key_source)).Sized(header.wrapped_store_key);
  crypto::Digest mac = crypto::HmacSha256(mac_key, out.bytes());
  out.Raw(mac);
  return out.Take();
}

Result<StoreHeader> DecodeStoreHeader(ByteSpan bytes) {
  ByteReader in(bytes);
  StoreHeader header;
  bool magic = AsText(in.Raw(kMagic.size())) == kMagic;
  header.format_version = in.U32();
  if (magic && header.format_version > kFormatVersion) {
    return Fail(Code::kFailedPrecondition,
                "the store has format " + std::to_string(header.format_version) +
                    ", newer than the format " + std::to_string(kFormatVersion) +
                    " of this program; use the newer secretfs that wrote it");
  }
  header.store_id = in.SizedText();
  header.realm.region = in.SizedText();
  header.realm.account = in.SizedText();
  header.owner_uid = in.U32();
  header.created_at = static_cast<TimeMs>(in.U64());
  ByteSpan source = in.Sized();
  ByteSpan wrapped = in.Sized();
  in.Raw(kMacBytes);
  if (!magic || header.format_version < kFormatVersionMin || !in.Complete()) {
    return Fail(Code::kCorrupt, "the store's header is damaged; restore the store from a backup");
  }
  TRY_ASSIGN(header.root_key_source, crypto::DecodeRootKeySource(source));
  header.wrapped_store_key.assign(wrapped.begin(), wrapped.end());
  return header;
}

Status CheckStoreHeaderMac(ByteSpan bytes, ByteSpan mac_key) {
  if (bytes.size() >= kMacBytes) {
    crypto::Digest mac = crypto::HmacSha256(mac_key, bytes.first(bytes.size() - kMacBytes));
    // Both sides are public to whoever holds the file, so the comparison need not hide its timing.
    if (std::ranges::equal(mac, bytes.last(kMacBytes))) return {};
  }
  return Fail(Code::kCorrupt, "the store's header was altered; restore the store from a backup");
}

Bytes StoreKeyPurpose(const std::string& store_id) {
  return ByteWriter().Sized("secretfs store key v1").Sized(store_id).Take();
}

}  // namespace secretfs::store
