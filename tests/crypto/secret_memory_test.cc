#include "crypto/secret_memory.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <openssl/crypto.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "crypto/aead.h"
#include "crypto/base/bytes.h"

namespace secretfs::crypto {
namespace {

// The sanitizers make mlock() do nothing.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMlockWorks = false;
#else
constexpr bool kMlockWorks = true;
#endif

struct Block {
  uint8_t* data;
  size_t size;
  uint8_t fill;
};

Block NewBlock(size_t size, uint8_t fill) {
  auto* data = static_cast<uint8_t*>(SecretAllocate(size));
  std::memset(data, fill, size);
  return {data, size, fill};
}

bool Intact(const Block& block) {
  return std::all_of(block.data, block.data + block.size,
                     [&](uint8_t byte) { return byte == block.fill; });
}

// The VmFlags of smaps (proc(5)) for the mapping that holds `address`.
std::string MappingFlags(const void* address) {
  std::ifstream smaps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long first = 0;
    unsigned long last = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &last) == 2) {
      inside = first <= wanted && wanted < last;
    } else if (inside && line.starts_with("VmFlags:")) {
      return line + " ";
    }
  }
  return "";
}

TEST(SecretMemoryTest, BlocksOfEverySizeAreAlignedAndApart) {
  std::vector<Block> blocks;
  for (size_t size = 0; size < 3000; size += size < 300 ? 1 : 37) {
    blocks.push_back(NewBlock(size, static_cast<uint8_t>(size)));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(blocks.back().data) % 16, 0u) << size;
  }
  for (const Block& block : blocks) EXPECT_TRUE(Intact(block)) << block.size;
  for (const Block& block : blocks) SecretFree(block.data);
}

TEST(SecretMemoryTest, FreeAcceptsNull) {
  SecretFree(nullptr);
}

TEST(SecretMemoryTest, FreedBlocksAreZeroed) {
  for (size_t size : {1, 16, 17, 100, 4096, 65'536, 300'000}) {
    const Block block = NewBlock(size, 0xaa);
    SecretFree(block.data);
    // The heap's links may stand in the first 16 bytes.
    for (size_t i = 0; i < size; ++i) ASSERT_TRUE(i < 16 || block.data[i] == 0) << size;
    for (size_t i = 0; i < std::min<size_t>(size, 16); ++i) ASSERT_NE(block.data[i], 0xaa);
  }
}

TEST(SecretMemoryTest, StatsCountLiveBlocks) {
  const SecretMemoryStats before = GetSecretMemoryStats();
  void* block = SecretAllocate(1000);
  const SecretMemoryStats during = GetSecretMemoryStats();
  EXPECT_GE(during.used_bytes, before.used_bytes + 1000);
  EXPECT_LE(during.used_bytes, before.used_bytes + 1100);
  EXPECT_GE(during.reserved_bytes, during.used_bytes);
  EXPECT_LE(during.locked_bytes, during.reserved_bytes);
  SecretFree(block);
  EXPECT_EQ(GetSecretMemoryStats().used_bytes, before.used_bytes);
}

// Keeps 60 blocks alive while it replaces them at random; returns the most bytes that lived at
// once.
size_t RunMixedLoad(int steps) {
  std::minstd_rand engine(1);
  const auto below = [&](size_t limit) { return engine() % limit; };
  const size_t limits[] = {64, 512, 4096, 66'000, 200'000};
  std::vector<Block> live;
  size_t live_bytes = 0;
  size_t live_bytes_max = 0;
  for (int step = 0; step < steps; ++step) {
    if (live.size() < 60) {
      live.push_back(NewBlock(1 + below(limits[below(5)]), static_cast<uint8_t>(step)));
      live_bytes += live.back().size;
      live_bytes_max = std::max(live_bytes_max, live_bytes);
      continue;
    }
    const size_t victim = below(live.size());
    EXPECT_TRUE(Intact(live[victim]));
    live_bytes -= live[victim].size;
    SecretFree(live[victim].data);
    live[victim] = live.back();
    live.pop_back();
  }
  for (const Block& block : live) SecretFree(block.data);
  return live_bytes_max;
}

