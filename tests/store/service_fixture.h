#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/secret_service.h"
#include "tests/support/temp_store.h"

namespace secretfs::store {

// A service over a store of its own, and short words for what its tests do.
class SecretServiceTest : public ::testing::Test {
 protected:
  SecretServiceTest() : service_(store_.Open()) {}

  Result<WrittenVersion> Create(const std::string& name, const std::string& token,
                                const std::string& value) {
    CreateRequest request;
    request.name = name;
    request.client_request_token = testing::VersionId(token);
    request.value = testing::TextValue(value);
    return service_->CreateSecret(store_.caller, std::move(request));
  }
  Result<WrittenVersion> Put(const std::string& name, const std::string& token,
                             const std::string& value, std::vector<std::string> stages = {},
                             std::optional<std::string> if_version = {}) {
    PutRequest request;
    request.secret_id = name;
    request.client_request_token = testing::VersionId(token);
    request.value = testing::TextValue(value);
    request.version_stages = std::move(stages);
    request.if_version = std::move(if_version);
    return service_->PutSecretValue(store_.caller, std::move(request));
  }
  std::string Get(const std::string& name, const VersionSelector& selector = {}) {
    auto value = service_->GetSecretValue(store_.caller, name, selector, "request");
    return value ? testing::Text(value->bytes) : "error: " + value.error().message;
  }
  Result<DeletedSecret> Delete(const std::string& name, bool force,
                               std::optional<int64_t> days = {}) {
    return service_->DeleteSecret(store_.caller, {name, days, force, ""});
  }
  PathId PathOf(const std::string& name) {
    return service_->DescribeSecret(store_.caller, name, "").value()->path;
  }
  std::vector<AuditEvent> Events() {
    std::vector<AuditEvent> events;
    auto report = service_->ReadAudit(
        store_.caller,
        [&](uint64_t, const AuditEvent& event) {
          events.push_back(event);
          return true;
        },
        "");
    EXPECT_EQ(report->problem, "");
    return events;
  }
  void Reopen() {
    service_.reset();
    service_ = store_.Open();
  }

  testing::TempStore store_;
  std::unique_ptr<SecretService> service_;
};

}  // namespace secretfs::store
