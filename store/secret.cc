#include "store/secret.h"

#include <algorithm>

#include "store/secret_name.h"

namespace secretfs::store {
namespace {

Error CannotFindVersion(std::string_view id) {
  return {Code::kNotFound, "Secrets Manager can't find the specified secret value for VersionId: " +
                               std::string(id)};
}

}  // namespace

const Version* Secret::FindVersionById(std::string_view id) const {
  auto it = std::ranges::find(versions, id, &Version::id);
  return it == versions.end() ? nullptr : &*it;
}

const Version* Secret::FindVersionByNumber(SelectorId number) const {
  auto it = std::ranges::find(versions, number, &Version::number);
  return it == versions.end() ? nullptr : &*it;
}

const Label* Secret::FindLabel(std::string_view label) const {
  auto it = std::ranges::find(labels, label, &Label::name);
  return it == labels.end() ? nullptr : &*it;
}

const Version* Secret::FindVersionByLabel(std::string_view label) const {
  const Label* found = FindLabel(label);
  return found == nullptr ? nullptr : FindVersionByNumber(found->version);
}

std::vector<std::string> Secret::LabelsOf(SelectorId version) const {
  std::vector<std::string> names;
  for (const Label& label : labels) {
    if (label.version == version) names.push_back(label.name);
  }
  return names;
}

Label* Secret::MutableLabel(std::string_view label) {
  return const_cast<Label*>(FindLabel(label));
}

void Secret::SetLabel(std::string_view label, SelectorId version, TimeMs now) {
  if (Label* existing = MutableLabel(label)) {
    if (existing->version == version) return;
    existing->version = version;
    existing->moved_at = now;
    return;
  }
  auto position = std::ranges::lower_bound(labels, label, {}, &Label::name);
  labels.insert(position, Label{std::string(label), version, 0, now});
}

void Secret::RemoveLabel(std::string_view label) {
  std::erase_if(labels, [&](const Label& l) { return l.name == label; });
}

void Secret::Attach(const std::vector<std::string>& stages, SelectorId version, TimeMs now) {
  const Label* current = FindLabel(kCurrent);
  bool takes_current = std::ranges::find(stages, kCurrent) != stages.end();
  if (takes_current && current != nullptr && current->version != version) {
    SelectorId left = current->version;
    // Rollback: AWSCURRENT moves back onto the AWSPREVIOUS version, and the two labels change
    // places.
    SetLabel(kPrevious, left, now);
  }
  for (const std::string& stage : stages) SetLabel(stage, version, now);
}

Status Secret::CheckLabelCount(const std::vector<std::string>& stages) const {
  size_t count = labels.size();
  bool previous_appears = false;
  for (const std::string& stage : stages) {
    if (FindLabel(stage) == nullptr) ++count;
    if (stage == kCurrent && FindLabel(kCurrent) != nullptr && FindLabel(kPrevious) == nullptr) {
      previous_appears = true;
    }
  }
  bool asked_for_previous = std::ranges::find(stages, kPrevious) != stages.end();
  if (previous_appears && !asked_for_previous) ++count;
  if (count > kLabelsPerSecretMax) {
    return Fail(Code::kLimitExceeded,
                "A secret can have at most 20 staging labels; remove one that is no longer needed "
                "and try again.");
  }
  return {};
}

Result<std::vector<SelectorId>> Secret::CollectDeprecated(TimeMs now) {
  std::vector<SelectorId> dropped;
  for (auto it = versions.begin(); versions.size() > kVersionsPerSecretMax;) {
    if (it == versions.end()) {
      return Fail(Code::kLimitExceeded,
                  "The secret has 100 versions and none of them can be dropped: each has a staging "
                  "label or is less than a day old. Remove labels or wait.");
    }
    bool labelled = std::ranges::find(labels, it->number, &Label::version) != labels.end();
    if (labelled || now - it->created_at < kMsPerDay) {
      ++it;
      continue;
    }
    dropped.push_back(it->number);
    it = versions.erase(it);
  }
  return dropped;
}

Result<std::vector<SelectorId>> Secret::AddVersion(Version version,
                                                   const std::vector<std::string>& stages,
                                                   TimeMs now) {
  std::vector<std::string> wanted = stages;
  std::ranges::sort(wanted);
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  for (const std::string& stage : wanted) TRY(ValidateLabel(stage));
  bool has_current = FindLabel(kCurrent) != nullptr;
  if (wanted.empty() || (!has_current && std::ranges::find(wanted, kCurrent) == wanted.end())) {
    wanted.emplace_back(kCurrent);
  }

  Secret changed = *this;
  const Label* current = changed.FindLabel(kCurrent);
  const Label* pending = changed.FindLabel(kPending);
  bool takes_current = std::ranges::find(wanted, kCurrent) != wanted.end();
  if (takes_current && current != nullptr && pending != nullptr &&
      current->version == pending->version) {
    changed.RemoveLabel(kPending);
  }
  TRY(changed.CheckLabelCount(wanted));
  SelectorId number = version.number;
  changed.versions.push_back(std::move(version));
  changed.Attach(wanted, number, now);
  TRY_ASSIGN(std::vector<SelectorId> dropped, changed.CollectDeprecated(now));
  changed.changed_at = now;
  *this = std::move(changed);
  return dropped;
}

Result<bool> Secret::MoveLabel(std::string_view label,
                               const std::optional<std::string>& remove_from,
                               const std::optional<std::string>& move_to, TimeMs now) {
  TRY(ValidateLabel(label));
  if (!remove_from && !move_to) {
    return Fail(Code::kInvalidArgument,
                "You must specify RemoveFromVersionId, MoveToVersionId, or both.");
  }
  const Version* from = remove_from ? FindVersionById(*remove_from) : nullptr;
  const Version* to = move_to ? FindVersionById(*move_to) : nullptr;
  if (remove_from && from == nullptr) return std::unexpected(CannotFindVersion(*remove_from));
  if (move_to && to == nullptr) return std::unexpected(CannotFindVersion(*move_to));

  const Version* holder = FindVersionByLabel(label);
  if (!from && holder != nullptr && holder != to) {
    return Fail(Code::kInvalidArgument,
                "The parameter RemoveFromVersionId can't be empty. Staging label " +
                    std::string(label) + " is currently attached to version " + holder->id +
                    ", so you must explicitly reference that version in RemoveFromVersionId.");
  }
  if (from && holder != from) {
    return Fail(
        Code::kInvalidArgument,
        "Staging label " + std::string(label) + " is not attached to version " + from->id +
            (holder == nullptr ? "; it is attached to no version."
                               : "; it is currently attached to version " + holder->id +
                                     ", so reference that version in RemoveFromVersionId."));
  }
  if (!to) {
    if (label == kCurrent) {
      return Fail(Code::kInvalidArgument,
                  "You can only move staging label AWSCURRENT to a different secret version. It "
                  "can\u2019t be completely removed.");
    }
    RemoveLabel(label);
    changed_at = now;
    return true;
  }
  if (holder == to) return false;
  std::vector<std::string> stages{std::string(label)};
  TRY(CheckLabelCount(stages));
  Attach(stages, to->number, now);
  changed_at = now;
  return true;
}

Status ValidateLabel(std::string_view label) {
  if (label.empty() || label.size() > kLabelBytesMax || !IsValidUtf8(label) ||
      EscapeFreeText(label).size() > kPathComponentBytesMax) {
    return Fail(
        Code::kValidation,
        "Invalid staging label. Must be 1 to 255 bytes of UTF-8 text, counted as the file name "
        "that shows it.");
  }
  return {};
}

Status ValidateVersionId(std::string_view id) {
  bool printable = std::ranges::all_of(id, [](char c) { return c > ' ' && c < 0x7F && c != '/'; });
  if (id.size() < kVersionIdBytesMin || id.size() > kVersionIdBytesMax || !printable) {
    return Fail(
        Code::kValidation,
        "Invalid version id. Must be 32 to 64 printable ASCII characters without '/'; a UUID "
        "is recommended.");
  }
  return {};
}

Status ValidateTags(const std::map<std::string, std::string>& tags) {
  if (tags.size() > kTagsPerSecretMax) {
    return Fail(Code::kInvalidArgument, "A secret can have at most 50 tags.");
  }
  for (const auto& [key, value] : tags) {
    if (key.empty() || key.size() > 128 || value.size() > 256 || !IsValidUtf8(key) ||
        !IsValidUtf8(value)) {
      return Fail(Code::kValidation,
                  "Invalid tag. A key has 1 to 128 characters, a value at most 256.");
    }
    if (key.starts_with("aws:")) {
      return Fail(Code::kInvalidArgument, "Tags beginning with aws: are reserved: " + key);
    }
  }
  return {};
}

}  // namespace secretfs::store
