#include "mount/systemd.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

#include "crypto/base/check.h"
#include "crypto/base/unique_fd.h"
#include "tests/support/temp_directory.h"

namespace secretfs::mount {
namespace {

// What a service manager on `address` hears. A leading "@" means the abstract name space.
std::string Hear(const std::string& address, std::string_view state) {
  sockaddr_un bound{};
  bound.sun_family = AF_UNIX;
  CHECK(address.size() < sizeof bound.sun_path);
  std::memcpy(bound.sun_path, address.data(), address.size());
  if (address[0] == '@') bound.sun_path[0] = '\0';
  const UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  CHECK(bind(fd.get(), reinterpret_cast<sockaddr*>(&bound),
             static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size())) == 0);
  ServiceManager(address).Notify(state);
  char heard[256];
  const ssize_t size = recv(fd.get(), heard, sizeof heard, MSG_DONTWAIT);
  return size < 0 ? "nothing" : std::string(heard, static_cast<size_t>(size));
}

TEST(SystemdTest, ReachesTheManagerAtPathAndInTheAbstractNameSpace) {
  const testing::TempDirectory directory;
  EXPECT_EQ(Hear(directory / "notify", "READY=1\nSTATUS=x"), "READY=1\nSTATUS=x");
  EXPECT_EQ(Hear("@" + directory.path(), "STOPPING=1"), "STOPPING=1");
}

TEST(SystemdTest, NobodyToTellIsFine) {
  ServiceManager("").Notify("READY=1");
  ServiceManager("/nonexistent/notify").Notify("READY=1");
  ServiceManager(std::string(500, '/')).Notify("READY=1");
}

}  // namespace
}  // namespace secretfs::mount
