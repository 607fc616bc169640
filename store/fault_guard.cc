#include "store/fault_guard.h"

#include <array>
#include <csignal>
#include <mutex>

namespace secretfs::store {
namespace {

constexpr std::array kSignals = {SIGSEGV, SIGBUS, SIGFPE};
std::array<struct sigaction, kSignals.size()> previous_actions;

void OnFault(int signal, siginfo_t*, void*) {
  FaultGuard::Escape();
  // Not ours: put the old handler back and return, so that the instruction faults again under it.
  for (size_t i = 0; i < kSignals.size(); ++i) {
    if (kSignals[i] == signal) sigaction(signal, &previous_actions[i], nullptr);
  }
}

}  // namespace

sigjmp_buf*& FaultGuard::Current() {
  static thread_local sigjmp_buf* current = nullptr;
  return current;
}

void FaultGuard::Escape() {
  if (Current() != nullptr) siglongjmp(*Current(), 1);
}

void FaultGuard::Install() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action{};
    action.sa_sigaction = OnFault;
    // SA_NODEFER: the handler is left by siglongjmp(), which must not leave the signal blocked.
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    for (size_t i = 0; i < kSignals.size(); ++i) {
      sigaction(kSignals[i], &action, &previous_actions[i]);
    }
  });
}

}  // namespace secretfs::store
