#include "tests/support/fake_secret_service.h"

#include <algorithm>
#include <cstdlib>
#include <functional>

#include "crypto/base/check.h"
#include "store/secret_name.h"

namespace secretfs::testing {
namespace {

using store::Action;
using store::Caller;
using store::PathId;
using store::SelectorId;

constexpr uint64_t kCursorMax = uint64_t{1} << 62;

std::unexpected<Error> NotFaked() {
  return Fail(Code::kInternal, "the fake has no operations of the AWS API");
}

std::vector<std::string> ComponentsOf(std::string_view name) {
  std::vector<std::string> components{""};
  for (const char byte : name) {
    if (byte == '/') {
      components.emplace_back();
    } else {
      components.back().push_back(byte);
    }
  }
  return components;
}

}  // namespace

store::KmsService& FakeSecretService::kms() {
  CHECK(false);
  std::abort();
}

FakeSecretService::FakeSecretService(const Clock& clock) : clock_(clock) {
  header_.store_id = "fake";
  header_.created_at = clock.NowMs();
  paths_[store::kRootPath];
}

// --- what a test sets up

PathId FakeSecretService::MakePath(std::string_view name) {
  PathId at = store::kRootPath;
  std::string prefix;
  for (const std::string& component : ComponentsOf(name)) {
    prefix += (at == store::kRootPath ? "" : "/") + component;
    Path& parent = paths_[at];
    // Like the store's: a hash of the component, so that the order tells nothing of the names.
    uint64_t cursor = std::hash<std::string>()(component) % kCursorMax + 1;
    while (parent.children.contains(cursor) && parent.children[cursor].component != component) {
      cursor = cursor % kCursorMax + 1;
    }
    const auto [child, is_new] = parent.children.try_emplace(cursor, Child{next_path_, component});
    if (is_new) {
      paths_[next_path_++] = Path{.parent = at, .name = prefix, .children = {}, .secret = {}};
    }
    at = child->second.path;
  }
  return at;
}

store::Secret FakeSecretService::Edit(std::string_view name) {
  const PathId path = MakePath(name);
  if (paths_[path].secret) return *paths_[path].secret;
  store::Secret secret;
  secret.path = path;
  secret.name = name;
  secret.arn_suffix = "AbCdEf";
  secret.arn = store::SecretArn(realm(), secret.name, secret.arn_suffix);
  secret.created_at = clock_.NowMs();
  return secret;
}

void FakeSecretService::Save(store::Secret secret) {
  secret.changed_at = clock_.NowMs();
  const PathId path = secret.path;
  paths_[path].secret = std::make_shared<const store::Secret>(std::move(secret));
}

void FakeSecretService::SetLabel(store::Secret& secret, std::string_view label,
                                 SelectorId version) {
  const auto found = std::ranges::find(secret.labels, label, &store::Label::name);
  if (found != secret.labels.end()) {
    if (found->version == version) return;
    const SelectorId left = std::exchange(found->version, version);
    found->moved_at = clock_.NowMs();
    if (label == store::kCurrent) SetLabel(secret, store::kPrevious, left);
    return;
  }
  store::Label made{std::string(label), version, 0, clock_.NowMs()};
  if (!label.starts_with("AWS")) {
    made.selector = next_selector_++;
    labels_[made.selector] = {made.selector, secret.path, made.name};
  }
  secret.labels.push_back(std::move(made));
  std::ranges::sort(secret.labels, {}, &store::Label::name);
}

PathId FakeSecretService::AddSecret(std::string_view name) {
  MutexLock lock(mutex_);
  store::Secret secret = Edit(name);
  const PathId path = secret.path;
  Save(std::move(secret));
  return path;
}

SelectorId FakeSecretService::PutValue(std::string_view name, Value value,
                                       std::vector<std::string> labels) {
  MutexLock lock(mutex_);
  store::Secret secret = Edit(name);
  store::Version version;
  version.number = next_selector_++;
  version.id = std::move(value.id);
  version.created_at = clock_.NowMs();
  version.size_bytes = static_cast<uint32_t>(value.bytes.size());
  version.has_keys = !value.keys.empty();
  StoredValue stored{secret.path, std::move(value.bytes), {}};
  for (auto& [key, content] : value.keys) {
    const auto slot = static_cast<store::KeySlot>(key_slots_.size() + 1);
    stored.keys[key_slots_.try_emplace(key, slot).first->second] = std::move(content);
  }
  values_[version.number] = std::move(stored);
  const SelectorId number = version.number;
  secret.versions.push_back(std::move(version));
  if (labels.empty()) labels.emplace_back(store::kCurrent);
  for (const std::string& label : labels) SetLabel(secret, label, number);
  Save(std::move(secret));
  return number;
}

void FakeSecretService::MoveLabel(std::string_view name, std::string_view label,
                                  SelectorId version) {
  MutexLock lock(mutex_);
  store::Secret secret = Edit(name);
  SetLabel(secret, label, version);
  Save(std::move(secret));
}

void FakeSecretService::RemoveLabel(std::string_view name, std::string_view label) {
  MutexLock lock(mutex_);
  store::Secret secret = Edit(name);
  std::erase_if(secret.labels, [&](const store::Label& each) { return each.name == label; });
  Save(std::move(secret));
}

void FakeSecretService::DestroyVersion(std::string_view name, SelectorId version) {
  MutexLock lock(mutex_);
  store::Secret secret = Edit(name);
  std::erase_if(secret.versions, [&](const auto& each) { return each.number == version; });
  std::erase_if(secret.labels, [&](const auto& each) { return each.version == version; });
  values_.erase(version);
  Save(std::move(secret));
}

void FakeSecretService::MarkForDeletion(std::string_view name) {
  MutexLock lock(mutex_);
  store::Secret secret = Edit(name);
  secret.deletion_at = clock_.NowMs() + kMsPerDay * 30;
  Save(std::move(secret));
}

void FakeSecretService::DestroySecret(std::string_view name) {
  MutexLock lock(mutex_);
  PathId path = MakePath(name);
  std::erase_if(values_, [&](const auto& each) { return each.second.path == path; });
  paths_[path].secret = nullptr;
  while (path != store::kRootPath && paths_[path].children.empty() && !paths_[path].secret) {
    const PathId parent = paths_[path].parent;
    std::erase_if(paths_[parent].children,
                  [&](const auto& each) { return each.second.path == path; });
    paths_.erase(path);
    path = parent;
  }
}

void FakeSecretService::Deny(uint32_t uid) {
  MutexLock lock(mutex_);
  denied_.insert(uid);
}

void FakeSecretService::Deny(uint32_t uid, Action action) {
  MutexLock lock(mutex_);
  denied_actions_.insert({uid, action});
}

void FakeSecretService::FailAudit(bool fail) {
  MutexLock lock(mutex_);
  audit_fails_ = fail;
}

// --- what happened

std::vector<FakeSecretService::Audited> FakeSecretService::TakeAudited() {
  MutexLock lock(mutex_);
  return std::exchange(audited_, {});
}

uint64_t FakeSecretService::calls() const {
  MutexLock lock(mutex_);
  return calls_;
}

uint64_t FakeSecretService::decryptions() const {
  MutexLock lock(mutex_);
  return decryptions_;
}

bool FakeSecretService::Allowed(const store::Principal& principal, Action action) const {
  return !denied_.contains(principal.uid) && !denied_actions_.contains({principal.uid, action});
}

Status FakeSecretService::Audit(Audited event) {
  const bool allowed = event.allowed;
  if (audit_fails_) return Fail(Code::kUnavailable, "the trail cannot be written");
  // A benchmark that never looks must not fill the memory.
  constexpr size_t kAuditedMax = 100'000;
  if (audited_.size() < kAuditedMax) audited_.push_back(std::move(event));
  if (!allowed) return Fail(Code::kPermissionDenied, "denied");
  return {};
}

// --- the filesystem's side

Result<std::optional<PathId>> FakeSecretService::PeekChild(PathId parent,
                                                           std::string_view component) {
  MutexLock lock(mutex_);
  ++calls_;
  const auto path = paths_.find(parent);
  if (path == paths_.end()) return std::nullopt;
  uint64_t cursor = std::hash<std::string_view>()(component) % kCursorMax + 1;
  auto child = path->second.children.find(cursor);
  while (child != path->second.children.end()) {
    if (child->second.component == component) return child->second.path;
    child = path->second.children.find(cursor = cursor % kCursorMax + 1);
  }
  return std::nullopt;
}

Result<bool> FakeSecretService::PeekPathExists(PathId path) {
  MutexLock lock(mutex_);
  ++calls_;
  return paths_.contains(path);
}

Result<store::SecretPtr> FakeSecretService::PeekSecret(PathId path) {
  MutexLock lock(mutex_);
  ++calls_;
  const auto found = paths_.find(path);
  if (found == paths_.end()) return nullptr;
  const store::SecretPtr& secret = found->second.secret;
  return secret && secret->deletion_at ? nullptr : secret;
}

Result<std::optional<PathId>> FakeSecretService::PeekVersionPath(SelectorId number) {
  MutexLock lock(mutex_);
  ++calls_;
  const auto value = values_.find(number);
  if (value == values_.end()) return std::nullopt;
  return value->second.path;
}

Result<std::optional<store::InternedName>> FakeSecretService::PeekLabel(SelectorId selector) {
  MutexLock lock(mutex_);
  ++calls_;
  const auto label = labels_.find(selector);
  if (label == labels_.end()) return std::nullopt;
  return label->second;
}

Result<std::optional<store::KeySlot>> FakeSecretService::PeekKeySlot(std::string_view key) {
  MutexLock lock(mutex_);
  ++calls_;
  const auto slot = key_slots_.find(key);
  if (slot == key_slots_.end()) return std::nullopt;
  return slot->second;
}

Result<std::optional<uint32_t>> FakeSecretService::PeekKeySize(SelectorId number,
                                                               store::KeySlot slot) {
  MutexLock lock(mutex_);
  ++calls_;
  const auto value = values_.find(number);
  if (value == values_.end() || !value->second.keys.contains(slot)) return std::nullopt;
  return static_cast<uint32_t>(value->second.keys[slot].size());
}

bool FakeSecretService::May(const store::Principal& principal, Action action,
                            const store::Secret&) {
  MutexLock lock(mutex_);
  ++calls_;
  return Allowed(principal, action);
}

bool FakeSecretService::MayListSecrets(const store::Principal& principal) {
  MutexLock lock(mutex_);
  ++calls_;
  return Allowed(principal, Action::kListSecrets);
}

Status FakeSecretService::OpenValue(const Caller& caller, const store::Secret& secret,
                                    const store::Version& version, std::string_view stage) {
  MutexLock lock(mutex_);
  ++calls_;
  return Audit({Action::kGetSecretValue, caller.principal.uid, secret.name, version.id,
                std::string(stage), Allowed(caller.principal, Action::kGetSecretValue)});
}

Result<crypto::SecretBuffer> FakeSecretService::ReadValue(const Caller& caller, SelectorId number,
                                                          const store::ValueFile& file) {
  MutexLock lock(mutex_);
  ++calls_;
  const auto value = values_.find(number);
  if (value == values_.end()) return Fail(Code::kStale, "the version is gone");
  if (!Allowed(caller.principal, Action::kGetSecretValue)) {
    TRY(Audit({Action::kGetSecretValue, caller.principal.uid, "", "", "", false}));
  }
  ++decryptions_;
  if (!file.key) return crypto::SecretBuffer::CopyOf(AsBytes(value->second.bytes));
  const auto key = value->second.keys.find(*file.key);
  if (key == value->second.keys.end()) return Fail(Code::kStale, "the key is gone");
  return crypto::SecretBuffer::CopyOf(AsBytes(key->second));
}

Status FakeSecretService::OpenMetadata(const Caller& caller, const store::Secret& secret,
                                       Action action) {
  MutexLock lock(mutex_);
  ++calls_;
  return Audit(
      {action, caller.principal.uid, secret.name, "", "", Allowed(caller.principal, action)});
}

Status FakeSecretService::OpenPrefix(const Caller& caller, PathId path) {
  MutexLock lock(mutex_);
  ++calls_;
  return Audit({Action::kListSecrets, caller.principal.uid, paths_[path].name, "", "",
                Allowed(caller.principal, Action::kListSecrets)});
}

Status FakeSecretService::ListChildren(PathId parent, uint64_t cursor, const ChildVisitor& visit) {
  MutexLock lock(mutex_);
  ++calls_;
  const auto path = paths_.find(parent);
  if (path == paths_.end()) return {};
  const auto& children = path->second.children;
  for (auto child = children.upper_bound(cursor); child != children.end(); ++child) {
    if (!visit(child->first, child->second.path, child->second.component)) break;
  }
  return {};
}

Result<std::vector<store::SecretService::KeyFile>> FakeSecretService::ListKeys(SelectorId number) {
  MutexLock lock(mutex_);
  ++calls_;
  const auto value = values_.find(number);
  if (value == values_.end()) return Fail(Code::kStale, "the version is gone");
  std::vector<KeyFile> files;
  for (const auto& [key, slot] : key_slots_) {
    const auto content = value->second.keys.find(slot);
    if (content == value->second.keys.end()) continue;
    files.push_back({slot, key, static_cast<uint32_t>(content->second.size())});
  }
  return files;
}

// --- what the mount does not use

Result<store::WrittenVersion> FakeSecretService::CreateSecret(const Caller&, store::CreateRequest) {
  return NotFaked();
}
Result<store::WrittenVersion> FakeSecretService::PutSecretValue(const Caller&, store::PutRequest) {
  return NotFaked();
}
Result<store::WrittenVersion> FakeSecretService::UpdateSecret(const Caller&, store::UpdateRequest) {
  return NotFaked();
}
Result<store::SecretValue> FakeSecretService::GetSecretValue(const Caller&, const std::string&,
                                                             const store::VersionSelector&,
                                                             const std::string&) {
  return NotFaked();
}
Result<store::SecretPtr> FakeSecretService::DescribeSecret(const Caller&, const std::string&,
                                                           const std::string&) {
  return NotFaked();
}
Result<store::SecretPtr> FakeSecretService::ListSecretVersionIds(const Caller&, const std::string&,
                                                                 const std::string&) {
  return NotFaked();
}
Result<store::SecretPage> FakeSecretService::ListSecrets(const Caller&, const store::ListRequest&) {
  return NotFaked();
}
Result<store::SecretIdentity> FakeSecretService::UpdateSecretVersionStage(
    const Caller&, const store::MoveLabelRequest&) {
  return NotFaked();
}
Result<store::DeletedSecret> FakeSecretService::DeleteSecret(const Caller&,
                                                             const store::DeleteRequest&) {
  return NotFaked();
}
Result<store::SecretIdentity> FakeSecretService::RestoreSecret(const Caller&, const std::string&,
                                                               const std::string&) {
  return NotFaked();
}
Status FakeSecretService::TagResource(const Caller&, const store::TagRequest&) {
  return NotFaked();
}
Status FakeSecretService::UntagResource(const Caller&, const store::TagRequest&) {
  return NotFaked();
}
Result<std::vector<store::Change>> FakeSecretService::ChangesSince(uint64_t, size_t) {
  return NotFaked();
}
Result<size_t> FakeSecretService::PurgeExpired() {
  return NotFaked();
}
Result<store::AuditReport> FakeSecretService::ReadAudit(const Caller&,
                                                        const store::AuditTrail::Visitor&,
                                                        const std::string&) {
  return NotFaked();
}

store::SecretService::Health FakeSecretService::GetHealth() {
  MutexLock lock(mutex_);
  Health health;
  for (const auto& [id, path] : paths_) health.secrets += path.secret != nullptr;
  return health;
}

}  // namespace secretfs::testing
