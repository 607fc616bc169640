#include "fs/recent_opens.h"

namespace secretfs::fs {
namespace {

constexpr unsigned kVersionBits = 34;
constexpr uint64_t kVersionMask = (uint64_t{1} << kVersionBits) - 1;
static_assert(kVersionMask == store::kSelectorIdMax);

constexpr uint64_t kNobody = 0;

// The finaliser of MurmurHash3: every input bit reaches every output bit.
uint64_t Mix(uint64_t value) {
  value = (value ^ value >> 33) * 0xFF51AFD7ED558CCDULL;
  value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53ULL;
  return value ^ value >> 33;
}

uint64_t HashOf(const RecentOpens::Opener& opener) {
  return Mix(opener.node ^ Mix(opener.thread));
}

uint64_t TagOf(uint64_t hash) {
  return hash & ~kVersionMask;
}

}  // namespace

// All accesses are relaxed: a slot is one word, and what it says is checked or only advice.

void RecentOpens::Remember(const Opener& opener, store::SelectorId version) {
  if (opener.thread == 0) return;
  const uint64_t hash = HashOf(opener);
  slots_[hash % kSlots].store(TagOf(hash) | version, std::memory_order_relaxed);
}

void RecentOpens::Forget(const Opener& opener) {
  const uint64_t hash = HashOf(opener);
  std::atomic<uint64_t>& slot = slots_[hash % kSlots];
  const uint64_t word = slot.load(std::memory_order_relaxed);
  if (word != 0 && TagOf(word) == TagOf(hash)) slot.store(0, std::memory_order_relaxed);
}

std::optional<store::SelectorId> RecentOpens::Find(const Opener& opener) const {
  const uint64_t hash = HashOf(opener);
  const uint64_t word = slots_[hash % kSlots].load(std::memory_order_relaxed);
  if (opener.thread == 0 || word == 0 || TagOf(word) != TagOf(hash)) return std::nullopt;
  return word & kVersionMask;
}

bool SoleAskers::AsksAlone(const Question& question, int64_t now_seconds) {
  std::atomic<uint64_t>& slot = slots_[Mix(question.node) % kSlots];
  // No process has the uid whose inverse is 0.
  const uint64_t asker = uint64_t{~question.uid} << 32;
  const auto now = static_cast<uint32_t>(now_seconds);
  uint64_t word = slot.load(std::memory_order_relaxed);
  // Of two first askers only one may believe that it is alone.
  if (word == kNobody && slot.compare_exchange_strong(word, asker, std::memory_order_relaxed)) {
    return true;
  }
  if (word >> 32 != asker >> 32) {
    slot.store(asker | (now + kMemorySeconds), std::memory_order_relaxed);
    return false;
  }
  return static_cast<uint32_t>(word) <= now;
}

}  // namespace secretfs::fs
