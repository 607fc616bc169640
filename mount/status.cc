#include "mount/status.h"

#include <unistd.h>

#include "crypto/base/log.h"
#include "crypto/secret_memory.h"
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

}  // namespace

std::string_view BuildVersion() {
  return SECRETFS_VERSION;
}

StatusReporter::StatusReporter(store::SecretService& service, const fs::SharedState& state,
                               std::string mountpoint, const Clock& clock)
    : service_(service),
      state_(state),
      mountpoint_(std::move(mountpoint)),
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
  const crypto::SecretMemoryStats memory = crypto::GetSecretMemoryStats();
  ObjectText audit;
  audit.Number("sequence", health.audit_head.sequence).Text("problem", health.audit_problem);
  ObjectText secret_memory;
  secret_memory.Number("used_bytes", memory.used_bytes)
      .Number("locked_bytes", memory.locked_bytes)
      .Number("reserved_bytes", memory.reserved_bytes)
      .Flag("heap_wipes_on_free", crypto::HeapWipesOnFree());
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
      .Text("mountpoint", mountpoint_)
      .Number("secrets", health.secrets)
      .Object("audit", audit)
      .Object("secret_memory", secret_memory)
      .Number("log_lines_dropped", LogLinesDropped());
  return status.Take() + "\n";
}

}  // namespace secretfs::mount
