#include "mount/system_call_filter.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/temp_directory.h"

namespace secretfs::mount {
namespace {

using ::testing::ExitedWithCode;
using ::testing::HasSubstr;
using ::testing::KilledBySignal;
using ::testing::Not;

constexpr std::array kProcesses = {FilteredProcess::kDaemon, FilteredProcess::kToucher};

// Each body runs in a process of its own, since there is no way back.
class SystemCallFilterTest : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

void Filter(FilteredProcess process) {
  if (!FilterSystemCalls(process).value_or(false)) _exit(101);
  if (prctl(PR_GET_SECCOMP) != SECCOMP_MODE_FILTER) _exit(102);
}

// Ends the process with the number of the first step that fails, or 0.
void Finish(const std::vector<std::function<bool()>>& steps) {
  for (size_t i = 0; i < steps.size(); ++i) {
    if (!steps[i]()) _exit(static_cast<int>(i) + 1);
  }
  _exit(0);
}

bool FailsWith(int error_number, long result) {
  return result == -1 && errno == error_number;
}

TEST_F(SystemCallFilterTest, WhatADaemonDoesWorks) {
  EXPECT_EXIT(
      {
        const testing::TempDirectory directory;
        const std::string path = directory / "file";
        Filter(FilteredProcess::kDaemon);
        Finish({
            [&] {
              FILE* file = fopen(path.c_str(), "w+e");
              const bool ok = file != nullptr && fputs("x", file) >= 0 && fflush(file) == 0 &&
                              fsync(fileno(file)) == 0 && fclose(file) == 0;
              return ok && rename(path.c_str(), (path + ".1").c_str()) == 0;
            },
            [] {
              void* memory = mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              return memory != MAP_FAILED && mlock(memory, 4096) == 0 &&
                     munmap(memory, 1 << 20) == 0;
            },
            [] { return std::async(std::launch::async, [] { return 7; }).get() == 7; },
            [] {
              try {
                throw std::runtime_error("x");
              } catch (const std::exception&) {
                return true;
              }
            },
            [] { return prctl(PR_SET_NAME, "x") == 0; },
            [] {
              rlimit limit{};
              return getrlimit(RLIMIT_MEMLOCK, &limit) == 0;
            },
            [] { return kill(getpid(), 0) == 0; },
            [&] { return std::filesystem::remove_all(directory.path()) == 2; },
        });
      },
      ExitedWithCode(0), "");
}

TEST_F(SystemCallFilterTest, AnotherCallEndsTheProcessAndIsNamed) {
  const std::vector<long> calls = {
      SYS_execve,
      SYS_execveat,
      SYS_ptrace,
      SYS_process_vm_readv,
      SYS_bpf,
      SYS_process_vm_writev,
      SYS_mount,
      SYS_umount2,
      SYS_keyctl,
      SYS_userfaultfd,
      SYS_unshare,
      SYS_open_by_handle_at,
      SYS_setns,
      SYS_perf_event_open,
      SYS_io_uring_setup,
      SYS_kexec_load,
      SYS_setresuid,
      SYS_init_module,
      SYS_finit_module,
      SYS_pidfd_getfd,
      SYS_open_tree,
      SYS_move_mount,
      SYS_fsopen,
      SYS_pivot_root,
      SYS_chroot,
      SYS_personality,
      SYS_pidfd_send_signal,
      SYS_seccomp,
      SYS_bind,
      SYS_connect,
      SYS_symlinkat,
      SYS_mknodat,
  };
  for (const FilteredProcess process : kProcesses) {
    for (const long call : calls) {
      EXPECT_EXIT(
          {
            Filter(process);
            syscall(call, 0, 0, 0, 0, 0, 0);
            _exit(0);
          },
          KilledBySignal(SIGSYS), "system call " + std::to_string(call) + " ");
    }
  }
}

TEST_F(SystemCallFilterTest, ForksAreOthers) {
  EXPECT_EXIT(
      {
        Filter(FilteredProcess::kDaemon);
        syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        _exit(0);
      },
      KilledBySignal(SIGSYS), "system call " + std::to_string(SYS_clone));
  EXPECT_EXIT(
      {
        Filter(FilteredProcess::kDaemon);
        syscall(SYS_clone, CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_NEWNET, 0, 0, 0, 0);
        _exit(0);
      },
      KilledBySignal(SIGSYS), "system call " + std::to_string(SYS_clone));
}

TEST_F(SystemCallFilterTest, WhatLibrariesDoWithoutIsRefusedWithAnError) {
  for (const FilteredProcess process : kProcesses) {
    EXPECT_EXIT(
        {
          Filter(process);
          Finish({
              [] { return FailsWith(EACCES, socket(AF_INET, SOCK_STREAM, 0)); },
              [] { return FailsWith(EACCES, socket(AF_NETLINK, SOCK_RAW, 0)); },
              [] { return FailsWith(EACCES, socket(AF_UNIX, SOCK_STREAM, 0)); },
              [] {
                return mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                            0) == MAP_FAILED &&
                       errno == EACCES;
              },
              [] {
                void* page =
                    mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                return FailsWith(EACCES, mprotect(page, 4096, PROT_READ | PROT_EXEC));
              },
              [] { return FailsWith(ENOSYS, syscall(SYS_clone3, nullptr, 0)); },
              [] { return FailsWith(ENOSYS, syscall(511)); },
              [] { return FailsWith(EPERM, kill(getppid(), 0)); },
              [] { return FailsWith(EPERM, syscall(SYS_tgkill, getppid(), getppid(), 0)); },
              [] { return FailsWith(EPERM, fcntl(0, F_SETOWN, getppid())); },
              [] { return FailsWith(EPERM, fcntl(0, F_SETSIG, SIGKILL)); },
              [] { return FailsWith(EPERM, chmod("/proc/self", 0)); },
              [] {
                const rlimit limit{1, 1};
                return FailsWith(EPERM, setrlimit(RLIMIT_NOFILE, &limit));
              },
              [] {
                struct sigaction ignore{};
                ignore.sa_handler = SIG_IGN;
                return FailsWith(EPERM, sigaction(SIGSYS, &ignore, nullptr));
              },
          });
        },
        ExitedWithCode(0), "");
  }
}

TEST_F(SystemCallFilterTest, ThreadsOfBeforeAndOfLaterAreUnderIt) {
  EXPECT_EXIT(
      {
        std::promise<void> filtered;
        std::thread before([&] {
          filtered.get_future().wait();
          syscall(SYS_ptrace, 0, 0, 0, 0);
        });
        Filter(FilteredProcess::kDaemon);
        filtered.set_value();
        before.join();
        _exit(0);
      },
      KilledBySignal(SIGSYS), "system call " + std::to_string(SYS_ptrace));
  EXPECT_EXIT(
      {
        Filter(FilteredProcess::kDaemon);
        std::thread([] { syscall(SYS_ptrace, 0, 0, 0, 0); }).join();
        _exit(0);
      },
      KilledBySignal(SIGSYS), "system call " + std::to_string(SYS_ptrace));
}

TEST_F(SystemCallFilterTest, AbortStaysAnAbort) {
  for (const FilteredProcess process : kProcesses) {
    EXPECT_EXIT(
        {
          Filter(process);
          fputs("why\n", stderr);
          std::abort();
        },
        KilledBySignal(SIGABRT), "why");
  }
}

TEST_F(SystemCallFilterTest, ASignalOfThatNumberFromOutsideIsNoCall) {
  EXPECT_EXIT(
      {
        Filter(FilteredProcess::kDaemon);
        kill(getpid(), SIGSYS);
        pause();
      },
      KilledBySignal(SIGSYS), Not(HasSubstr("system call")));
}

// As some containers do.
void PretendThereIsNoSeccomp() {
  std::array program = {
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp, 0, 1),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{program.size(), program.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(103);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) _exit(104);
}

TEST_F(SystemCallFilterTest, AKernelWithoutFiltersIsWorthAWarning) {
  EXPECT_EXIT(
      {
        PretendThereIsNoSeccomp();
        const auto filtered = FilterSystemCalls(FilteredProcess::kDaemon);
        Finish({[&] { return filtered && !*filtered; },
                [] { return FailsWith(ESRCH, syscall(SYS_ptrace, 7, 1 << 30, 0, 0)); }});
      },
      ExitedWithCode(0), "goes on without a system call filter");
}

TEST_F(SystemCallFilterTest, AToucherMayTouchAndNoMore) {
  EXPECT_EXIT(
      {
        const int memory = memfd_create("touched", MFD_CLOEXEC);
        const std::string path = "/proc/self/fd/" + std::to_string(memory);
        Filter(FilteredProcess::kToucher);
        const int file = open(path.c_str(), O_WRONLY | O_CLOEXEC);
        if (file < 0 || utimensat(AT_FDCWD, path.c_str(), nullptr, 0) != 0) _exit(1);
        if (write(file, "x", 1) != 1 || close(file) != 0) _exit(2);
        syscall(SYS_unlinkat, AT_FDCWD, "/nonexistent/file", 0);
        _exit(0);
      },
      KilledBySignal(SIGSYS), "system call " + std::to_string(SYS_unlinkat) + " ");
}

TEST_F(SystemCallFilterTest, TheListsAreTheSameOnBothArchitectures) {
  // Of libseccomp's notation: a call that the architecture does not have has no such number.
  const auto allows = [](const std::string& filter, const std::string& call) {
    const size_t found = filter.find("filter for syscall \"" + call + "\" (");
    if (found == std::string::npos) return false;
    const std::string number = filter.substr(filter.find('(', found) + 1, 10);
    return std::stoul(number) < 1000;
  };
  for (const uint32_t architecture : {uint32_t{SCMP_ARCH_X86_64}, uint32_t{SCMP_ARCH_AARCH64}}) {
    const auto filter = DescribeSystemCallFilter(FilteredProcess::kDaemon, architecture);
    ASSERT_TRUE(filter);
    EXPECT_THAT(*filter, HasSubstr("default action\n  action TRAP"));
    EXPECT_EQ(allows(*filter, "open"), architecture == SCMP_ARCH_X86_64);
    for (const char* call : {"read", "openat", "futex", "fdatasync", "clone", "mmap", "fstat"}) {
      EXPECT_TRUE(allows(*filter, call)) << call;
    }
    for (const char* call : {"execve", "execveat", "ptrace", "fork", "vfork", "mount", "bpf",
                             "setuid", "setns", "unshare", "io_uring_setup", "keyctl"}) {
      EXPECT_FALSE(allows(*filter, call)) << call;
    }
  }
}

}  // namespace
}  // namespace secretfs::mount
