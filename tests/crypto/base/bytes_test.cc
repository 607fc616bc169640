#include "crypto/base/bytes.h"

#include <gtest/gtest.h>

namespace secretfs {
namespace {

TEST(HexTest, RoundTripsEveryByte) {
  Bytes all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<uint8_t>(i));
  EXPECT_EQ(FromHex(ToHex(all)), all);
}

TEST(HexTest, WritesLowerCaseAndReadsBoth) {
  EXPECT_EQ(ToHex(Bytes{0xab, 0x01}), "ab01");
  EXPECT_EQ(FromHex("AB01"), (Bytes{0xab, 0x01}));
  EXPECT_EQ(FromHex(""), Bytes{});
}

TEST(HexTest, RefusesOddLengthsAndOtherCharacters) {
  for (const char* text : {"a", "abc", "0g", " 00", "0x", "-1"}) {
    EXPECT_EQ(FromHex(text), std::nullopt) << text;
  }
}

TEST(ByteWriterTest, WritesBigEndian) {
  ByteWriter out;
  out.U8(0x01).U16(0x0203).U32(0x04050607).U64(0x08090a0b0c0d0e0f).Raw(Bytes{0xff}).Sized("ab");
  EXPECT_EQ(ToHex(out.bytes()), "0102030405060708090a0b0c0d0e0fff000000026162");
}

TEST(ByteWriterTest, ReserveDoesNotChangeWhatIsWritten) {
  ByteWriter out(1000);
  EXPECT_EQ(out.U16(7).Take(), (Bytes{0, 7}));
}

TEST(ByteWriterTest, SizedKeepsNeighboursApart) {
  ByteWriter left;
  left.Sized("a").Sized("bc");
  ByteWriter right;
  right.Sized("ab").Sized("c");
  EXPECT_NE(left.bytes(), right.bytes());
}

TEST(ByteReaderTest, ReadsBackWhatWasWritten) {
  ByteWriter out;
  out.U8(1).U16(2).U32(3).U64(4).Raw(Bytes{5, 6}).Sized("text").Sized("");
  ByteReader in(out.bytes());
  EXPECT_EQ(in.U8(), 1);
  EXPECT_EQ(in.U16(), 2);
  EXPECT_EQ(in.U32(), 3u);
  EXPECT_EQ(in.U64(), 4u);
  EXPECT_EQ(ToHex(in.Raw(2)), "0506");
  EXPECT_EQ(in.SizedText(), "text");
  EXPECT_FALSE(in.Complete());
  EXPECT_EQ(in.SizedText(), "");
  EXPECT_TRUE(in.Complete());
}

TEST(ByteReaderTest, FailsForGoodAtTheFirstReadPastTheEnd) {
  const Bytes bytes{1, 2, 3};
  ByteReader in(bytes);
  EXPECT_EQ(in.U32(), 0u);
  EXPECT_TRUE(in.failed());
  EXPECT_EQ(in.U8(), 0);
  EXPECT_TRUE(in.Raw(0).empty());
  EXPECT_FALSE(in.Complete());
}

TEST(ByteReaderTest, RefusesASizeBeyondTheEnd) {
  const Bytes bytes{0xff, 0xff, 0xff, 0xff, 'a'};
  ByteReader in(bytes);
  EXPECT_TRUE(in.Sized().empty());
  EXPECT_TRUE(in.failed());
}

TEST(ByteReaderTest, IsNotCompleteWithBytesLeftOver) {
  const Bytes bytes{1, 2};
  ByteReader in(bytes);
  in.U8();
  EXPECT_EQ(in.remaining(), 1u);
  EXPECT_FALSE(in.Complete());
}

}  // namespace
}  // namespace secretfs
