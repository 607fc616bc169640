#include "mount/cli.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "crypto/base/check.h"
#include "crypto/base/unique_fd.h"
#include "mount/http_server.h"
#include "mount/listen_socket.h"
#include "tests/mount/endpoint_fixture.h"

namespace secretfs::mount {
namespace {

// Transcripts of the command line, one file each in tests/mount/transcripts: drop one in and it
// runs.
//
//   # a comment
//   $ put prod/db --label 'my label'     a command
//   < line                               its standard input (<| for a line without its newline)
//   > line                               what it must print (>| for a line without its newline)
//   ! line                               what it must say on standard error
//   = 3                                  its exit status, if not 0
//
// "\n", "\t", "\\" and "\xHH" are bytes. "{uuid}", "{time}", "{any}" stand for text of that kind,
// "{v1=uuid}" also keeps it, and "{v1}" is what was kept. "{dir}" is the private directory,
// "{a*65536}" is that many times "a". Commands run in this process, against a real store behind a
// real socket, as the store's owner.
struct Step {
  int line = 0;
  std::string command;
  std::string input;
  std::string output;
  std::string errors;
  int status = 0;
};

std::string Unescape(const std::string& text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      bytes += text[i];
      continue;
    }
    const char kind = text.at(++i);
    if (kind == 'x') {
      bytes += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
      i += 2;
    } else {
      bytes += kind == 'n' ? '\n' : kind == 't' ? '\t' : kind;
    }
  }
  return bytes;
}

std::vector<Step> ReadTranscript(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<Step> steps;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    const char kind = line[0];
    const bool is_open = line.size() > 1 && line[1] == '|';
    const std::string text = line.size() > 2 ? line.substr(is_open ? 3 : 2) : "";
    const std::string ended = text + (is_open ? "" : "\n");
    if (kind == '$') steps.push_back({number, text, "", "", "", 0});
    CHECK(!steps.empty());
    if (kind == '<') steps.back().input += ended;
    if (kind == '>') steps.back().output += ended;
    if (kind == '!') steps.back().errors += ended;
    if (kind == '=') steps.back().status = std::stoi(text);
  }
  return steps;
}

class CliTest : public ::testing::TestWithParam<std::filesystem::path> {
 protected:
  struct Outcome {
    int status;
    std::string output;
    std::string errors;
  };

  void SetUp() override {
    socket_ = *ListenSocket::Open(socket_path_);
    server_ = *HttpServer::Start(
        socket_->TakeDescriptor(),
        [this](HttpRequest request) { return parts_.endpoint.Answer(std::move(request)); },
        parts_.temp.random);
    kept_["dir"] = parts_.temp.directory.path();
  }

  static UniqueFd MemoryFile(const std::string& content) {
    UniqueFd fd(memfd_create("stream", MFD_CLOEXEC));
    CHECK(pwrite(fd.get(), content.data(), content.size(), 0) ==
          static_cast<ssize_t>(content.size()));
    return fd;
  }
  static std::string ContentOf(const UniqueFd& fd) {
    std::string content(static_cast<size_t>(lseek(fd.get(), 0, SEEK_END)), '\0');
    CHECK(pread(fd.get(), content.data(), content.size(), 0) ==
          static_cast<ssize_t>(content.size()));
    return content;
  }

  Outcome Run(const std::vector<std::string>& arguments, const std::string& input) {
    std::vector<const char*> argv = {"secretfs"};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    const UniqueFd in = MemoryFile(input);
    const UniqueFd out = MemoryFile("");
    const UniqueFd err = MemoryFile("");
    const int status = RunCli(static_cast<int>(argv.size()), argv.data(),
                              {in.get(), out.get(), err.get()}, environment_);
    return {status, ContentOf(out), ContentOf(err)};
  }

