#include "mount/system_call_filter.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <type_traits>
#include <vector>

#include "crypto/base/log.h"
#include "crypto/base/unique_fd.h"

namespace secretfs::mount {
namespace {

// --- What any program of ours needs: the C and C++ libraries, threads, memory, the log -----------

constexpr std::string_view kRuntime =
    // Ends, and faults: abort(), the store's fault guard, the stack protector.
    "exit exit_group restart_syscall rt_sigreturn rt_sigprocmask rt_sigpending rt_sigsuspend "
    "rt_sigtimedwait sigaltstack pause "
    // Threads and locks.
    "futex futex_waitv set_robust_list get_robust_list set_tid_address rseq membarrier "
    "sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max "
    "sched_get_priority_min getcpu gettid getpid getppid getpgrp getpgid getsid "
    // Memory; mmap() and mprotect() are below. mlock(): secrets.
    "brk munmap mremap madvise msync mincore mlock mlock2 munlock "
    // Time and waiting.
    "clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times poll ppoll "
    "select pselect6 "
    // What a process may know of itself and the machine.
    "getuid geteuid getgid getegid getresuid getresgid getgroups capget getrlimit getrusage "
    "getpriority sysinfo uname getrandom "
    // Descriptors that it has.
    "read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 close close_range "
    "fstat dup dup2 dup3 lseek umask";

// --- The daemon ----------------------------------------------------------------------------------

// The store (LMDB maps data.mdb and locks it), the audit trail, the log, settings, /etc/passwd for
// login names, /proc and /sys for what the C library asks of the machine.
constexpr std::string_view kFiles =
    "open openat stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat "
    "getcwd getdents64 statfs fstatfs mkdir mkdirat unlink unlinkat rmdir rename renameat "
    "renameat2 truncate ftruncate fallocate fadvise64 readahead fsync fdatasync syncfs "
    "sync_file_range flock copy_file_range sendfile";

// Requests of the file system come by read() and are answered by writev(). The doors: libmicrohttpd
// on a socket that the keeper bound, and the keeper and the toucher on theirs.
constexpr std::string_view kServing =
    "accept accept4 recvfrom recvmsg recvmmsg sendto sendmsg sendmmsg shutdown getsockname "
    "getpeername getsockopt setsockopt listen epoll_create epoll_create1 epoll_ctl epoll_wait "
    "epoll_pwait epoll_pwait2 eventfd eventfd2 pipe pipe2 timerfd_create timerfd_settime "
    "timerfd_gettime signalfd4";

// --- The toucher ---------------------------------------------------------------------------------

// Paths come by recv(); to the kernel it speaks by write().
constexpr std::string_view kTouching =
    "recvfrom recvmsg sendto sendmsg utimensat open openat newfstatat stat";

// --- Refused, and survived -----------------------------------------------------------------------

struct Refusal {
  int error_number;
  std::string_view calls;
};
constexpr std::array kRefusals = {
    // isatty() and its like; what else ioctl() can do is too much to list.
    Refusal{ENOTTY, "ioctl"},
    // Name service lookups do without.
    Refusal{EACCES, "socket socketpair"},
    Refusal{ENOSYS, "clone3 openat2"},
    // What others may do with our files is decided when they are made.
    Refusal{EPERM,
            "chmod fchmod fchmodat chown fchown lchown fchownat setrlimit setpriority "
            "sched_setaffinity sched_setscheduler sched_setparam"},
};

// Calls from cachestat() (Linux 6.5) on, whose numbers all architectures share. None of them is on
// a list; 512 is where x86_64 begins with something else.
constexpr int kFirstYoungCall = 451;
constexpr int kFirstNumberOfOthers = 512;

constexpr std::array kFcntlOperations = {
    F_DUPFD,     F_DUPFD_CLOEXEC, F_GETFD,      F_SETFD,     F_GETFL,      F_SETFL,  F_GETLK,
    F_SETLK,     F_SETLKW,        F_OFD_GETLK,  F_OFD_SETLK, F_OFD_SETLKW, F_GETOWN, F_GETSIG,
    F_GETOWN_EX, F_GETPIPE_SZ,    F_SETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS,
};

constexpr std::array kPrctlOptions = {
    PR_SET_NAME,         PR_GET_NAME,    PR_SET_PDEATHSIG,  PR_GET_PDEATHSIG,
    PR_GET_DUMPABLE,     PR_GET_SECCOMP, PR_CAPBSET_READ,   PR_SET_NO_NEW_PRIVS,
    PR_GET_NO_NEW_PRIVS, PR_SET_VMA,     PR_GET_TIMERSLACK,
};

// A thread is no process, and has no namespaces of its own.
constexpr uint64_t kNewNamespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

struct ReleaseFilter {
  void operator()(scmp_filter_ctx filter) const { seccomp_release(filter); }
};
using FilterPtr = std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, ReleaseFilter>;

class FilterBuilder {
 public:
  explicit FilterBuilder(scmp_filter_ctx filter) : filter_(filter) {}

