#include "mount/log_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "crypto/base/check.h"
#include "tests/support/temp_directory.h"

namespace secretfs::mount {
namespace {

// Standard error is the log for the life of this.
class StandardErrorInFile {
 public:
  explicit StandardErrorInFile(const std::string& path)
      : before_(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)) {
    const auto file = OpenLogFile(path);
    CHECK(file);
    CHECK(dup2(file->get(), STDERR_FILENO) == STDERR_FILENO);
  }
  ~StandardErrorInFile() { CHECK(dup2(before_.get(), STDERR_FILENO) == STDERR_FILENO); }

  static void Write(const std::string& text) {
    CHECK(write(STDERR_FILENO, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }

 private:
  const UniqueFd before_;
};

TEST(LogFileTest, IsPrivateAndAppendedTo) {
  const testing::TempDirectory directory;
  const std::string path = LogFilePath(directory.path());
  for (int i = 0; i < 2; ++i) {
    const auto file = OpenLogFile(path);
    ASSERT_TRUE(file);
    ASSERT_EQ(write(file->get(), "line\n", 5), 5);
  }
  struct stat found{};
  ASSERT_EQ(stat(path.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
  EXPECT_EQ(found.st_size, 10);
}

TEST(LogFileTest, IsEmptiedForAllWhoHaveItOpenWhenItIsTooLong) {
  const testing::TempDirectory directory;
  const std::string path = LogFilePath(directory.path());
  const auto keepers = OpenLogFile(path);
  ASSERT_TRUE(keepers);
  {
    const StandardErrorInFile log(path);
    log.Write("short\n");
    BoundLogFile(path);
    EXPECT_FALSE(std::filesystem::exists(path + ".1"));
    log.Write(std::string(kLogFileBytesMax, 'x'));
    BoundLogFile(path);
    log.Write("new\n");
    ASSERT_EQ(write(keepers->get(), "kept\n", 5), 5);
    // And again, in place of the one before.
    log.Write(std::string(kLogFileBytesMax, 'y'));
    EXPECT_EQ(std::filesystem::file_size(path), 9u + kLogFileBytesMax);
    EXPECT_EQ(std::filesystem::file_size(path + ".1"), 6u + kLogFileBytesMax);
    BoundLogFile(path);
  }
  EXPECT_EQ(std::filesystem::file_size(path), 0u);
  EXPECT_EQ(std::filesystem::file_size(path + ".1"), 9u + kLogFileBytesMax);
  struct stat copy{};
  ASSERT_EQ(stat((path + ".1").c_str(), &copy), 0);
  EXPECT_EQ(copy.st_mode & 0777, 0600u);
  EXPECT_FALSE(std::filesystem::exists(path + ".new"));
}

TEST(LogFileTest, StaysAsItIsWhenItCannotBeCopied) {
  const testing::TempDirectory directory;
  const std::string path = LogFilePath(directory.path());
  std::filesystem::create_directory(path + ".new");
  const StandardErrorInFile log(path);
  log.Write(std::string(kLogFileBytesMax + 1, 'x'));
  BoundLogFile(path);
  EXPECT_EQ(std::filesystem::file_size(path), kLogFileBytesMax + 1u);
  EXPECT_FALSE(std::filesystem::exists(path + ".1"));
}

TEST(LogFileTest, LeavesAlogThatIsNotStandardErrorAlone) {
  const testing::TempDirectory directory;
  const std::string path = LogFilePath(directory.path());
  ASSERT_TRUE(OpenLogFile(path));
  std::filesystem::resize_file(path, 2 * kLogFileBytesMax);
  BoundLogFile(path);
  EXPECT_FALSE(std::filesystem::exists(path + ".1"));
}

}  // namespace
}  // namespace secretfs::mount