  // Replaces what was kept and what repeats; leaves patterns.
  std::string Expand(const std::string& text) const {
    static const std::regex kBraces(R"(\{([^{}" ]+)\})");
    std::string expanded;
    auto rest = text.cbegin();
    std::smatch match;
    while (std::regex_search(rest, text.cend(), match, kBraces)) {
      expanded.append(rest, match[0].first);
      const std::string name = match[1];
      const size_t star = name.find('*');
      if (star != std::string::npos) {
        for (int i = std::stoi(name.substr(star + 1)); i > 0; --i) expanded += name.substr(0, star);
      } else if (kept_.contains(name)) {
        expanded += kept_.at(name);
      } else {
        expanded += match[0];
      }
      rest = match[0].second;
    }
    return expanded.append(rest, text.cend());
  }

  // Compares `actual` with `expected`, which may have patterns, and keeps what it names.
  void ExpectText(const std::string& expected, const std::string& actual) {
    static const std::map<std::string, std::string> kKinds = {
        {"uuid", "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"},
        {"time", "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"},
        {"any", "[^\\n]*"}};
    static const std::regex kPattern(R"(\{(?:([a-z0-9]+)=)?(uuid|time|any)\})");
    const std::string text = Unescape(Expand(expected));
    if (!std::regex_search(text, kPattern)) {
      EXPECT_EQ(actual, text);
      return;
    }
    std::string pattern;
    std::vector<std::string> names;
    auto rest = text.cbegin();
    std::smatch match;
    static const std::regex kSpecial(R"([.^$|()\[\]{}*+?\\])");
    while (std::regex_search(rest, text.cend(), match, kPattern)) {
      pattern += std::regex_replace(std::string(rest, match[0].first), kSpecial, R"(\$&)");
      pattern += "(" + kKinds.at(match[2]) + ")";
      names.push_back(match[1]);
      rest = match[0].second;
    }
    pattern += std::regex_replace(std::string(rest, text.cend()), kSpecial, R"(\$&)");
    std::smatch found;
    ASSERT_TRUE(std::regex_match(actual, found, std::regex(pattern)))
        << "wanted: " << text << "\ngot:    " << actual;
    for (size_t i = 0; i < names.size(); ++i) {
      if (!names[i].empty()) kept_[names[i]] = found[i + 1];
    }
  }

  std::vector<std::string> Split(const std::string& command) const {
    std::vector<std::string> words;
    std::string word;
    bool quoted = false;
    bool started = false;
    for (const char c : Expand(command) + " ") {
      if (c == '\'') {
        quoted = !quoted;
        started = true;
      } else if (c == ' ' && !quoted) {
        if (started) words.push_back(Unescape(std::exchange(word, "")));
        started = false;
      } else {
        word += c;
        started = true;
      }
    }
    return words;
  }

  EndpointParts parts_;
  const std::string socket_path_ = parts_.temp.directory / "socket";
  const Environment environment_{
      .uid = getuid(),
      .variables = {{"SECRETFS_SOCKET", socket_path_}, {"XDG_CONFIG_HOME", "/nonexistent"}}};
  std::map<std::string, std::string> kept_;
  std::unique_ptr<ListenSocket> socket_;
  std::unique_ptr<HttpServer> server_;
};

TEST_P(CliTest, DoesWhatTheTranscriptSays) {
  const std::vector<Step> steps = ReadTranscript(GetParam());
  ASSERT_FALSE(steps.empty());
  for (const Step& step : steps) {
    SCOPED_TRACE(GetParam().filename().string() + ":" + std::to_string(step.line) + ": $ " +
                 step.command);
    const Outcome outcome = Run(Split(step.command), Unescape(Expand(step.input)));
    EXPECT_EQ(outcome.status, step.status) << outcome.errors;
    ExpectText(step.output, outcome.output);
    ExpectText(step.errors, outcome.errors);
  }
}

std::vector<std::filesystem::path> Transcripts() {
  std::vector<std::filesystem::path> paths;
  const std::string folder = std::string(SECRETFS_SOURCE_DIR) + "/tests/mount/transcripts";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  return paths;
}

INSTANTIATE_TEST_SUITE_P(Transcripts, CliTest, ::testing::ValuesIn(Transcripts()),
                         [](const auto& test) { return test.param.stem().string(); });

using CliDirectTest = CliTest;

TEST_F(CliDirectTest, LargestValueOfEachKindComesBackExactly) {
  std::string binary;
  for (size_t i = 0; i < store::kSecretValueBytesMax; ++i) binary += static_cast<char>(i * 7);
  EXPECT_EQ(Run({"put", "bin", "--binary"}, binary).status, 0);
  EXPECT_EQ(Run({"get", "bin"}, "").output, binary);
  const std::string text(store::kSecretValueBytesMax, '\x02');
  EXPECT_EQ(Run({"put", "text"}, text).status, 0);
  EXPECT_EQ(Run({"get", "text"}, "").output, text);
}

