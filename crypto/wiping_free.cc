// Replaces free(), realloc() and reallocarray() for the whole process, so that no heap block keeps
// its bytes after it is freed: the copies that libraries make of a secret (LMDB, JSON, HTTP,
// libstdc++) die with their block. A definition in the executable wins over glibc's in every shared
// library (glibc manual, "Replacing malloc"); allocation stays glibc's.

#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <cerrno>
#include <cstdint>

#include "crypto/secret_memory.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) || \
    __has_feature(thread_sanitizer)
#define SECRETFS_SANITIZER_OWNS_HEAP 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SECRETFS_SANITIZER_OWNS_HEAP 1
#endif

#if defined(SECRETFS_SANITIZER_OWNS_HEAP)

namespace secretfs::crypto {

bool HeapWipesOnFree() {
  return false;
}

}  // namespace secretfs::crypto

#else

extern "C" {

void* __libc_malloc(size_t size_bytes) noexcept;
void __libc_free(void* block) noexcept;

void free(void* block) noexcept {
  if (block == nullptr) return;
  // Neither call sets errno, which free() must keep (POSIX.1-2024).
  explicit_bzero(block, malloc_usable_size(block));
  __libc_free(block);
}

void* realloc(void* block, size_t size_bytes) noexcept {
  if (block == nullptr) return __libc_malloc(size_bytes);
  if (size_bytes == 0) {
    free(block);
    return nullptr;
  }
  // glibc's realloc() would free what it leaves without wiping it. A block that fits and is not
  // mostly waste stays.
  const size_t old_bytes = malloc_usable_size(block);
  if (size_bytes <= old_bytes && size_bytes >= old_bytes / 2) return block;
  void* moved = __libc_malloc(size_bytes);
  if (moved == nullptr) return nullptr;
  memcpy(moved, block, size_bytes < old_bytes ? size_bytes : old_bytes);
  free(block);
  return moved;
}

void* reallocarray(void* block, size_t count, size_t size_bytes) noexcept {
  size_t total_bytes;
  if (__builtin_mul_overflow(count, size_bytes, &total_bytes)) {
    errno = ENOMEM;
    return nullptr;
  }
  return realloc(block, total_bytes);
}

}  // extern "C"

namespace secretfs::crypto {

bool HeapWipesOnFree() {
  // What a shared library that calls free() gets: ours, unless the link did not export it.
  return dlsym(RTLD_DEFAULT, "free") == reinterpret_cast<void*>(&::free);
}

}  // namespace secretfs::crypto

#endif
