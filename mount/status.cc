#include "mount/status.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <charconv>

#include "crypto/base/log.h"
#include "crypto/secret_memory.h"
#include "fs/fuse_features.h"
#include "mount/privileges.h"
#include "store/json_object.h"

namespace secretfs::mount {
namespace {

constexpr TimeMs kRebuildAfterMs = 1000;

// A flat writer for one small object: the JSON library stays behind the AWS files.
class ObjectText {
 public:
  ObjectText& Text(std::string_view key, std::string_view value) {
    crypto::SecretBuffer quoted;
    store::AppendJsonString(AsBytes(value), quoted);
    return Raw(key, AsText(quoted.Reveal()));
  }
  ObjectText& Number(std::string_view key, uint64_t value) {
    return Raw(key, std::to_string(value));
  }
  ObjectText& Flag(std::string_view key, bool value) { return Raw(key, value ? "true" : "false"); }
  ObjectText& Object(std::string_view key, const ObjectText& value) {
    return Raw(key, value.Take());
  }
  std::string Take() const { return "{" + text_ + "}"; }

 private:
  ObjectText& Raw(std::string_view key, std::string_view value) {
    if (!text_.empty()) text_ += ',';
    text_.append("\"").append(key).append("\":").append(value);
    return *this;
  }
  std::string text_;
};

ObjectText AuditPart(const store::SecretService::Health& health) {
  ObjectText part;
  part.Number("sequence", health.audit_head.sequence).Text("problem", health.audit_problem);
  return part;
}

ObjectText SecretMemoryPart() {
  const crypto::SecretMemoryStats memory = crypto::GetSecretMemoryStats();
  ObjectText part;
  part.Flag("locked", memory.locked_bytes == memory.reserved_bytes)
      .Number("used_bytes", memory.used_bytes)
      .Number("locked_bytes", memory.locked_bytes)
      .Number("reserved_bytes", memory.reserved_bytes)
      .Flag("heap_wipes_on_free", crypto::HeapWipesOnFree());
  return part;
}

// "none", or a hexadecimal mask as in /proc/<pid>/status.
std::string CapabilitiesText(uint64_t capabilities) {
  if (capabilities == 0) return "none";
  std::array<char, 16> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), capabilities, 16);
  return "0x" + std::string(digits.data(), end.ptr);
}

ObjectText ConfinementPart(const StatusReporter::Facts& facts) {
  const Confinement confinement = GetConfinement();
  ObjectText part;
  part.Number("uid", confinement.uid)
      .Text("capabilities", CapabilitiesText(confinement.capabilities))
      .Flag("no_new_privileges", confinement.no_new_privileges)
      .Flag("system_call_filter", facts.system_call_filter);
  return part;
}

ObjectText KernelPart(const fs::SharedState& state, const StatusReporter::Facts& facts) {
  const fs::FuseFeatures fuse = fs::FeaturesOf(state);
  utsname system{};
  uname(&system);
  ObjectText part;
  part.Text("release", system.release)
      .Text("fuse_protocol", std::to_string(fuse.major) + "." + std::to_string(fuse.minor))
      .Flag("resend", fuse.resend && facts.resend)
      .Flag("memfd_secret", facts.memfd_secret);
  return part;
}

}  // namespace

std::string_view BuildVersion() {
  return SECRETFS_VERSION;
}

StatusReporter::StatusReporter(store::SecretService& service, const fs::SharedState& state,
                               Facts facts, const Clock& clock)
    : service_(service),
      state_(state),
      facts_(std::move(facts)),
      clock_(clock),
      started_at_(clock.NowMs()) {}

std::string StatusReporter::Text() {
  const TimeMs now = clock_.NowMs();
  MutexLock lock(mutex_);
  // The wall clock may go back.
  const bool fresh = !text_.empty() && now >= built_at_ && now - built_at_ < kRebuildAfterMs;
  if (!fresh) {
    text_ = Build(now);
    built_at_ = now;
  }
  return text_;
}

std::string StatusReporter::Build(TimeMs now) {
  const store::SecretService::Health health = service_.GetHealth();
  ObjectText status;
  status.Text("version", BuildVersion())
      .Number("pid", static_cast<uint64_t>(getpid()))
      .Number("keeper_pid", state_.keeper_pid)
      .Number("generation", state_.generation)
      .Number("restarts", state_.restarts)
      .Number("upgrades", state_.upgrades)
      .Text("last_end", state_.last_end)
      .Text("started_at", FormatTime(started_at_))
      .Text("as_of", FormatTime(now))
      .Text("store_id", service_.header().store_id)
      .Text("mountpoint", facts_.mountpoint)
      .Number("secrets", health.secrets)
      .Object("audit", AuditPart(health))
      .Object("secret_memory", SecretMemoryPart())
      .Object("confinement", ConfinementPart(facts_))
      .Object("kernel", KernelPart(state_, facts_))
      .Flag("root_key_kept", facts_.root_key_kept)
      .Flag("inotify_events", state_.toucher_pid != 0)
      .Number("log_lines_dropped", LogLinesDropped());
  return status.Take() + "\n";
}

}  // namespace secretfs::mount