  // `calls` are separated by spaces.
  void AddAll(uint32_t action, std::string_view calls) {
    while (!calls.empty()) {
      const size_t space = std::min(calls.find(' '), calls.size());
      Add(action, std::string(calls.substr(0, space)));
      calls.remove_prefix(std::min(space + 1, calls.size()));
    }
  }

  void Add(uint32_t action, const std::string& call,
           const std::vector<scmp_arg_cmp>& arguments = {}) {
    const int number = seccomp_syscall_resolve_name(call.c_str());
    if (number == __NR_SCMP_ERROR) problem_ = "system call filter: there is no " + call;
    // What this architecture does not have, as arm64 has no open().
    if (number < 0) return;
    Add(action, number, call, arguments);
  }

  void Add(uint32_t action, int number, const std::string& call,
           const std::vector<scmp_arg_cmp>& arguments = {}) {
    const int failed = seccomp_rule_add_array(
        filter_, action, number, static_cast<unsigned>(arguments.size()), arguments.data());
    if (failed != 0 && problem_.empty()) {
      problem_ = "system call filter: " + call + ": " + std::strerror(-failed);
    }
  }

  Status Outcome() const { return problem_.empty() ? Status() : Fail(Code::kInternal, problem_); }

 private:
  scmp_filter_ctx filter_;
  std::string problem_;
};

// An argument, counted from 0, that is (not) `value`. libseccomp's macros for it are C.
scmp_arg_cmp Is(unsigned argument, uint64_t value) {
  return {.arg = argument, .op = SCMP_CMP_EQ, .datum_a = value, .datum_b = 0};
}
scmp_arg_cmp IsNot(unsigned argument, uint64_t value) {
  return {.arg = argument, .op = SCMP_CMP_NE, .datum_a = value, .datum_b = 0};
}
// Of the bits in `mask`, it has exactly those of `value`.
scmp_arg_cmp Has(unsigned argument, uint64_t mask, uint64_t value) {
  return {.arg = argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};
}

// Calls of which some arguments are allowed. An argument can be compared only once in a rule.
void AddRulesWithArguments(FilterBuilder& builder) {
  const auto own_pid = static_cast<uint64_t>(getpid());
  for (const char* call : {"kill", "tgkill", "rt_tgsigqueueinfo"}) {
    builder.Add(SCMP_ACT_ALLOW, call, {Is(0, own_pid)});
    builder.Add(SCMP_ACT_ERRNO(EPERM), call, {IsNot(0, own_pid)});
  }
  for (const char* call : {"mmap", "mprotect"}) {
    builder.Add(SCMP_ACT_ALLOW, call, {Has(2, PROT_EXEC, 0)});
    builder.Add(SCMP_ACT_ERRNO(EACCES), call, {Has(2, PROT_EXEC, PROT_EXEC)});
  }
  // Not F_SETOWN and F_SETSIG: the kernel would send others signals that kill() may not.
  for (const int operation : kFcntlOperations) {
    builder.Add(SCMP_ACT_ALLOW, "fcntl", {Is(1, static_cast<uint64_t>(operation))});
  }
  for (const int operation : {F_SETOWN, F_SETOWN_EX, F_SETSIG, F_NOTIFY, F_SETLEASE}) {
    builder.Add(SCMP_ACT_ERRNO(EPERM), "fcntl", {Is(1, static_cast<uint64_t>(operation))});
  }
  // Who could take this file's own handler away would still not get the call.
  builder.Add(SCMP_ACT_ALLOW, "rt_sigaction", {IsNot(0, SIGSYS)});
  builder.Add(SCMP_ACT_ERRNO(EPERM), "rt_sigaction", {Is(0, SIGSYS)});
  // Limits are looked at, not set.
  builder.Add(SCMP_ACT_ALLOW, "prlimit64", {Is(2, 0)});
  builder.Add(SCMP_ACT_ERRNO(EPERM), "prlimit64", {IsNot(2, 0)});
  builder.Add(SCMP_ACT_ALLOW, "clone", {Has(0, CLONE_THREAD | kNewNamespaces, CLONE_THREAD)});
  for (const int option : kPrctlOptions) {
    builder.Add(SCMP_ACT_ALLOW, "prctl", {Is(0, static_cast<uint64_t>(option))});
  }
}

Status AddRules(scmp_filter_ctx filter, FilteredProcess process, bool is_native) {
  FilterBuilder builder(filter);
  builder.AddAll(SCMP_ACT_ALLOW, kRuntime);
  switch (process) {
    case FilteredProcess::kDaemon:
      builder.AddAll(SCMP_ACT_ALLOW, kFiles);
      builder.AddAll(SCMP_ACT_ALLOW, kServing);
      break;
    case FilteredProcess::kToucher:
      builder.AddAll(SCMP_ACT_ALLOW, kTouching);
      break;
  }
  AddRulesWithArguments(builder);
  for (const Refusal& refusal : kRefusals) {
    builder.AddAll(SCMP_ACT_ERRNO(static_cast<uint32_t>(refusal.error_number)), refusal.calls);
  }
  // libseccomp translates names alone, and these have none for it.
  for (int number = kFirstYoungCall; is_native && number < kFirstNumberOfOthers; ++number) {
    builder.Add(SCMP_ACT_ERRNO(ENOSYS), number, "call " + std::to_string(number));
  }
  return builder.Outcome();
}

// Errors: kUnavailable if this kernel does not filter system calls, kInternal.
Result<FilterPtr> BuildFilter(FilteredProcess process, uint32_t architecture) {
  FilterPtr filter(seccomp_init(SCMP_ACT_TRAP));
  if (filter == nullptr) return Fail(Code::kInternal, "system call filter: out of memory");
  // 32-bit and x32 calls, whose numbers mean other things.
  int failed = seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  if (failed == 0) failed = seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1);
  if (failed == 0) failed = seccomp_attr_set(filter.get(), SCMP_FLTATR_API_SYSRAWRC, 1);
  if (failed != 0) return FailErrno(Code::kUnavailable, "set up", -failed);
  // Before Linux 5.16 a filter turns a mitigation on that is meant for sandboxed foreign code, and
  // slows everything down; a kernel before 4.17 does not know the choice.
  (void)seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_SSB, 1);
  if (architecture != 0 && architecture != seccomp_arch_native() &&
      (seccomp_arch_remove(filter.get(), SCMP_ARCH_NATIVE) != 0 ||
       seccomp_arch_add(filter.get(), architecture) != 0)) {
    return Fail(Code::kInternal, "system call filter: no such architecture");
  }
  TRY(AddRules(filter.get(), process, architecture == 0));
  return filter;
}

