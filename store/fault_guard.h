#pragma once

#include <csetjmp>

namespace secretfs::store {

// Runs C code that reads memory-mapped files, and comes back when it faults.
//
// A shared mapping turns a bad disk block or a truncated file into SIGBUS, and a damaged LMDB page
// into SIGSEGV, SIGFPE (a page size of 0) or a failed assertion. Inside Run() these end the call
// instead of the process. The guarded code must hold no C++ object with a destructor and take no
// lock, since it is left by siglongjmp().
class FaultGuard {
 public:
  // Installs the signal handlers, once; faults outside a guard go on to whatever handler was there.
  static void Install();

  // Returns true if `call` came back, false if it faulted. Costs about 10 ns.
  template <typename Call>
  static bool Run(const Call& call) {
    sigjmp_buf environment;
    sigjmp_buf* const outer = Current();
    if (sigsetjmp(environment, 0) != 0) {
      Current() = outer;
      return false;
    }
    Current() = &environment;
    call();
    Current() = outer;
    return true;
  }

  // Leaves the innermost guarded call of this thread; returns if there is none.
  static void Escape();

 private:
  static sigjmp_buf*& Current();
};

}  // namespace secretfs::store
