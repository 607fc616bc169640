#include "fs/callers.h"

#include <pwd.h>
#include <stdio.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

namespace secretfs::fs {
namespace {

constexpr TimeMs kKeptMs = 60'000;
// A user namespace gives one person 65,536 uids to play with, so what is remembered has a bound.
constexpr size_t kEntriesMax = 4096;
// Quota of IAM ("IAM and AWS STS quotas").
constexpr size_t kUserNameBytesMax = 64;

constexpr std::string_view kAnonymous = "unknown";
constexpr std::string_view kUidPrefix = "uid-";

bool IsUserNameByte(char byte) {
  const bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
  const bool digit = byte >= '0' && byte <= '9';
  return letter || digit || std::string_view("_+=,.@-").find(byte) != std::string_view::npos;
}

bool IsUsable(std::string_view login) {
  return !login.empty() && login.size() <= kUserNameBytesMax && login != kAnonymous &&
         !login.starts_with(kUidPrefix) && std::ranges::all_of(login, IsUserNameByte);
}

std::optional<std::string> LoginNameOf(uint32_t uid, const std::string& password_file) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(fopen(password_file.c_str(), "re"), fclose);
  if (file == nullptr) return std::nullopt;
  std::array<char, 4096> text;
  passwd line;
  for (passwd* found = nullptr;
       fgetpwent_r(file.get(), &line, text.data(), text.size(), &found) == 0;) {
    if (found->pw_uid != uid) continue;
    if (!IsUsable(found->pw_name)) return std::nullopt;
    return found->pw_name;
  }
  return std::nullopt;
}

}  // namespace

Callers::Callers(Options options, const Clock& clock)
    : options_(std::move(options)), clock_(clock) {}

Callers::Callers(store::Realm realm, uint32_t owner_uid, const Clock& clock)
    : Callers(Options{.realm = std::move(realm), .owner_uid = owner_uid}, clock) {}

std::shared_ptr<const store::Principal> Callers::Make(uint32_t uid, uint32_t gid) const {
  store::Principal principal{"arn:aws:iam::" + options_.realm.account, uid, gid};
  if (uid == UINT32_MAX) {
    principal.arn.append(":user/").append(kAnonymous);
  } else if (uid == options_.owner_uid) {
    principal.arn += ":root";
  } else if (const auto login = LoginNameOf(uid, options_.password_file)) {
    principal.arn += ":user/" + *login;
  } else {
    principal.arn.append(":user/").append(kUidPrefix).append(std::to_string(uid));
  }
  return std::make_shared<const store::Principal>(std::move(principal));
}

std::shared_ptr<const store::Principal> Callers::PrincipalOf(uint32_t uid, uint32_t gid) {
  const uint64_t key = uint64_t{uid} << 32 | gid;
  const TimeMs now = clock_.NowMs();
  {
    MutexLock lock(mutex_);
    const auto entry = entries_.find(key);
    if (entry != entries_.end()) {
      const TimeMs age = now - entry->second.looked_up_at;
      if (age >= 0 && age < kKeptMs) return entry->second.principal;
    }
  }
  // The file is read without the lock; two threads that miss at once both read it.
  auto principal = Make(uid, gid);
  MutexLock lock(mutex_);
  if (entries_.size() >= kEntriesMax) entries_.clear();
  entries_.insert_or_assign(key, Entry{principal, now});
  return principal;
}

}  // namespace secretfs::fs