// --- The end of a process that makes another call ------------------------------------------------

// Nothing but what may be called in a signal handler (signal-safety(7)).
class SignalSafeLine {
 public:
  SignalSafeLine& operator<<(std::string_view text) {
    for (const char byte : text) Put(byte);
    return *this;
  }
  SignalSafeLine& operator<<(unsigned number) {
    std::array<char, 10> digits;
    size_t count = 0;
    do {
      digits[count++] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number != 0);
    while (count > 0) Put(digits[--count]);
    return *this;
  }
  // As Log() does it: who does not read its end of a pipe holds nobody up.
  void WriteToStandardError() const {
    pollfd ready{STDERR_FILENO, POLLOUT, 0};
    if (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) return;
    if (write(STDERR_FILENO, bytes_.data(), size_) < 0) return;
  }

 private:
  void Put(char byte) {
    if (size_ < bytes_.size()) bytes_[size_++] = byte;
  }
  std::array<char, 512> bytes_;
  size_t size_ = 0;
};

void OnRefusedCall(int signal, siginfo_t* info, void* /*context*/) {
  constexpr int kBySeccomp = 1;  // SYS_SECCOMP of linux/signal.h; else somebody sent the signal.
  if (info->si_code == kBySeccomp) {
    const auto number = static_cast<unsigned>(info->si_syscall);
    SignalSafeLine line;
    line << "secretfs: error: system call " << number
         << " is none that this process makes, and ends it; its name: scmp_sys_resolver " << number
         << "; if this is no attack, report it, and set system_call_filter = false in [mount]\n";
    line.WriteToStandardError();
  }
  // SA_RESETHAND has put the default action back, which ends the process.
  raise(signal);
}

Status InstallHandler() {
  struct sigaction action{};
  action.sa_sigaction = OnRefusedCall;
  action.sa_flags = SA_SIGINFO | SA_RESETHAND | SA_NODEFER;
  if (sigaction(SIGSYS, &action, nullptr) != 0) {
    return FailErrno(Code::kInternal, "system call filter: handle SIGSYS", errno);
  }
  return {};
}

}  // namespace

Result<bool> FilterSystemCalls(FilteredProcess process) {
  const auto load = [&]() -> Status {
    TRY_ASSIGN(const FilterPtr filter, BuildFilter(process, 0));
    TRY(InstallHandler());
    const int failed = -seccomp_load(filter.get());
    if (failed == 0) return {};
    const bool refused = failed == EINVAL || failed == ENOSYS || failed == EPERM ||
                         failed == EACCES || failed == EOPNOTSUPP;
    return FailErrno(refused ? Code::kUnavailable : Code::kInternal, "load", failed);
  };
  const Status loaded = load();
  if (loaded) return true;
  if (loaded.error().code != Code::kUnavailable) return std::unexpected(loaded.error());
  Log(LogLevel::kWarning,
      "the process goes on without a system call filter (" + loaded.error().message +
          "); that takes a kernel with CONFIG_SECCOMP_FILTER, and in a container a profile that "
          "allows seccomp()");
  return false;
}

Result<std::string> DescribeSystemCallFilter(FilteredProcess process, uint32_t architecture) {
  TRY_ASSIGN(const FilterPtr filter, BuildFilter(process, architecture));
  const UniqueFd file(memfd_create("secretfs-filter", MFD_CLOEXEC));
  if (!file.valid() || seccomp_export_pfc(filter.get(), file.get()) != 0) {
    return Fail(Code::kInternal, "describe the system call filter");
  }
  std::string text(static_cast<size_t>(lseek(file.get(), 0, SEEK_END)), '\0');
  if (pread(file.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return FailErrno(Code::kInternal, "describe the system call filter", errno);
  }
  return text;
}

}  // namespace secretfs::mount
