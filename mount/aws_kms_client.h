#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/clock.h"
#include "crypto/base/result.h"
#include "crypto/secret_buffer.h"
#include "mount/aws_client.h"

namespace secretfs::mount {

// A request to KMS, written member by member in secret memory and without the JSON library, since a
// plaintext may be among the members. Empty texts, lists and maps, and flags that are not set, are
// left out: AWS has defaults for them.
class KmsRequest {
 public:
  // "CreateKey"; or empty, for an object within a request.
  explicit KmsRequest(std::string_view operation);

  KmsRequest& Text(std::string_view name, std::string_view text);
  // Where the empty text says something.
  KmsRequest& TextOrEmpty(std::string_view name, std::string_view text);
  KmsRequest& Number(std::string_view name, std::optional<int64_t> number);
  KmsRequest& Flag(std::string_view name, bool flag);
  KmsRequest& Texts(std::string_view name, const std::vector<std::string>& texts);
  KmsRequest& Map(std::string_view name, const std::map<std::string, std::string>& map);
  // [{"TagKey": ..., "TagValue": ...}, ...]
  KmsRequest& Tags(std::string_view name, const std::map<std::string, std::string>& tags);
  KmsRequest& Blob(std::string_view name, ByteSpan bytes);  // As base64.
  KmsRequest& Object(std::string_view name, const KmsRequest& members);

  const std::string& operation() const { return operation_; }
  // `marker`: where the page begins, as the answer before said. Errors: kInvalidArgument if a text
  // was not UTF-8.
  Result<crypto::SecretBuffer> Body(std::string_view marker = {}) const;

 private:
  void Name(std::string_view name);
  void String(std::string_view text);
  void Raw(std::string_view text) { members_.Append(AsBytes(text)); }

  const std::string operation_;
  crypto::SecretBuffer members_;  // With commas between, without the braces.
  bool is_utf8_ = true;
};

// The daemon's KMS for the command line. Errors: as AwsClient.
class KmsClient {
 public:
  explicit KmsClient(std::string socket_path) : socket_path_(std::move(socket_path)) {}

  Result<AwsAnswer> Call(const KmsRequest& request) const;
  // All pages of an answer's `list`, as one answer that has nothing else.
  Result<AwsAnswer> CallAll(const KmsRequest& request, const char* list) const;
  // What names the key to an operation that takes no alias: `key` itself, or the ARN of the key
  // that its alias points to.
  Result<std::string> WithoutAlias(const std::string& key) const;

 private:
  const std::string socket_path_;
};

// What people may call a KMS key: an id, an ARN, or an alias with or without "alias/". Returns it
// as AWS wants it.
std::string KmsKeyReference(const std::string& text);

// KeyMetadata. Texts are empty where the answer does not say.
struct KmsKeySummary {
  std::string id;
  std::string arn;
  std::string description;
  std::string state;
  std::string spec;
  std::string usage;
  std::string origin;
  std::string manager;
  std::string material_id;
  TimeMs created_at = 0;
  std::optional<TimeMs> deletion_at;
  std::optional<TimeMs> valid_to;
  std::vector<std::string> algorithms;  // Those of its usage.
};
struct KmsAliasSummary {
  std::string name;
  std::string target_id;
  TimeMs updated_at = 0;
};
struct KmsGrantSummary {
  std::string id;
  std::string key;
  std::string name;
  std::string grantee;
  std::string retiring;
  std::vector<std::string> operations;
  std::string constraints;  // As JSON.
};
struct KmsRotationSummary {
  std::string material_id;
  std::string state;
  std::string type;
  TimeMs rotated_at = 0;
};
struct KmsRotationStatus {
  bool enabled = false;
  int64_t period_days = 0;
  TimeMs next_at = 0;
};

// Answers taken apart. Errors: kInternal if an answer is not what the daemon sends.
Result<KmsKeySummary> ParseKeyMetadata(const AwsAnswer& answer);
Result<std::vector<std::string>> ParseKeyIds(const AwsAnswer& answer);
Result<std::vector<KmsAliasSummary>> ParseAliases(const AwsAnswer& answer);
Result<std::vector<KmsGrantSummary>> ParseGrants(const AwsAnswer& answer);
Result<std::vector<KmsRotationSummary>> ParseRotations(const AwsAnswer& answer);
Result<KmsRotationStatus> ParseRotationStatus(const AwsAnswer& answer);
Result<std::map<std::string, std::string>> ParseKeyTags(const AwsAnswer& answer);
Result<TimeMs> ParseTimeMember(const AwsAnswer& answer, const char* name);
// These two read answers that hold plaintexts as well: without the JSON library.
Result<std::string> ParseTextMember(const AwsAnswer& answer, std::string_view name);
Result<crypto::SecretBuffer> ParseBlob(const AwsAnswer& answer, std::string_view name);

}  // namespace secretfs::mount
