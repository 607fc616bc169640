#pragma once

#include <cstddef>
#include <cstdint>

namespace secretfs::crypto {

// The process's locked heap: pages that are mlock()ed, left out of core dumps (MADV_DONTDUMP) and
// zeroed in a forked child (MADV_WIPEONFORK). SecretBuffer and, once ProtectProcess() ran,
// OpenSSL's own heap (key schedules, private keys) live in it. Blocks are zeroed when freed.
// Thread-safe.
//
// The heap grows by locking one more chunk; it never shrinks. When RLIMIT_MEMLOCK is reached it
// goes on unlocked and says so in its statistics: a reader must not fail because a limit is low,
// but the operator must be able to see it.
//
// SecretAllocate() returns 16-byte aligned memory with unspecified content and stops the process
// when there is none. SecretFree() accepts null.
void* SecretAllocate(size_t size_bytes);
void SecretFree(void* block);

struct SecretMemoryStats {
  size_t used_bytes;      // In live blocks.
  size_t reserved_bytes;  // Taken from the system.
  size_t locked_bytes;    // Of those, mlock()ed.
};
SecretMemoryStats GetSecretMemoryStats();

// True if free(), realloc() and operator delete wipe what they free, in this executable and in its
// shared libraries (crypto/wiping_free.cc). False in sanitizer builds, whose allocator takes that
// place.
bool HeapWipesOnFree();

// Hardens the calling process, once, first thing in main(), before OpenSSL allocates: as much
// memory as is allowed may be locked, by this process and those it starts (RLIMIT_MEMLOCK), no core
// dump (RLIMIT_CORE 0, PR_SET_DUMPABLE 0, so no ptrace or /proc/<pid>/mem by equals either),
// OpenSSL's heap moved into the locked heap. Ordinary heap blocks are wiped on free by the
// replacement in crypto/wiping_free.cc, which this call links in.
void ProtectProcess();

}  // namespace secretfs::crypto
