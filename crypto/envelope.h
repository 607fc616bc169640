#pragma once

#include <cstdint>

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
Result<Bytes> SealEnvelope(const Keyring& keyring, const KeyId& key,
                           const EncryptionContext& context, ByteSpan place,
                           const SecretBuffer& plaintext, RandomSource& random);

// Errors: kCorrupt if the envelope, the context or the place differs in any bit; kKeyUnavailable.
Result<SecretBuffer> OpenEnvelope(const Keyring& keyring, const EncryptionContext& context,
                                  ByteSpan place, ByteSpan envelope);

}  // namespace secretfs::crypto
