#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "crypto/asymmetric_key.h"
#include "crypto/base/check.h"
#include "crypto/key_import.h"

namespace {

using namespace secretfs;
using namespace secretfs::crypto;

const std::vector<KeySpec>& KeyPairs() {
  static const std::vector<KeySpec> specs = [] {
    std::vector<KeySpec> supported;
    std::ranges::copy_if(AllOf<KeySpec>(), std::back_inserter(supported),
                         [](KeySpec spec) { return IsAsymmetric(spec) && IsSupported(spec); });
    return supported;
  }();
  return specs;
}

// Any bytes: refused, or a key whose encoding is stable and that works.
void CheckPrivateKey(KeySpec spec, ByteSpan bytes) {
  const SecretBuffer pkcs8 = SecretBuffer::CopyOf(bytes);
  (void)AsymmetricKey::FromOwnPkcs8(spec, pkcs8);
  const auto key = AsymmetricKey::FromPkcs8(spec, pkcs8);
  if (!key) return;
  const SecretBuffer written = key->ToPkcs8();
  const auto again = AsymmetricKey::FromOwnPkcs8(spec, written);
  CHECK(again.has_value() && again->ToPkcs8().Equals(written));
  CHECK(again->PublicKeyDer() == key->PublicKeyDer());
  const auto algorithm = SigningAlgorithmsOf(spec, KeyUsage::kSignVerify).front();
  const MessageToSign message{algorithm, MessageType::kRaw, AsBytes("message")};
  const auto signature = key->Sign(message);
  CHECK(signature && again->Verify(message, *signature));
}

void CheckPeer(ByteSpan bytes) {
  static const AsymmetricKey key = AsymmetricKey::Generate(KeySpec::kEccNistP256).value();
  const auto secret = key.DeriveSharedSecret(bytes);
  CHECK(!secret || secret->size() == 32);
}

// The RSA layer is right, so that what it carries is reached.
void CheckUnwrap(const ImportRequest& request, ByteSpan bytes) {
  static const WrappingKey key = WrappingKey::Generate(WrappingKeySpec::kRsa2048).value();
  static const AsymmetricKey sender =
      AsymmetricKey::FromOwnPkcs8(KeySpec::kRsa2048, key.ToPkcs8()).value();
  static const auto oaep = EncryptionAlgorithm::kRsaesOaepSha256;
  static const Bytes wrapped_aes_key = sender.Encrypt(oaep, SecretBuffer(32)).value();
  if (!CanImport(request.spec, {request.algorithm, key.spec()})) return;
  Bytes encrypted = wrapped_aes_key;
  if (request.algorithm == WrappingAlgorithm::kRsaesOaepSha256) {
    if (bytes.size() > PlaintextBytesMax(KeySpec::kRsa2048, oaep)) return;
    encrypted = sender.Encrypt(oaep, SecretBuffer::CopyOf(bytes)).value();
  } else {
    encrypted.insert(encrypted.end(), bytes.begin(), bytes.end());
  }
  const auto material = key.Unwrap(request, encrypted);
  (void)key.Unwrap(request, bytes);
  if (!material) return;
  CHECK(IsAsymmetric(request.spec) ? AsymmetricKey::FromPkcs8(request.spec, *material).has_value()
                                   : material->size() == MaterialBytes(request.spec));
}

}  // namespace

// The first byte says which spec, the second what is done with the rest.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const ByteSpan bytes(data + 2, size - 2);
  const auto specs = AllOf<KeySpec>();
  const KeySpec spec = specs[data[0] % specs.size()];
  switch (data[1] % 5) {
    case 0:
      CheckPrivateKey(KeyPairs()[data[0] % KeyPairs().size()], bytes);
      break;
    case 1:
      CheckPeer(bytes);
      break;
    case 2:
      CheckUnwrap({spec, WrappingAlgorithm::kRsaesOaepSha256}, bytes);
      break;
    case 3:
      CheckUnwrap({spec, WrappingAlgorithm::kRsaAesKeyWrapSha256}, bytes);
      break;
    default:
      (void)UnwrapWithAes(Bytes(32), bytes);
      break;
  }
  return 0;
}
