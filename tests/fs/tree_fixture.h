#pragma once

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/tree.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_secret_service.h"

namespace secretfs::fs {

constexpr uint64_t kRootNode = 1;
constexpr uint32_t kOwner = 0;
constexpr uint32_t kStranger = 4711;  // Denied everything by SetUp().

// 32 characters, the least that a version id has.
inline std::string VersionId(char digit) {
  return std::string(32, digit);
}

// A tree over a fake store, and the walks that a kernel would do.
class TreeTest : public ::testing::Test {
 protected:
  using Fake = secretfs::testing::FakeSecretService;

  void SetUp() override {
    service_.Deny(kStranger);
    service_.PutValue("prod/db", {VersionId('1'), "old", {}});
    service_.PutValue("prod/db", Json('2', {{"password", "hunter2"}, {"user", "joe"}}));
    // So that nothing counts as having moved just now.
    clock_.Advance(60'000);
  }

  static Fake::Value Json(char id, std::vector<std::pair<std::string, std::string>> keys) {
    return {VersionId(id), "{the whole object}", std::move(keys)};
  }

  store::Caller As(uint32_t uid, uint32_t thread = 77) {
    const auto [principal, is_new] = principals_.try_emplace(
        uid, store::Principal{"arn:aws:iam::000000000000:user/u", uid, uid + 1});
    return {principal->second, store::Door::kMount, thread};
  }

  // Looks every component of "a/b/c" up, from the root.
  Result<Entry> Walk(std::string_view path, const store::Caller& caller) {
    TRY_ASSIGN(auto entry, tree_.GetAttributes(caller, kRootNode, {}));
    while (!path.empty()) {
      const size_t slash = path.find('/');
      TRY_ASSIGN(entry, tree_.Lookup(caller, entry.node, path.substr(0, slash)));
      path.remove_prefix(slash == path.npos ? path.size() : slash + 1);
    }
    return entry;
  }
  Result<Entry> Walk(std::string_view path, uint32_t uid = kOwner) { return Walk(path, As(uid)); }
  uint64_t NodeOf(std::string_view path) {
    const auto entry = Walk(path);
    EXPECT_TRUE(entry) << path;
    return entry ? entry->node : 0;
  }

  Result<std::string> Read(std::string_view path, uint32_t uid = kOwner) {
    TRY_ASSIGN(const auto entry, Walk(path, uid));
    TRY_ASSIGN(const auto file, tree_.Open(As(uid), entry.node));
    return ReadAll(entry.node, file.handle, uid);
  }
  Result<std::string> ReadAll(uint64_t node, uint64_t handle, uint32_t uid = kOwner) {
    std::string text;
    while (true) {
      TRY_ASSIGN(const auto part, tree_.Read(As(uid), node, handle, {text.size(), 131072}));
      if (part.Reveal().empty()) return text;
      text += AsText(part.Reveal());
    }
  }

  struct Listed {
    std::string name;
    uint64_t cursor;
    Entry entry;
  };
  // At most `count` entries after `cursor`.
  Result<std::vector<Listed>> ReadSome(uint64_t node, const Tree::DirectoryRead& read, size_t count,
                                       uint32_t uid = kOwner) {
    std::vector<Listed> entries;
    const auto emit = [&](std::string_view name, uint64_t next_cursor, const Entry& entry) {
      if (entries.size() == count) return false;
      entries.push_back({std::string(name), next_cursor, entry});
      return true;
    };
    TRY(tree_.ReadDirectory(As(uid), node, read, emit));
    return entries;
  }
  // Names in order, without "." and "..".
  Result<std::vector<std::string>> List(std::string_view path, uint32_t uid = kOwner,
                                        bool with_attributes = false) {
    TRY_ASSIGN(const auto entry, Walk(path, uid));
    TRY_ASSIGN(const uint64_t handle, tree_.OpenDirectory(As(uid), entry.node));
    TRY_ASSIGN(const auto listed, ReadSome(entry.node, {handle, 0, with_attributes}, 100'000, uid));
    std::vector<std::string> names;
    for (const Listed& each : listed) {
      if (each.name != "." && each.name != "..") names.push_back(each.name);
    }
    return names;
  }

  template <typename T>
  static std::optional<Code> CodeOf(const Result<T>& result) {
    return result ? std::nullopt : std::optional(result.error().code);
  }

  secretfs::testing::FakeClock clock_;
  Fake service_{clock_};
  std::string status_ = "{\"state\": \"serving\"}\n";
  CallerMemory memory_;
  Tree tree_{service_, memory_, clock_, {.status = [this] { return status_; }}};
  std::map<uint32_t, store::Principal> principals_;
};

}  // namespace secretfs::fs
