#include "mount/kept_mount.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "crypto/base/log.h"

namespace secretfs::mount {
namespace {

// The names under which the manager keeps the descriptors: an interface between builds.
constexpr std::string_view kDevice = "secretfs-fuse";
constexpr std::string_view kSharedState = "secretfs-requests";
constexpr std::string_view kDeposit = "secretfs-root-key";
constexpr std::string_view kListener = "secretfs-socket";
constexpr std::string_view kToToucher = "secretfs-touch";
constexpr std::string_view kFromDaemon = "secretfs-touched";
// A memory file: store, mountpoint and device number, each with a NUL behind it. The daemon, which
// may write to the shared state, never has it.
constexpr std::string_view kFacts = "secretfs-mount";

struct Facts {
  MountPlace place;
  std::string device_number;
};

Result<UniqueFd> WriteFacts(const Facts& facts) {
  std::string text;
  for (const std::string* part :
       {&facts.place.store, &facts.place.mountpoint, &facts.device_number}) {
    text.append(*part).push_back('\0');
  }
  UniqueFd fd(memfd_create("secretfs-mount", MFD_CLOEXEC));
  if (!fd.valid() || write(fd.get(), text.data(), text.size()) < 0) {
    return FailErrno(Code::kUnavailable, "note the mount for the next keeper", errno);
  }
  return fd;
}

std::optional<Facts> ReadFacts(int fd) {
  std::array<char, 3 * 4096 + 64> bytes;
  const ssize_t size = pread(fd, bytes.data(), bytes.size(), 0);
  if (size <= 0) return std::nullopt;
  std::string_view text(bytes.data(), static_cast<size_t>(size));
  Facts facts;
  for (std::string* part : {&facts.place.store, &facts.place.mountpoint, &facts.device_number}) {
    const size_t end = text.find('\0');
    if (end == std::string_view::npos) return std::nullopt;
    *part = text.substr(0, end);
    text.remove_prefix(end + 1);
  }
  return facts;
}

UniqueFd Take(GivenDescriptors& given, std::string_view name) {
  const auto found = given.find(name);
  return found == given.end() ? UniqueFd() : std::move(found->second);
}

}  // namespace

Status LeaveWithManager(const ServiceManager& manager, const KeptMount& kept,
                        const MountPlace& place) {
  // Of a mount before, if there was one: names need not be unique there.
  TakeBackFromManager(manager);
  TRY_ASSIGN(const UniqueFd facts, WriteFacts({place, kept.mount.device_number}));
  // The device last: without it the others are no mount, and a keeper that finds it finds all.
  const std::array<std::pair<std::string_view, int>, 7> descriptors = {
      {{kFacts, facts.get()},
       {kSharedState, kept.shared_state.get()},
       {kDeposit, kept.deposit.get()},
       {kListener, kept.socket->fd()},
       {kToToucher, kept.to_toucher.get()},
       {kFromDaemon, kept.from_daemon.get()},
       {kDevice, kept.mount.device.get()}}};
  for (const auto& [name, fd] : descriptors) {
    if (fd >= 0) manager.KeepDescriptor(name, fd);
  }
  return {};
}

void TakeBackFromManager(const ServiceManager& manager) {
  for (const auto name :
       {kDevice, kFromDaemon, kToToucher, kListener, kDeposit, kSharedState, kFacts}) {
    manager.ForgetDescriptor(name);
  }
}

Result<KeptMount> TakeKeptMount(GivenDescriptors given, const MountPlace& place) {
  KeptMount kept;
  if (UniqueFd listener = Take(given, kListener); listener.valid()) {
    if (auto adopted = ListenSocket::Adopt(place.socket, std::move(listener))) {
      kept.socket = *std::move(adopted);
    }
  }
  const auto facts = ReadFacts(Take(given, kFacts).get());
  UniqueFd device = Take(given, kDevice);
  UniqueFd shared_state = Take(given, kSharedState);
  UniqueFd to_toucher = Take(given, kToToucher);
  UniqueFd from_daemon = Take(given, kFromDaemon);
  if (!device.valid() || !fs::IsConnected(device.get())) return kept;
  // Processes of the keeper before may be about to end, and hold what is unmounted by now.
  if (facts) {
    TRY_ASSIGN(const bool is_mounted, fs::HasMountOf(facts->device_number));
    if (!is_mounted) return kept;
  }
  const bool is_whole = facts && shared_state.valid() && to_toucher.valid() && from_daemon.valid();
  if (!is_whole || facts->place.store != place.store ||
      facts->place.mountpoint != place.mountpoint) {
    const std::string& mountpoint = facts ? facts->place.mountpoint : place.mountpoint;
    Log(LogLevel::kWarning, mountpoint + ": detaching the mount of the keeper before, which " +
                                (is_whole ? "was another" : "was not left whole"));
    // While the device is open nobody meets errors there, but whoever looks at the mount waits.
    const Status detached =
        fs::UnmountFuse(mountpoint, /*lazy=*/true, facts ? facts->device_number : "");
    if (!detached && detached.error().code != Code::kNotFound) {
      return std::unexpected(detached.error());
    }
    return kept;
  }
  // The private mount's descriptor is none that systemd keeps (O_PATH).
  kept.mount = {.device = std::move(device),
                .private_mount = fs::MountPrivately(place.mountpoint, facts->device_number),
                .device_number = facts->device_number};
  kept.shared_state = std::move(shared_state);
  kept.deposit = Take(given, kDeposit);
  kept.to_toucher = std::move(to_toucher);
  kept.from_daemon = std::move(from_daemon);
  return kept;
}

}  // namespace secretfs::mount
