#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "crypto/key_spec.h"
#include "mount/aws_operation.h"
#include "store/kms_crypto_requests.h"
#include "store/kms_requests.h"

// Members that several operations of KMS have, read and written.
namespace secretfs::mount {

inline constexpr LengthLimits kGrantTokenLimits{.characters_max = 8192, .items_max = 10};
inline constexpr TagShape kKeyTagShape{
    .key = "TagKey", .value = "TagValue", .items_max = SIZE_MAX, .duplicate = Code::kInvalidTag};

// KeyId alone.
store::KeyRequest ReadKey(MemberReader& in, const AwsCall& call);
// KeyId and GrantTokens.
store::DescribeKeyRequest ReadDescribe(MemberReader& in, const AwsCall& call);
// Limit and Marker.
store::PageRequest ReadPage(MemberReader& in);
// GrantTokens and DryRun.
store::CryptoOptions ReadOptions(MemberReader& in, const AwsCall& call);

// An enumeration of crypto/key_spec.h.
template <typename Enum>
std::optional<Enum> ReadName(MemberReader& in, const char* member) {
  return in.OneOf<Enum>(member, crypto::AllOf<Enum>(), &crypto::NameOf<Enum>);
}
template <typename Enum>
Enum ReadRequiredName(MemberReader& in, const char* member) {
  in.Require(member);
  return ReadName<Enum>(in, member).value_or(Enum{});
}

// A secret of the request, as bytes of ordinary memory or as they are.
Bytes TakeBytes(AwsMessage& message, const char* name, MemberReader& in);
crypto::SecretBuffer TakeSecret(AwsMessage& message, const char* name, MemberReader& in);
Bytes ReadRequiredBlob(MemberReader& in, const char* name);

template <typename Enum>
Json NamesJson(std::span<const Enum> values) {
  Json names = Json::array();
  for (Enum value : values) names.push_back(crypto::NameOf(value));
  return names;
}

// Appends what ends every list: NextMarker, Truncated.
void PutPageEnd(Json& out, const std::string& next_marker);

// KeySpec, KeyUsage and the algorithms that go with them.
void PutKeyKind(Json& out, const store::KmsKey& key);
// DescribeKey's KeyMetadata.
Json KeyMetadataJson(const store::KmsKey& key, const store::Realm& realm);
std::string KeyIdText(const crypto::KeyId& key);

}  // namespace secretfs::mount
