#include "mount/config.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <regex>
#include <sstream>

#include "mount/settings.h"
#include "tests/support/temp_directory.h"

namespace secretfs::mount {
namespace {

const Environment kRoot{.uid = 0, .variables = {}};

std::string Example() {
  std::ifstream file(std::string(SECRETFS_SOURCE_DIR) + "/packaging/secretfs.toml");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string ErrorOf(std::string_view text) {
  const auto config = ParseConfig(text, "secretfs.toml", DefaultConfig(kRoot));
  if (config) return "no error";
  EXPECT_EQ(config.error().code, Code::kInvalidArgument);
  return config.error().message;
}

TEST(ConfigTest, EmptyTextGivesTheDefaults) {
  const auto config = ParseConfig("", "secretfs.toml", DefaultConfig(kRoot));
  ASSERT_TRUE(config);
  EXPECT_EQ(*config, DefaultConfig(kRoot));
}

TEST(ConfigTest, ExampleChangesNothing) {
  ASSERT_FALSE(Example().empty());
  const auto config = ParseConfig(Example(), "secretfs.toml", DefaultConfig(kRoot));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(*config, DefaultConfig(kRoot));
}

TEST(ConfigTest, UncommentedExampleIsTheDefaults) {
  const std::regex option("(^|\n)#([a-z_]+ = )");
  const std::string text = std::regex_replace(Example(), option, "$1$2");
  ASSERT_NE(text, Example());
  // Over an empty config, so that an option that the example forgets shows.
  Config other;
  other.audit_segment_mib = 99;
  other.audit_sync_interval_ms = 99;
  const auto config = ParseConfig(text, "secretfs.toml", other);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(*config, DefaultConfig(kRoot));
}

TEST(ConfigTest, EveryOptionIsRead) {
  const auto config = ParseConfig(
      "store = '/s'\nmountpoint = '/m'\nsocket = '/k'\n"
      "[mount]\nallow_other = true\nrefuse_mapping = true\nuser = 'u'\nreader_threads = 3\n"
      "[audit]\ndirectory = '/a'\nsegment_mib = 7\nsync_interval_ms = 250\n",
      "secretfs.toml", {});
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(*config, (Config{.store = "/s",
                             .mountpoint = "/m",
                             .socket = "/k",
                             .allow_other = true,
                             .refuse_mapping = true,
                             .user = "u",
                             .reader_threads = 3,
                             .audit_directory = "/a",
                             .audit_segment_mib = 7,
                             .audit_sync_interval_ms = 250}));
}

TEST(ConfigTest, WhatIsWrittenReadsTheSame) {
  const Config config{.store = "/with \"quotes\" and \\ and \n",
                      .mountpoint = "/m\xC3\xA9",
                      .socket = "/k",
                      .allow_other = true,
                      .refuse_mapping = true,
                      .user = "u",
                      .reader_threads = 3,
                      .system_call_filter = false,
                      .audit_directory = "/a",
                      .audit_segment_mib = 7,
                      .audit_sync_interval_ms = 250};
  const auto read = ParseConfig(FormatConfig(config), "written", {});
  ASSERT_TRUE(read) << read.error().message << FormatConfig(config);
  EXPECT_EQ(*read, config);
}

TEST(ConfigTest, UnknownKeyNamesItsLineAndTheNearestKey) {
  EXPECT_EQ(
      ErrorOf("store = '/s'\n\n[mount]\nreader_threads = 1\nalow_other = true\n"),
      "secretfs.toml:5: unknown key \"alow_other\" in [mount]; did you mean \"allow_other\"?");
  EXPECT_EQ(ErrorOf("stor = '/s'"),
            "secretfs.toml:1: unknown key \"stor\"; did you mean \"store\"?");
  EXPECT_EQ(ErrorOf("[mount]\nstore = '/s'"),
            "secretfs.toml:2: unknown key \"store\" in [mount]; known are \"allow_other\", "
            "\"refuse_mapping\", \"user\", \"reader_threads\", \"system_call_filter\"");
}

TEST(ConfigTest, UnknownTableNamesTheNearestTable) {
  EXPECT_EQ(ErrorOf("\n[mounts]\nallow_other = true\n"),
            "secretfs.toml:2: unknown table [mounts]; did you mean [mount]?");
  EXPECT_EQ(ErrorOf("[kubernetes]\n"),
            "secretfs.toml:1: unknown table [kubernetes]; known are [mount], [audit]");
}

TEST(ConfigTest, WrongTypeOrRangeSaysWhatIsWanted) {
  EXPECT_EQ(ErrorOf("store = 7"),
            "secretfs.toml:1: \"store\" must be an absolute path in quotes; correct that line");
  const char* relative[] = {"store = 'here'", "store = ''", "store = \"/a\\u0000b\"", "[store]"};
  for (const char* text : relative) {
    EXPECT_NE(ErrorOf(text).find("must be an absolute path"), std::string::npos) << text;
  }
  EXPECT_EQ(ErrorOf("[mount]\nallow_other = 'yes'"),
            "secretfs.toml:2: \"allow_other\" in [mount] must be true or false; correct that line");
  const char* numbers[] = {"reader_threads = -1", "reader_threads = 9", "reader_threads = 1.5",
                           "reader_threads = '1'"};
  for (const char* text : numbers) {
    EXPECT_EQ(ErrorOf("[mount]\n" + std::string(text)),
              "secretfs.toml:2: \"reader_threads\" in [mount] must be a whole number from 0 to 8; "
              "correct that line")
        << text;
  }
}

TEST(ConfigTest, MalformedTomlNamesItsLine) {
  EXPECT_EQ(ErrorOf("store = '/s'\nmountpoint = [\n").substr(0, 17), "secretfs.toml:2: ");
  EXPECT_EQ(ErrorOf("store = '/s'\nstore = '/t'\n").substr(0, 17), "secretfs.toml:2: ");
  EXPECT_EQ(ErrorOf("\xff = 1").substr(0, 17), "secretfs.toml:1: ");
}

TEST(ConfigTest, LoadNamesTheFileThatItCannotRead) {
  const testing::TempDirectory directory;
  const auto absent = LoadConfig(directory / "absent.toml", {});
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, Code::kNotFound);
  EXPECT_NE(absent.error().message.find(directory / "absent.toml"), std::string::npos);
  const auto folder = LoadConfig(directory.path(), {});
  ASSERT_FALSE(folder);
  EXPECT_EQ(folder.error().code, Code::kUnavailable);
}

class SettingsTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ / name) << text;
    return directory_ / name;
  }
  Environment User(std::map<std::string, std::string> variables) {
    variables.try_emplace("HOME", directory_.path());
    return {.uid = 1000, .variables = std::move(variables)};
  }

  static PlaceFlags WithConfig(const std::string& path) {
    PlaceFlags flags;
    flags.config = path;
    return flags;
  }

  testing::TempDirectory directory_;
};

