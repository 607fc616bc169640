#include "mount/config.h"

#include <fcntl.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <numeric>
#include <optional>
#include <span>
#include <sstream>
#include <variant>
#include <vector>

#include "crypto/base/unique_fd.h"

namespace secretfs::mount {
namespace {

constexpr size_t kConfigBytesMax = 1 << 20;
// Farther away than this a known name is a guess, not a correction.
constexpr size_t kCorrectionDistanceMax = 3;

struct PathOption {
  std::string Config::* field;
};
struct NameOption {
  std::string Config::* field;
};
struct SwitchOption {
  bool Config::* field;
};
struct NumberOption {
  int64_t Config::* field;
  int64_t min;
  int64_t max;
};
struct Option {
  std::string_view table;  // Empty: the top level.
  std::string_view key;
  std::variant<PathOption, NameOption, SwitchOption, NumberOption> target;
};

constexpr std::array kOptions = {
    Option{"", "store", PathOption{&Config::store}},
    Option{"", "mountpoint", PathOption{&Config::mountpoint}},
    Option{"", "socket", PathOption{&Config::socket}},
    Option{"mount", "allow_other", SwitchOption{&Config::allow_other}},
    Option{"mount", "refuse_mapping", SwitchOption{&Config::refuse_mapping}},
    Option{"mount", "user", NameOption{&Config::user}},
    Option{"mount", "reader_threads", NumberOption{&Config::reader_threads, 0, 8}},
    Option{"mount", "system_call_filter", SwitchOption{&Config::system_call_filter}},
    Option{"audit", "directory", PathOption{&Config::audit_directory}},
    Option{"audit", "segment_mib", NumberOption{&Config::audit_segment_mib, 1, 1024}},
    Option{"audit", "sync_interval_ms", NumberOption{&Config::audit_sync_interval_ms, 10, 60'000}},
};

std::string Quoted(std::string_view name) {
  return '"' + std::string(name) + '"';
}

// Levenshtein's distance, one row at a time.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row[b.size()];
}

// "; did you mean ...?", or the list of what exists when nothing is near.
std::string Correction(std::string_view name, std::span<const std::string> known) {
  size_t best = kCorrectionDistanceMax + 1;
  const std::string* nearest = nullptr;
  for (const std::string& candidate : known) {
    const size_t distance = EditDistance(name, candidate);
    if (distance < best && distance < candidate.size()) {
      best = distance;
      nearest = &candidate;
    }
  }
  if (nearest != nullptr) return "; did you mean " + *nearest + "?";
  std::string list;
  for (const std::string& candidate : known) list += (list.empty() ? "" : ", ") + candidate;
  return "; known are " + list;
}

class Reader {
 public:
  Reader(std::string_view file_name, const Config& defaults)
      : file_name_(file_name), config_(defaults) {}

  Result<Config> Read(const toml::table& root) {
    for (auto&& [key, node] : root) {
      if (FindOption("", key.str()) != nullptr) {
        TRY(Apply("", key, node));
      } else if (!node.is_table()) {
        return Fail(Line(key), "unknown key " + Quoted(key.str()), CorrectKey("", key.str()));
      } else {
        TRY(ReadTable(key, *node.as_table()));
      }
    }
    return config_;
  }

 private:
  static const Option* FindOption(std::string_view table, std::string_view key) {
    const auto* found = std::ranges::find_if(
        kOptions, [&](const Option& option) { return option.table == table && option.key == key; });
    return found == kOptions.end() ? nullptr : found;
  }

  static toml::source_index Line(const toml::key& key) { return key.source().begin.line; }

  std::unexpected<Error> Fail(toml::source_index line, const std::string& what,
                              const std::string& step) const {
    return secretfs::Fail(Code::kInvalidArgument,
                          file_name_ + ":" + std::to_string(line) + ": " + what + step);
  }

  static std::string CorrectKey(std::string_view table, std::string_view key) {
    std::vector<std::string> known;
    for (const Option& option : kOptions) {
      if (option.table == table) known.push_back(Quoted(option.key));
    }
    return Correction(Quoted(key), known);
  }

  static std::string CorrectTable(std::string_view table) {
    std::vector<std::string> known;
    for (const Option& option : kOptions) {
      const std::string name = "[" + std::string(option.table) + "]";
      if (!option.table.empty() && std::ranges::find(known, name) == known.end()) {
        known.push_back(name);
      }
    }
    return Correction("[" + std::string(table) + "]", known);
  }

  Status ReadTable(const toml::key& name, const toml::table& table) {
    const bool known =
        std::ranges::any_of(kOptions, [&](const Option& o) { return o.table == name.str(); });
    if (!known) {
      return Fail(Line(name), "unknown table [" + std::string(name.str()) + "]",
                  CorrectTable(name.str()));
    }
    for (auto&& [key, node] : table) {
      if (FindOption(name.str(), key.str()) == nullptr) {
        return Fail(Line(key),
                    "unknown key " + Quoted(key.str()) + " in [" + std::string(name.str()) + "]",
                    CorrectKey(name.str(), key.str()));
      }
      TRY(Apply(name.str(), key, node));
    }
    return {};
  }

  Status Apply(std::string_view table, const toml::key& key, const toml::node& node) {
    const Option& option = *FindOption(table, key.str());
    std::string expected =
        std::visit([&](const auto& target) { return Assign(target, node); }, option.target);
    if (expected.empty()) return {};
    std::string where = table.empty() ? "" : " in [" + std::string(table) + "]";
    return Fail(Line(key), Quoted(key.str()) + where + " must be " + expected,
                "; correct that line");
  }

  // Each returns what the value must be, or nothing when it is that.
  std::string Assign(const PathOption& option, const toml::node& node) {
    const auto text = node.value_exact<std::string>();
    // An empty audit directory stands for the default, as in the commented example.
    const bool may_be_empty = option.field == &Config::audit_directory;
    const bool fits = text && (text->starts_with('/') || (may_be_empty && text->empty())) &&
                      text->find('\0') == std::string::npos;
    if (!fits) return "an absolute path in quotes";
    config_.*option.field = *text;
    return "";
  }
  std::string Assign(const NameOption& option, const toml::node& node) {
    const auto text = node.value_exact<std::string>();
    if (!text || text->empty() || text->find('\0') != std::string::npos) return "a name in quotes";
    config_.*option.field = *text;
    return "";
  }
  std::string Assign(const SwitchOption& option, const toml::node& node) {
    const auto on = node.value_exact<bool>();
    if (!on) return "true or false";
    config_.*option.field = *on;
    return "";
  }
  std::string Assign(const NumberOption& option, const toml::node& node) {
    const auto number = node.value_exact<int64_t>();
    if (!number || *number < option.min || *number > option.max) {
      return "a whole number from " + std::to_string(option.min) + " to " +
             std::to_string(option.max);
    }
    config_.*option.field = *number;
    return "";
  }

  const std::string file_name_;
  Config config_;
};

Result<std::string> ReadFile(const std::string& path) {
  UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    const int error_number = errno;
    Code code = Code::kUnavailable;
    if (error_number == ENOENT || error_number == ENOTDIR) code = Code::kNotFound;
    if (error_number == EACCES) code = Code::kPermissionDenied;
    auto failure = FailErrno(code, "config " + path, error_number);
    failure.error().message += "; mend that, or name another file with --config";
    return failure;
  }
  std::string text(kConfigBytesMax + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = read(file.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno(Code::kUnavailable, "config " + path, errno);
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  if (size > kConfigBytesMax) {
    return Fail(Code::kInvalidArgument, "config " + path + ": larger than 1 MiB; is it a config?");
  }
  text.resize(size);
  return text;
}

}  // namespace

Result<Config> ParseConfig(std::string_view text, std::string_view file_name,
                           const Config& defaults) {
  try {
    const toml::table root = toml::parse(text);
    return Reader(file_name, defaults).Read(root);
  } catch (const toml::parse_error& error) {
    return Fail(Code::kInvalidArgument,
                std::string(file_name) + ":" + std::to_string(error.source().begin.line) + ": " +
                    std::string(error.description()) + "; correct that line");
  }
}

std::string FormatConfig(const Config& config) {
  toml::table root;
  for (const Option& option : kOptions) {
    toml::table* table = &root;
    if (!option.table.empty()) {
      table = root.emplace<toml::table>(option.table).first->second.as_table();
    }
    std::visit([&](const auto& target) { table->insert(option.key, config.*target.field); },
               option.target);
  }
  std::ostringstream text;
  text << root;
  return text.str();
}

Result<Config> LoadConfig(const std::string& path, const Config& defaults) {
  TRY_ASSIGN(const std::string text, ReadFile(path));
  return ParseConfig(text, path, defaults);
}

}  // namespace secretfs::mount