TEST(SecretMemoryTest, SteadyLoadOfMixedSizesDoesNotGrow) {
  constexpr size_t kChunkBytes = 256 * 1024;
  const size_t reserved_before = GetSecretMemoryStats().reserved_bytes;
  const size_t live_bytes_max = RunMixedLoad(30'000);
  const size_t reserved = GetSecretMemoryStats().reserved_bytes;
  EXPECT_LE(reserved - reserved_before, live_bytes_max + live_bytes_max / 2);
  for (int round = 0; round < 3; ++round) RunMixedLoad(30'000);
  EXPECT_LE(GetSecretMemoryStats().reserved_bytes, reserved + kChunkBytes);
}

TEST(SecretMemoryTest, SmallFreedBlocksMergeIntoLargeOnes) {
  std::vector<Block> blocks;
  for (int i = 0; i < 4096; ++i) blocks.push_back(NewBlock(1000, 1));
  // Odd ones first, so that the even ones merge on both sides.
  for (size_t i = 1; i < blocks.size(); i += 2) SecretFree(blocks[i].data);
  for (size_t i = 0; i < blocks.size(); i += 2) SecretFree(blocks[i].data);
  const size_t reserved = GetSecretMemoryStats().reserved_bytes;
  SecretFree(SecretAllocate(3'000'000));
  EXPECT_EQ(GetSecretMemoryStats().reserved_bytes, reserved);
}

TEST(SecretMemoryTest, GrowsPastOneRegionAndReusesIt) {
  size_t reserved = 0;
  for (int round = 0; round < 2; ++round) {
    std::vector<Block> blocks;
    for (int i = 0; i < 70; ++i) blocks.push_back(NewBlock(1 << 20, static_cast<uint8_t>(i)));
    for (const Block& block : blocks) EXPECT_TRUE(Intact(block));
    for (const Block& block : blocks) SecretFree(block.data);
    if (round == 0) reserved = GetSecretMemoryStats().reserved_bytes;
  }
  EXPECT_EQ(GetSecretMemoryStats().reserved_bytes, reserved);
  const Block larger_than_a_region = NewBlock(size_t{70} << 20, 1);
  EXPECT_TRUE(Intact(larger_than_a_region));
  SecretFree(larger_than_a_region.data);
}

TEST(SecretMemoryTest, PagesAreLockedNotDumpedAndWipedOnFork) {
  const Block block = NewBlock(64, 0xaa);
  const std::string flags = MappingFlags(block.data);
  EXPECT_NE(flags.find(" dd "), std::string::npos) << flags;
  EXPECT_NE(flags.find(" wf "), std::string::npos) << flags;
  const SecretMemoryStats stats = GetSecretMemoryStats();
  if (kMlockWorks && stats.locked_bytes == stats.reserved_bytes) {
    EXPECT_NE(flags.find(" lo "), std::string::npos) << flags;
  }
  SecretFree(block.data);
}

TEST(SecretMemoryTest, AForkedChildSeesZerosAndMayFree) {
  const Block block = NewBlock(1000, 0xaa);
  const pid_t child = fork();
  if (child == 0) {
    const bool zero =
        std::all_of(block.data, block.data + block.size, [](uint8_t byte) { return byte == 0; });
    SecretFree(block.data);
    _exit(zero ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(Intact(block));
  SecretFree(block.data);
}

TEST(SecretMemoryTest, IsThreadSafe) {
  std::vector<std::jthread> threads;
  for (uint8_t thread = 1; thread <= 4; ++thread) {
    threads.emplace_back([thread] {
      std::minstd_rand engine(thread);
      std::vector<Block> live;
      for (int i = 0; i < 20'000; ++i) {
        if (live.size() < 20) {
          live.push_back(NewBlock(engine() % 2000, thread));
        } else {
          ASSERT_TRUE(Intact(live.back()));
          SecretFree(live.back().data);
          live.pop_back();
          std::ranges::shuffle(live, engine);
        }
      }
      for (const Block& block : live) SecretFree(block.data);
    });
  }
}

TEST(SecretMemoryDeathTest, FreeingABlockTwiceStopsTheProcess) {
  // In a process that was not forked after it took the block, which would read as zero.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        void* block = SecretAllocate(100);
        SecretFree(block);
        SecretFree(block);
      },
      "check failed");
}

// These need a process of their own: what ProtectProcess() does cannot be undone, and must come
// before OpenSSL's first allocation. The "threadsafe" style runs the binary anew for each.
class ProtectProcessDeathTest : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

// Leaves by exit(), which runs OpenSSL's clean-up; the leak checker cannot look into a process that
// is not dumpable.
[[noreturn]] void ExitChild(bool good) {
#if defined(__SANITIZE_ADDRESS__)
  _exit(good ? 0 : 1);
#else
  std::exit(good ? 0 : 1);
#endif
}

bool NoDumps() {
  rlimit core{1, 1};
  return prctl(PR_GET_DUMPABLE) == 0 && getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 &&
         core.rlim_max == 0;
}

// OPENSSL_malloc(3): realloc of null allocates, to 0 frees, and otherwise keeps the content.
bool OpensslHeapIsOurs() {
  const size_t before = GetSecretMemoryStats().used_bytes;
  char* block = static_cast<char*>(OPENSSL_malloc(1000));
  if (GetSecretMemoryStats().used_bytes < before + 1000) return false;
  std::strcpy(block, "content");
  block = static_cast<char*>(OPENSSL_realloc(block, 100'000));
  if (std::strcmp(block, "content") != 0) return false;
  block = static_cast<char*>(OPENSSL_realloc(block, 8));
  if (std::strcmp(block, "content") != 0) return false;
  if (OPENSSL_realloc(block, 0) != nullptr || OPENSSL_malloc(0) != nullptr) return false;
  OPENSSL_free(OPENSSL_realloc(nullptr, 10));
  OPENSSL_free(nullptr);
  return GetSecretMemoryStats().used_bytes == before;
}

bool EncryptionWorks() {
  SystemRandom random;
  const Aead aead(SecretBuffer(32));
  const Bytes sealed = aead.Seal(AsBytes("text"), {}, random);
  std::jthread([&] { (void)aead.Open(sealed, {}); }).join();
  return aead.Open(sealed, {}).has_value();
}

TEST_F(ProtectProcessDeathTest, ForbidsDumpsAndMovesTheHeapOfOpenssl) {
  EXPECT_EXIT(
      {
        ProtectProcess();
        ExitChild(NoDumps() && OpensslHeapIsOurs() && EncryptionWorks());
      },
      ::testing::ExitedWithCode(0), "");
}

TEST_F(ProtectProcessDeathTest, StopsTheProcessWhenCalledAfterOpenssl) {
  EXPECT_DEATH(
      {
        OPENSSL_free(OPENSSL_malloc(1));
        ProtectProcess();
      },
      "check failed");
}

bool DropLockingRights() {
  const rlimit none{0, 0};
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct nothing[2] = {};
  return setrlimit(RLIMIT_MEMLOCK, &none) == 0 && syscall(SYS_capset, &header, nothing) == 0;
}

TEST_F(ProtectProcessDeathTest, MemoryThatCannotBeLockedIsUsedAndCounted) {
  EXPECT_EXIT(
      {
        const bool dropped = DropLockingRights();
        const Block block = NewBlock(1000, 1);
        const SecretMemoryStats stats = GetSecretMemoryStats();
        const size_t expected = kMlockWorks ? 0 : stats.reserved_bytes;
        ExitChild(dropped && Intact(block) && stats.reserved_bytes > 0 &&
                  stats.locked_bytes == expected);
      },
      ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace secretfs::crypto
