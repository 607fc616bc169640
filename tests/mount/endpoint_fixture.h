#pragma once

#include <unistd.h>

#include <string>

#include "fs/callers.h"
#include "mount/aws_endpoint.h"
#include "mount/root_key_changer.h"
#include "mount/status.h"
#include "tests/support/temp_store.h"

namespace secretfs::mount {

// An endpoint over a real store in a private directory.
struct EndpointParts {
  testing::TempStore temp;
  std::unique_ptr<store::SecretService> service = temp.Open();
  fs::Callers callers{service->realm(), getuid(), temp.clock};
  std::unique_ptr<fs::SharedState> state = std::make_unique<fs::SharedState>();
  StatusReporter status{*service, *state, {.mountpoint = "/mnt/secrets"}, temp.clock};
  RootKeyChanger root_keys{*service, {}, temp.random};
  AwsEndpoint endpoint{*service, callers, status, root_keys};
};

inline std::string BodyText(const HttpAnswer& answer) {
  if (const auto* text = std::get_if<std::string>(&answer.body)) return *text;
  return std::string(AsText(std::get<crypto::SecretBuffer>(answer.body).Reveal()));
}

}  // namespace secretfs::mount
