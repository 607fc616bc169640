#include <gtest/gtest.h>
#include <malloc.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "crypto/secret_memory.h"

namespace secretfs::crypto {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

TEST(WipingFreeTest, IsOffWhereASanitizerOwnsTheHeap) {
  EXPECT_FALSE(HeapWipesOnFree());
}

#else

// glibc keeps its list links in the first bytes of a freed block.
constexpr size_t kLinkBytes = 16;

// Hides from the compiler that the memory behind `pointer` is about to be freed.
volatile const char* Spy(const void* pointer) {
  static volatile uintptr_t address;
  address = reinterpret_cast<uintptr_t>(pointer);
  return reinterpret_cast<volatile const char*>(address);
}

size_t CountInFreed(volatile const char* block, size_t size, char wanted) {
  size_t count = 0;
  for (size_t i = kLinkBytes; i < size; ++i) count += block[i] == wanted ? 1 : 0;
  return count;
}

TEST(WipingFreeTest, IsInPlace) {
  EXPECT_TRUE(HeapWipesOnFree());
}

TEST(WipingFreeTest, FreeWipes) {
  for (size_t size : {24, 100, 1000, 5000, 100'000}) {
    auto* block = static_cast<char*>(std::malloc(size));
    std::memset(block, 'S', size);
    volatile const char* spy = Spy(block);
    ASSERT_EQ(CountInFreed(spy, size, 'S'), size - kLinkBytes);
    std::free(block);
    EXPECT_EQ(CountInFreed(spy, size, 'S'), 0u) << size;
  }
}

TEST(WipingFreeTest, FreeWipesWhatStandsBeyondTheRequestedSize) {
  auto* block = static_cast<char*>(std::malloc(50));
  const size_t usable = malloc_usable_size(block);
  volatile const char* spy = Spy(block);
  for (size_t i = 0; i < usable; ++i) const_cast<volatile char*>(spy)[i] = 'S';
  std::free(block);
  EXPECT_EQ(CountInFreed(spy, usable, 'S'), 0u);
}

TEST(WipingFreeTest, DeleteWipes) {
  auto text = std::make_unique<std::string>(500, 'S');
  volatile const char* spy = Spy(text->data());
  ASSERT_EQ(CountInFreed(spy, 500, 'S'), 500 - kLinkBytes);
  text.reset();
  EXPECT_EQ(CountInFreed(spy, 500, 'S'), 0u);
}

TEST(WipingFreeTest, AFreeInsideASharedLibraryWipes) {
  FILE* file = std::fopen("/dev/null", "w");
  ASSERT_NE(file, nullptr);
  std::fputs(std::string(500, 'S').c_str(), file);
  volatile const char* spy = Spy(file->_IO_buf_base);
  ASSERT_EQ(CountInFreed(spy, 500, 'S'), 500 - kLinkBytes);
  std::fclose(file);
  EXPECT_EQ(CountInFreed(spy, 500, 'S'), 0u);
}

TEST(WipingFreeTest, ReallocKeepsTheContentAndWipesWhatItLeaves) {
  for (size_t new_size : {10'000, 40}) {
    auto* block = static_cast<char*>(std::malloc(500));
    std::memset(block, 'S', 500);
    volatile const char* spy = Spy(block);
    auto* moved = static_cast<char*>(std::realloc(block, new_size));
    ASSERT_NE(static_cast<const void*>(moved), const_cast<const char*>(spy));
    for (size_t i = 0; i < std::min<size_t>(new_size, 500); ++i) ASSERT_EQ(moved[i], 'S');
    EXPECT_EQ(CountInFreed(spy, 500, 'S'), 0u);
    std::free(moved);
  }
}

TEST(WipingFreeTest, ReallocStaysWhereTheBlockFits) {
  void* block = std::malloc(500);
  volatile const char* spy = Spy(block);
  void* same = std::realloc(block, 400);
  EXPECT_EQ(static_cast<const void*>(same), const_cast<const char*>(spy));
  std::free(same);
}

TEST(WipingFreeTest, ReallocOfNullAllocatesAndToZeroFrees) {
  void* block = std::realloc(nullptr, 100);
  ASSERT_NE(block, nullptr);
  std::memset(block, 'S', 100);
  volatile const char* spy = Spy(block);
  EXPECT_EQ(std::realloc(block, 0), nullptr);
  EXPECT_EQ(CountInFreed(spy, 100, 'S'), 0u);
}

TEST(WipingFreeTest, ReallocThatFailsKeepsTheBlock) {
  auto* block = static_cast<char*>(std::malloc(100));
  std::memset(block, 'S', 100);
  volatile const char* spy = Spy(block);
  volatile size_t too_much = SIZE_MAX / 2;
  errno = 0;
  EXPECT_EQ(std::realloc(block, too_much), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_EQ(CountInFreed(spy, 100, 'S'), 100 - kLinkBytes);
  std::free(const_cast<char*>(spy));
}

TEST(WipingFreeTest, ReallocarrayMultipliesWithoutOverflow) {
  volatile size_t count = SIZE_MAX / 4;
  errno = 0;
  EXPECT_EQ(reallocarray(nullptr, count, 8), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  void* block = reallocarray(nullptr, 10, 20);
  EXPECT_GE(malloc_usable_size(block), 200u);
  std::free(block);
}

TEST(WipingFreeTest, FreeKeepsErrno) {
  void* large = std::malloc(1 << 20);
  void* small = std::malloc(10);
  errno = 1234;
  std::free(large);
  std::free(small);
  std::free(nullptr);
  EXPECT_EQ(errno, 1234);
}

TEST(WipingFreeTest, AlignedBlocksAreFreedToo) {
  void* block = nullptr;
  ASSERT_EQ(posix_memalign(&block, 4096, 10'000), 0);
  std::memset(block, 'S', 10'000);
  std::free(block);
}

#endif

}  // namespace
}  // namespace secretfs::crypto