TEST_F(CliDirectTest, ValueOnTheCommandLineIsNeitherTakenNorRepeated) {
  const Outcome outcome = Run({"put", "prod/db", "hunter2"}, "");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(outcome.errors.find("hunter2"), std::string::npos) << outcome.errors;
  EXPECT_EQ(Run({"get", "prod/db"}, "").status, 3);
  const Outcome encrypted = Run({"key", "encrypt", "web", "hunter2"}, "");
  EXPECT_EQ(encrypted.status, 2);
  EXPECT_EQ(encrypted.errors.find("hunter2"), std::string::npos) << encrypted.errors;
}

TEST_F(CliDirectTest, KeyPolicyIsReplacedByWhatComesIn) {
  const std::string key = Run({"key", "create"}, "").output.substr(0, 36);
  const std::string policy =
      R"({"Version":"2012-10-17","Statement":[{"Sid":"all","Effect":"Allow",)"
      R"("Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":"kms:*","Resource":"*"}]})";
  const Outcome set = Run({"key", "policy", "set", key}, policy);
  EXPECT_EQ(set.status, 0) << set.errors;
  EXPECT_EQ(Run({"key", "policy", "get", key}, "").output, policy + "\n");
}

TEST_F(CliDirectTest, CiphertextsAreRawUnlessTextIsAskedFor) {
  ASSERT_EQ(Run({"key", "create", "--alias", "web"}, "").status, 0);
  std::string plaintext;
  for (size_t i = 0; i < 4096; ++i) plaintext += static_cast<char>(i * 7);
  const Outcome raw = Run({"key", "encrypt", "web"}, plaintext);
  EXPECT_EQ(raw.status, 0) << raw.errors;
  EXPECT_EQ(Run({"key", "decrypt"}, raw.output).output, plaintext);
  std::string text = Run({"key", "encrypt", "web", "--base64"}, plaintext).output;
  for (size_t i = 76; i < text.size(); i += 77) text.insert(i, "\n");
  EXPECT_EQ(Run({"key", "decrypt", "--base64"}, text).output, plaintext)
      << "as base64(1) breaks it";
}

TEST_F(CliDirectTest, EveryKeyVerbHasHelp) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"create"},
                                             {"rotate"},
                                             {"schedule-deletion"},
                                             {"alias", "create"},
                                             {"grant", "create"},
                                             {"policy", "set"},
                                             {"import", "material"},
                                             {"data-key"},
                                             {"public-key"}}) {
    std::vector<std::string> arguments = {"key"};
    arguments.insert(arguments.end(), words.begin(), words.end());
    arguments.emplace_back("--help");
    const Outcome outcome = Run(arguments, "");
    EXPECT_EQ(outcome.status, 0) << words.back();
    EXPECT_NE(outcome.output.find("Usage"), std::string::npos) << words.back();
  }
}

TEST_F(CliDirectTest, EveryErrorIsOneLine) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"frob"},
                                             {"get"},
                                             {"get", "a\nb"},
                                             {"get", "x"},
                                             {"--bad"},
                                             {"audit", "--limit", "0"},
                                             {"status", "--socket", "/nonexistent/socket"},
                                             {"status", "--config", "/nonexistent"}}) {
    const Outcome outcome = Run(arguments, "");
    EXPECT_NE(outcome.status, 0);
    EXPECT_EQ(outcome.output, "");
    EXPECT_EQ(std::ranges::count(outcome.errors, '\n'), 1) << outcome.errors;
    EXPECT_TRUE(outcome.errors.starts_with("secretfs: ")) << outcome.errors;
    EXPECT_NE(outcome.errors.find("; "), std::string::npos) << outcome.errors;
  }
}

TEST_F(CliDirectTest, EveryVerbHasHelp) {
  for (const char* verb :
       {"init", "mount", "umount", "status", "put", "get", "ls", "describe", "history", "label",
        "rollback", "update", "rm", "restore", "audit", "key", "rekey", "version"}) {
    const Outcome outcome = Run({verb, "--help"}, "");
    EXPECT_EQ(outcome.status, 0) << verb;
    EXPECT_NE(outcome.output.find("Usage"), std::string::npos) << verb;
  }
  EXPECT_NE(Run({"--help"}, "").output.find("Exit status"), std::string::npos);
}

}  // namespace
}  // namespace secretfs::mount
