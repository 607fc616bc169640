#pragma once

#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "crypto/root_key.h"
#include "store/secret_service.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_directory.h"

namespace secretfs::testing {

// A real store in a private directory, under a real key file, with the clock in the test's hand.
class TempStore {
 public:
  TempStore() {
    CHECK(crypto::CreateKeyFile(key_path(), random));
    root_key = OpenKey(key_path());
    CHECK(store::SecretService::Create(path(), store::Realm{}, getuid(),
                                       crypto::KeyFileSource{key_path()}, *root_key, clock,
                                       random));
  }

  std::string path() const { return directory / "store"; }
  std::string key_path() const { return directory / "root-key"; }
  std::string data_file() const { return path() + "/data.mdb"; }
  std::string audit_directory() const { return path() + "/audit"; }

  std::unique_ptr<crypto::RootKey> OpenKey(const std::string& file) {
    auto key = crypto::OpenRootKey(crypto::KeyFileSource{file}, {}, random);
    CHECK(key);
    return std::move(*key);
  }

  Result<std::unique_ptr<store::SecretService>> TryOpen() {
    store::SecretService::Options options;
    options.directory = path();
    options.audit.segment_bytes = 256 << 10;
    return store::SecretService::Open(options, *root_key, nullptr, clock, random);
  }
  std::unique_ptr<store::SecretService> Open() {
    auto service = TryOpen();
    if (!service) std::fprintf(stderr, "%s\n", service.error().message.c_str());
    CHECK(service);
    return std::move(*service);
  }

  TempDirectory directory;
  FakeClock clock;
  crypto::SystemRandom random;
  std::unique_ptr<crypto::RootKey> root_key;
  store::Principal owner{"arn:aws:iam::000000000000:root", getuid(), getgid()};
  store::Caller caller{owner, store::Door::kSocket, 1};
};

inline store::NewValue TextValue(std::string_view text) {
  return {store::ValueKind::kString, crypto::SecretBuffer::CopyOf(AsBytes(text))};
}

// A valid version id that ends in `tag`: "v1" gives "00000000-0000-0000-0000-0000000000v1".
inline std::string VersionId(std::string_view tag) {
  std::string id = "00000000-0000-0000-0000-000000000000";
  return id.replace(id.size() - tag.size(), tag.size(), tag);
}

inline std::string Text(const crypto::SecretBuffer& buffer) {
  return std::string(AsText(buffer.Reveal()));
}

}  // namespace secretfs::testing
