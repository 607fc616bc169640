#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "crypto/key_spec.h"
#include "crypto/secret_buffer.h"
#include "store/kms_key.h"

// Requests and answers of the operations of store/kms_service.h that work on data, named as AWS KMS
// names their members; see store/kms_requests.h.
namespace secretfs::store {

// What most cryptographic operations have besides their data.
struct CryptoOptions {
  std::vector<std::string> grant_tokens;
  bool dry_run = false;
  std::string request_id;
};

struct EncryptRequest {
  std::string key_id;
  crypto::SecretBuffer plaintext;
  std::map<std::string, std::string> encryption_context;
  crypto::EncryptionAlgorithm encryption_algorithm = crypto::EncryptionAlgorithm::kSymmetricDefault;
  CryptoOptions options;
};
struct Encrypted {
  Bytes ciphertext_blob;
  std::string key_id;
  crypto::EncryptionAlgorithm encryption_algorithm = crypto::EncryptionAlgorithm::kSymmetricDefault;
};
struct DecryptRequest {
  std::optional<std::string> key_id;
  Bytes ciphertext_blob;
  std::map<std::string, std::string> encryption_context;
  crypto::EncryptionAlgorithm encryption_algorithm = crypto::EncryptionAlgorithm::kSymmetricDefault;
  bool ignore_ciphertext = false;  // DryRunModifiers: IGNORE_CIPHERTEXT.
  CryptoOptions options;
};
struct Decrypted {
  crypto::SecretBuffer plaintext;
  std::string key_id;
  crypto::EncryptionAlgorithm encryption_algorithm = crypto::EncryptionAlgorithm::kSymmetricDefault;
  std::string key_material_id;  // Empty unless symmetric.
};
struct ReEncryptRequest {
  Bytes ciphertext_blob;
  std::optional<std::string> source_key_id;
  std::map<std::string, std::string> source_encryption_context;
  crypto::EncryptionAlgorithm source_encryption_algorithm =
      crypto::EncryptionAlgorithm::kSymmetricDefault;
  std::string destination_key_id;
  std::map<std::string, std::string> destination_encryption_context;
  crypto::EncryptionAlgorithm destination_encryption_algorithm =
      crypto::EncryptionAlgorithm::kSymmetricDefault;
  CryptoOptions options;
};
struct ReEncrypted {
  Bytes ciphertext_blob;
  std::string source_key_id;
  std::string key_id;
  crypto::EncryptionAlgorithm source_encryption_algorithm =
      crypto::EncryptionAlgorithm::kSymmetricDefault;
  crypto::EncryptionAlgorithm destination_encryption_algorithm =
      crypto::EncryptionAlgorithm::kSymmetricDefault;
  std::string source_key_material_id;
  std::string destination_key_material_id;
};
enum class DataKeySpec : uint8_t { kAes256, kAes128 };
struct GenerateDataKeyRequest {
  std::string key_id;
  std::map<std::string, std::string> encryption_context;
  std::optional<DataKeySpec> key_spec;  // Exactly one of these two.
  std::optional<int64_t> number_of_bytes;
  CryptoOptions options;
};
struct DataKey {
  Bytes ciphertext_blob;
  crypto::SecretBuffer plaintext;  // Empty for GenerateDataKeyWithoutPlaintext.
  std::string key_id;
  std::string key_material_id;
};
struct GenerateDataKeyPairRequest {
  std::string key_id;
  std::map<std::string, std::string> encryption_context;
  crypto::KeySpec key_pair_spec = crypto::KeySpec::kEccNistP256;
  CryptoOptions options;
};
struct DataKeyPair {
  Bytes private_key_ciphertext_blob;
  crypto::SecretBuffer private_key_plaintext;  // PKCS#8; empty for ...WithoutPlaintext.
  Bytes public_key;
  std::string key_id;
  crypto::KeySpec key_pair_spec = crypto::KeySpec::kEccNistP256;
  std::string key_material_id;
};
struct GenerateRandomRequest {
  std::optional<int64_t> number_of_bytes;
  std::string custom_key_store_id;
  std::string request_id;
};
struct SignRequest {
  std::string key_id;
  Bytes message;
  crypto::MessageType message_type = crypto::MessageType::kRaw;
  crypto::SigningAlgorithm signing_algorithm = crypto::SigningAlgorithm::kEcdsaSha256;
  CryptoOptions options;
};
struct VerifyRequest {
  SignRequest signed_message;
  Bytes signature;
};
struct Signed {
  std::string key_id;
  Bytes signature;  // Empty for Verify.
  crypto::SigningAlgorithm signing_algorithm = crypto::SigningAlgorithm::kEcdsaSha256;
};
struct MacRequest {
  std::string key_id;
  Bytes message;
  crypto::MacAlgorithm mac_algorithm = crypto::MacAlgorithm::kHmacSha256;
  Bytes mac;  // VerifyMac.
  CryptoOptions options;
};
struct Macced {
  std::string key_id;
  Bytes mac;  // Empty for VerifyMac.
  crypto::MacAlgorithm mac_algorithm = crypto::MacAlgorithm::kHmacSha256;
};
struct DeriveSharedSecretRequest {
  std::string key_id;
  crypto::KeyAgreementAlgorithm key_agreement_algorithm = crypto::KeyAgreementAlgorithm::kEcdh;
  Bytes public_key;
  CryptoOptions options;
};
struct SharedSecret {
  std::string key_id;
  crypto::SecretBuffer shared_secret;
  KeyOrigin key_origin = KeyOrigin::kAwsKms;
};

}  // namespace secretfs::store
