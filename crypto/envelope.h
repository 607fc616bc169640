#pragma once

#include <cstdint>
#include <optional>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "crypto/keyring.h"
#include "crypto/random.h"
#include "crypto/secret_buffer.h"

namespace secretfs::crypto {

// Encrypts `plaintext` under a fresh 256-bit data key and stores that key beside it, encrypted by
// the KMS key `key` under `context` (AWS: GenerateDataKey once per version, encryption context
// {SecretARN, SecretVersionId}). `place` names where the envelope will be stored and is bound to
// the value as associated data.
//
// Returns the envelope of crypto/FORMAT.md. A data key encrypts exactly one message, so its nonce
// is no concern. Errors: kKeyUnavailable.
Result<Bytes> SealEnvelope(Keyring& keyring, const KeyId& key, const EncryptionContext& context,
                           ByteSpan place, const SecretBuffer& plaintext, RandomSource& random);

// Errors: kCorrupt if the envelope, the context or the place differs in any bit; kKeyUnavailable.
Result<SecretBuffer> OpenEnvelope(Keyring& keyring, const EncryptionContext& context,
                                  ByteSpan place, ByteSpan envelope);

// Encrypts the envelope's data key anew, under the KMS key `key`; the encrypted value stays as it
// is. Errors: as SealEnvelope() and OpenEnvelope(); the value itself is not looked at.
Result<Bytes> RewrapEnvelope(Keyring& keyring, const KeyId& key, const EncryptionContext& context,
                             ByteSpan envelope, RandomSource& random);

// Which key material encrypts the envelope's data key; nullopt if it is no envelope.
std::optional<BlobOrigin> ReadEnvelopeOrigin(ByteSpan envelope);

}  // namespace secretfs::crypto
