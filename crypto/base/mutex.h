#pragma once

#include <mutex>

// Clang's thread-safety analysis (https://clang.llvm.org/docs/ThreadSafetyAnalysis.html); nothing
// under other compilers.
#if defined(__clang__)
#define SECRETFS_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define SECRETFS_THREAD_ANNOTATION(x)
#endif

#define CAPABILITY(x) SECRETFS_THREAD_ANNOTATION(capability(x))
#define SCOPED_CAPABILITY SECRETFS_THREAD_ANNOTATION(scoped_lockable)
#define GUARDED_BY(x) SECRETFS_THREAD_ANNOTATION(guarded_by(x))
#define REQUIRES(...) SECRETFS_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) SECRETFS_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) SECRETFS_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define RELEASE(...) SECRETFS_THREAD_ANNOTATION(release_capability(__VA_ARGS__))

namespace secretfs {

// std::mutex, annotated. Satisfies BasicLockable, so std::condition_variable_any waits on it.
class CAPABILITY("mutex") Mutex {
 public:
  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace secretfs
