#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "store/error_name.h"
#include "store/kms_service.h"
#include "tests/store/service_fixture.h"

namespace secretfs::store {

// A service over a store of its own, and short words for what tests of keys do.
class KmsTest : public SecretServiceTest {
 protected:
  KmsService& kms() { return service_->kms(); }

  // Returns the key's id.
  std::string CreateKey(CreateKeyRequest request = {}) {
    auto key = kms().CreateKey(store_.caller, request);
    EXPECT_TRUE(key) << key.error().message;
    return key ? crypto::FormatUuid((*key)->id) : "";
  }
  std::string CreateKey(crypto::KeySpec spec, crypto::KeyUsage usage) {
    CreateKeyRequest request;
    request.key_spec = spec;
    request.key_usage = usage;
    return CreateKey(request);
  }
  std::string CreateExternalKey() {
    CreateKeyRequest request;
    request.origin = KeyOrigin::kExternal;
    return CreateKey(request);
  }
  KmsKey Describe(const std::string& key) {
    auto described = kms().DescribeKey(store_.caller, {key, {}, ""});
    EXPECT_TRUE(described) << described.error().message;
    return described ? **described : KmsKey{};
  }
  KeyState StateOf(const std::string& key) { return Describe(key).state; }
  Result<Encrypted> Encrypt(const std::string& key, std::string_view text,
                            ContextMap context = {}) {
    EncryptRequest request;
    request.key_id = key;
    request.plaintext = crypto::SecretBuffer::CopyOf(AsBytes(text));
    request.encryption_context = std::move(context);
    return kms().Encrypt(store_.caller, request);
  }
  Result<Decrypted> Decrypt(const Bytes& blob, ContextMap context = {},
                            std::optional<std::string> key = {}) {
    DecryptRequest request;
    request.key_id = std::move(key);
    request.ciphertext_blob = blob;
    request.encryption_context = std::move(context);
    return kms().Decrypt(store_.caller, request);
  }
  std::string DecryptText(const Bytes& blob, ContextMap context = {}) {
    auto plaintext = Decrypt(blob, std::move(context));
    return plaintext ? testing::Text(plaintext->plaintext)
                     : "error: " + NameOf(plaintext.error().code);
  }
  static std::string NameOf(Code code) { return std::string(AwsErrorName(code, AwsService::kKms)); }
  // "ok", or the name that AWS gives the error.
  template <typename Answer>
  static std::string Outcome(const Answer& answer) {
    return answer ? "ok" : NameOf(answer.error().code);
  }
  std::string Enable(const std::string& key) {
    return Outcome(kms().EnableKey(store_.caller, {key, ""}));
  }
  std::string Disable(const std::string& key) {
    return Outcome(kms().DisableKey(store_.caller, {key, ""}));
  }
  std::string Schedule(const std::string& key, std::optional<int64_t> days = {},
                       bool confirm = true) {
    return Outcome(kms().ScheduleKeyDeletion(store_.caller, {key, days, confirm, ""}));
  }
  std::string Cancel(const std::string& key) {
    return Outcome(kms().CancelKeyDeletion(store_.caller, {key, ""}));
  }
  std::string Alias(const std::string& name, const std::string& key) {
    return Outcome(kms().CreateAlias(store_.caller, {name, key, ""}));
  }
  Result<WrittenVersion> CreateUnder(const std::string& name, const std::string& token,
                                     const std::string& value, const std::string& key) {
    CreateRequest request;
    request.name = name;
    request.client_request_token = testing::VersionId(token);
    request.value = testing::TextValue(value);
    request.kms_key_id = key;
    return service_->CreateSecret(store_.caller, std::move(request));
  }
  std::string ArnOf(const std::string& key) const {
    return "arn:aws:kms:local-1:000000000000:key/" + key;
  }

  Principal stranger_{"arn:aws:iam::000000000000:user/eve", 54321, 54321};
  Caller eve_{stranger_, Door::kSocket, 1};
};

}  // namespace secretfs::store