TEST_F(SettingsTest, DefaultsOfUserFollowTheXdgDirectories) {
  const Config config = DefaultConfig({.uid = 1000,
                                       .variables = {{"HOME", "/home/user"},
                                                     {"XDG_DATA_HOME", "/data"},
                                                     {"XDG_RUNTIME_DIR", "/run/user/1000"}}});
  EXPECT_EQ(config.store, "/data/secretfs");
  EXPECT_EQ(config.mountpoint, "/run/user/1000/secretfs");
  EXPECT_EQ(config.socket, "/run/user/1000/secretfs.sock");
  EXPECT_FALSE(config.allow_other);
}

TEST_F(SettingsTest, UserWithoutRuntimeDirectoryHasNoSocket) {
  const Config config =
      DefaultConfig({.uid = 1000, .variables = {{"HOME", "/home/user"}, {"XDG_DATA_HOME", "x"}}});
  EXPECT_EQ(config.store, "/home/user/.local/share/secretfs");
  EXPECT_EQ(config.mountpoint, "");
  EXPECT_EQ(config.socket, "");
}

TEST_F(SettingsTest, RootIgnoresTheXdgDirectoriesOfWhoeverBecameRoot) {
  EXPECT_EQ(DefaultConfig({.uid = 0, .variables = {{"XDG_RUNTIME_DIR", "/run/user/1000"}}}).socket,
            "/run/secretfs.sock");
}

TEST_F(SettingsTest, FlagsWinOverEnvironmentOverConfigOverDefaults) {
  const std::string file = Write("c.toml",
                                 "store = '/c/store'\nsocket = '/c/socket'\n"
                                 "mountpoint = '/c/mount'\n");
  const Environment environment = User({{"SECRETFS_CONFIG", file},
                                        {"SECRETFS_STORE", "/e/store"},
                                        {"SECRETFS_SOCKET", "/e/socket"}});
  const auto config = ResolveConfig(
      {.config = {}, .store = "/f/store", .mountpoint = {}, .socket = {}}, environment);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->store, "/f/store");
  EXPECT_EQ(config->socket, "/e/socket");
  EXPECT_EQ(config->mountpoint, "/c/mount");
  EXPECT_EQ(config->audit_segment_mib, 4);
}

TEST_F(SettingsTest, AbsentDefaultConfigIsFineButNamedOneIsNot) {
  EXPECT_TRUE(ResolveConfig({}, User({})));
  const auto flag = ResolveConfig(WithConfig(directory_ / "no.toml"), User({}));
  ASSERT_FALSE(flag);
  EXPECT_EQ(flag.error().code, Code::kNotFound);
  EXPECT_FALSE(ResolveConfig({}, User({{"SECRETFS_CONFIG", directory_ / "no.toml"}})));
}

TEST_F(SettingsTest, DefaultConfigIsReadWhereItIs) {
  mkdir((directory_ / "secretfs").c_str(), 0700);
  Write("secretfs/secretfs.toml", "store = '/from/the/default/config'\n");
  const auto config = ResolveConfig({}, User({{"XDG_CONFIG_HOME", directory_.path()}}));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->store, "/from/the/default/config");
}

TEST_F(SettingsTest, PathsBecomeAbsolute) {
  EXPECT_EQ(AbsolutePath("/a/./b//c/../d/"), "/a/b/d");
  EXPECT_EQ(AbsolutePath("/"), "/");
  EXPECT_TRUE(AbsolutePath("x").starts_with('/'));
  EXPECT_TRUE(AbsolutePath("x").ends_with("/x"));
}

}  // namespace
}  // namespace secretfs::mount
