// Changes the root key of a store that no daemon has open, and waits to be killed.
//
//   rewrap_store STORE OLD_KEY_FILE NEW_KEY_FILE
//
// Writes one byte to standard output just before the change begins.

#include <unistd.h>

#include <cstdio>

#include "store/kms_service.h"
#include "store/secret_service.h"

namespace {

using namespace secretfs;

Status Rewrap(const std::string& store, const std::string& old_file, const std::string& new_file) {
  SystemClock clock;
  crypto::SystemRandom random;
  TRY_ASSIGN(const auto old_key, crypto::OpenRootKey(crypto::KeyFileSource{old_file}, {}, random));
  TRY_ASSIGN(auto new_key, crypto::OpenRootKey(crypto::KeyFileSource{new_file}, {}, random));
  store::SecretService::Options options;
  options.directory = store;
  TRY_ASSIGN(const auto service,
             store::SecretService::Open(options, *old_key, nullptr, clock, random));
  const store::Principal owner{"arn:aws:iam::000000000000:root", getuid(), getgid()};
  const store::Caller caller{owner, store::Door::kSocket, 0};
  if (write(1, "x", 1) != 1) return Fail(Code::kUnavailable, "standard output is closed");
  TRY(service->kms().RewrapAll(caller, std::move(new_key), crypto::KeyFileSource{new_file}, ""));
  for (;;) pause();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s STORE OLD_KEY_FILE NEW_KEY_FILE\n", argv[0]);
    return 2;
  }
  const Status done = Rewrap(argv[1], argv[2], argv[3]);
  std::fprintf(stderr, "%s\n", done.error().message.c_str());
  return 1;
}
