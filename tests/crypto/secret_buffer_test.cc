#include "crypto/secret_buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <concepts>
#include <ostream>
#include <string>
#include <type_traits>

#include "crypto/secret_memory.h"

namespace secretfs::crypto {
namespace {

static_assert(!std::is_copy_constructible_v<SecretBuffer>);
static_assert(!std::is_copy_assignable_v<SecretBuffer>);
static_assert(std::is_nothrow_move_constructible_v<SecretBuffer>);
static_assert(std::is_nothrow_move_assignable_v<SecretBuffer>);
static_assert(!std::is_convertible_v<SecretBuffer, std::string>);
static_assert(!std::is_convertible_v<SecretBuffer, ByteSpan>);
static_assert(!std::is_convertible_v<size_t, SecretBuffer>);
template <typename T>
concept Printable = requires(std::ostream& out, const T& value) { out << value; };
static_assert(!Printable<SecretBuffer>);

SecretBuffer Secret(std::string_view text) {
  return SecretBuffer::CopyOf(AsBytes(text));
}

TEST(SecretBufferTest, StartsEmpty) {
  const SecretBuffer buffer;
  EXPECT_TRUE(buffer.empty());
  EXPECT_TRUE(buffer.Reveal().empty());
  EXPECT_TRUE(SecretBuffer(0).empty());
}

TEST(SecretBufferTest, IsZeroFilledEvenWhenItsMemoryWasUsedBefore) {
  for (int round = 0; round < 3; ++round) {
    SecretBuffer buffer(100);
    EXPECT_TRUE(std::ranges::all_of(buffer.Reveal(), [](uint8_t byte) { return byte == 0; }));
    std::ranges::fill(buffer.Writable(), 0xaa);
  }
}

TEST(SecretBufferTest, UnfilledHasItsSizeAndTakesBytes) {
  EXPECT_TRUE(SecretBuffer::Unfilled(0).empty());
  SecretBuffer buffer = SecretBuffer::Unfilled(100);
  ASSERT_EQ(buffer.size(), 100u);
  std::ranges::fill(buffer.Writable(), 0xaa);
  EXPECT_TRUE(std::ranges::all_of(buffer.Reveal(), [](uint8_t byte) { return byte == 0xaa; }));
  buffer.Append(AsBytes("more"));
  EXPECT_EQ(AsText(buffer.Reveal().subspan(100)), "more");
}

TEST(SecretBufferTest, MoveLeavesTheSourceEmpty) {
  SecretBuffer first = Secret("password");
  SecretBuffer second = std::move(first);
  EXPECT_TRUE(first.empty());  // NOLINT(bugprone-use-after-move): what is tested.
  EXPECT_EQ(AsText(second.Reveal()), "password");
  SecretBuffer third = Secret("old");
  third = std::move(second);
  EXPECT_EQ(AsText(third.Reveal()), "password");
  EXPECT_TRUE(second.empty());  // NOLINT(bugprone-use-after-move)
}

TEST(SecretBufferTest, SelfMoveKeepsTheContent) {
  SecretBuffer buffer = Secret("password");
  SecretBuffer& alias = buffer;
  buffer = std::move(alias);
  EXPECT_EQ(AsText(buffer.Reveal()), "password");
}

TEST(SecretBufferTest, AppendGrowsAndKeepsTheContent) {
  SecretBuffer buffer;
  std::string expected;
  for (int i = 0; i < 500; ++i) {
    const std::string piece(static_cast<size_t>(i % 7), static_cast<char>('a' + i % 26));
    buffer.Append(AsBytes(piece));
    expected += piece;
  }
  EXPECT_EQ(AsText(buffer.Reveal()), expected);
}

TEST(SecretBufferTest, AppendOfItsOwnBytesIsSafe) {
  SecretBuffer buffer = Secret("ab");
  for (int i = 0; i < 4; ++i) buffer.Append(buffer.Reveal());
  EXPECT_EQ(AsText(buffer.Reveal()), "abababababababababababababababab");
}

TEST(SecretBufferTest, TruncateWipesWhatItDrops) {
  SecretBuffer buffer = Secret("password");
  const uint8_t* data = buffer.Reveal().data();
  buffer.Truncate(4);
  EXPECT_EQ(AsText(buffer.Reveal()), "pass");
  EXPECT_EQ(ToHex({data, 8}), "7061737300000000");
}

TEST(SecretBufferDeathTest, TruncateDoesNotGrow) {
  SecretBuffer buffer = Secret("ab");
  EXPECT_DEATH(buffer.Truncate(3), "check failed");
}

TEST(SecretBufferTest, EqualsComparesLengthAndContent) {
  EXPECT_TRUE(Secret("abc").Equals(Secret("abc")));
  EXPECT_FALSE(Secret("abc").Equals(Secret("abd")));
  EXPECT_FALSE(Secret("abc").Equals(Secret("ab")));
  EXPECT_TRUE(SecretBuffer().Equals(SecretBuffer()));
}

// Reads freed memory on purpose: the locked heap is never unmapped.
TEST(SecretBufferTest, DestructionAndGrowthWipe) {
  const uint8_t* first = nullptr;
  const uint8_t* second = nullptr;
  {
    SecretBuffer buffer = Secret("0123456789abcdef0123456789abcdef");
    first = buffer.Reveal().data();
    buffer.Append(AsBytes("more"));
    second = buffer.Reveal().data();
    ASSERT_NE(first, second);
    // The first 16 bytes of a free block hold the heap's links.
    EXPECT_EQ(ToHex({first + 16, 16}), std::string(32, '0'));
  }
  EXPECT_EQ(ToHex({second + 16, 20}), std::string(40, '0'));
}

}  // namespace
}  // namespace secretfs::crypto
