#include "mount/listen_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <vector>

#include "tests/support/temp_directory.h"

namespace secretfs::mount {
namespace {

class ListenSocketTest : public ::testing::Test {
 protected:
  testing::TempDirectory directory_;
  const std::string path_ = directory_ / "socket";
};

TEST_F(ListenSocketTest, IsOpenToAllAndGoesAwayWithItsOwner) {
  {
    const auto opened = ListenSocket::Open(path_);
    ASSERT_TRUE(opened) << opened.error().message;
    struct stat found{};
    ASSERT_EQ(lstat(path_.c_str(), &found), 0);
    EXPECT_TRUE(S_ISSOCK(found.st_mode));
    EXPECT_EQ(found.st_mode & 0777, 0666u);
    EXPECT_TRUE(ConnectSocket(path_));
  }
  EXPECT_NE(access(path_.c_str(), F_OK), 0);
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(ListenSocketTest, DoesNotTakeTheSocketOfLivingDaemon) {
  const auto first = ListenSocket::Open(path_);
  ASSERT_TRUE(first);
  const auto second = ListenSocket::Open(path_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kFailedPrecondition);
  EXPECT_TRUE(ConnectSocket(path_));
}

TEST_F(ListenSocketTest, IsTakenOverWhileItsPathLeadsToIt) {
  UniqueFd fd;
  {
    auto first = ListenSocket::Open(path_).value();
    fd = UniqueFd(dup(first->fd()));
    // As if its process had been killed: the path stays.
    std::filesystem::rename(path_, path_ + "-kept");
  }
  std::filesystem::rename(path_ + "-kept", path_);
  {
    const auto second = ListenSocket::Adopt(path_, UniqueFd(dup(fd.get())));
    ASSERT_TRUE(second) << second.error().message;
    EXPECT_EQ(ListenerOf(ConnectSocket(path_).value().get()), getpid());
  }
  EXPECT_NE(access(path_.c_str(), F_OK), 0);
  EXPECT_FALSE(ListenSocket::Adopt(path_, UniqueFd(dup(fd.get()))));
}

TEST_F(ListenSocketTest, IsTakenOverAlsoWhenAllPlacesInItsQueueAreTaken) {
  const auto first = ListenSocket::Open(path_).value();
  std::vector<UniqueFd> waiting;
  int error = 0;
  while (auto connection = ConnectSocket(path_, &error, WhenFull::kFail)) {
    waiting.push_back(*std::move(connection));
  }
  EXPECT_EQ(error, EAGAIN);
  const auto other = ListenSocket::Open(path_);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Code::kFailedPrecondition);
  EXPECT_TRUE(ListenSocket::Adopt(path_, UniqueFd(dup(first->fd()))));
}

TEST_F(ListenSocketTest, TellsWhenItWasShutDown) {
  const auto opened = ListenSocket::Open(path_).value();
  EXPECT_FALSE(opened->IsShutDown());
  shutdown(opened->fd(), SHUT_RDWR);
  EXPECT_TRUE(opened->IsShutDown());
  EXPECT_TRUE(ListenSocket::Open(path_));
}

TEST_F(ListenSocketTest, ReplacesTheSocketOfDeadDaemon) {
  {
    auto dead = ListenSocket::Open(path_);
    ASSERT_TRUE(dead);
    // As after SIGKILL: the descriptor closes and the name stays.
    (*dead)->TakeDescriptor();
    int error_number = 0;
    EXPECT_FALSE(ConnectSocket(path_, &error_number));
    EXPECT_EQ(error_number, ECONNREFUSED);
    const auto next = ListenSocket::Open(path_);
    ASSERT_TRUE(next) << next.error().message;
    dead->reset();
    EXPECT_TRUE(ConnectSocket(path_)) << "the dead one's end must leave its successor's socket";
  }
}

TEST_F(ListenSocketTest, LeavesAloneWhatIsNoSocket) {
  std::ofstream(path_) << "precious";
  const auto opened = ListenSocket::Open(path_);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::kAlreadyExists);
  EXPECT_TRUE(std::filesystem::is_regular_file(path_));
}

TEST_F(ListenSocketTest, LongestPathWorksAndOneMoreByteIsNamed) {
  const std::string fits =
      directory_ / std::string(kSocketPathBytesMax - directory_.path().size() - 1, 's');
  ASSERT_EQ(fits.size(), kSocketPathBytesMax);
  const auto opened = ListenSocket::Open(fits);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_TRUE(ConnectSocket(fits));
  const auto longer = ListenSocket::Open(fits + "s");
  ASSERT_FALSE(longer);
  EXPECT_EQ(longer.error().code, Code::kInvalidArgument);
  EXPECT_NE(longer.error().message.find("107"), std::string::npos);
}

TEST_F(ListenSocketTest, MissingDirectoryIsNamed) {
  const auto opened = ListenSocket::Open(directory_ / "no/socket");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::kNotFound);
}

}  // namespace
}  // namespace secretfs::mount
