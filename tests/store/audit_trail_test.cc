#include "store/audit_trail.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/support/temp_directory.h"

// fdatasync() of this program, which fails once for each count of g_failing_syncs.
namespace secretfs::testing {
std::atomic<int> g_failing_syncs = 0;
}  // namespace secretfs::testing
extern "C" int fdatasync(int fd) {
  if (secretfs::testing::g_failing_syncs > 0) {
    --secretfs::testing::g_failing_syncs;
    errno = EIO;
    return -1;
  }
  return static_cast<int>(syscall(SYS_fdatasync, fd));
}

// fallocate() of this program, for which the disk may be full.
namespace secretfs::testing {
std::atomic<bool> g_disk_is_full = false;
}  // namespace secretfs::testing
extern "C" int fallocate(int fd, int mode, off_t offset, off_t size) {
  if (secretfs::testing::g_disk_is_full) {
    errno = ENOSPC;
    return -1;
  }
  return static_cast<int>(syscall(SYS_fallocate, fd, mode, offset, size));
}

namespace secretfs::store {
namespace {

using testing::g_disk_is_full;
using testing::g_failing_syncs;
using Names = std::vector<std::string>;

class AuditTrailTest : public ::testing::Test {
 protected:
  std::unique_ptr<AuditTrail> Open(const AuditHead& checkpoint = {}) {
    auto trail =
        AuditTrail::Open({directory_ / "audit", segment_bytes_},
                         crypto::SecretBuffer::CopyOf(Bytes(32, 5)), checkpoint, 1, random_);
    EXPECT_TRUE(trail) << trail.error().message;
    return std::move(*trail);
  }
  static AuditEvent Event(const std::string& id) {
    AuditEvent event;
    event.secret_id = id;
    event.principal_arn = "arn:aws:iam::000000000000:user/app";
    return event;
  }
  static std::vector<std::string> Ids(const AuditTrail& trail, std::string* problem = nullptr) {
    std::vector<std::string> ids;
    auto report = trail.Read([&](uint64_t, const AuditEvent& event) {
      ids.push_back(event.secret_id);
      return true;
    });
    EXPECT_TRUE(report);
    if (problem != nullptr) {
      *problem = report->problem;
    } else {
      EXPECT_EQ(report->problem, "");
    }
    return ids;
  }
  std::vector<std::string> Segments() const {
    std::vector<std::string> paths;
    for (const auto& entry : std::filesystem::directory_iterator(directory_ / "audit")) {
      paths.push_back(entry.path());
    }
    std::ranges::sort(paths);
    return paths;
  }
  static void FlipByte(const std::string& path, size_t offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    char byte = 0;
    file.get(byte);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(byte ^ 0x10));
  }

  testing::TempDirectory directory_;
  crypto::SystemRandom random_;
  size_t segment_bytes_ = 64 << 10;
};

TEST_F(AuditTrailTest, EventsComeBackInOrderAcrossRestartsAndSegments) {
  Names expected;
  segment_bytes_ = 4096;
  for (int run = 0; run < 3; ++run) {
    auto trail = Open();
    for (int i = 0; i < 50; ++i) {
      expected.push_back(std::to_string(run) + "/" + std::to_string(i));
      ASSERT_TRUE(trail->Append(Event(expected.back()), 0));
    }
    EXPECT_EQ(Ids(*trail), expected);
  }
  EXPECT_GT(Segments().size(), 3u);
}

TEST_F(AuditTrailTest, AnUncleanEndLosesNothingThatWasAppended) {
  auto trail = Open();
  ASSERT_TRUE(trail->Append(Event("a"), 1));
  ASSERT_TRUE(trail->Append(Event("b"), 2));
  // As after SIGKILL: no destructor runs. Kept where a leak checker finds it.
  static AuditTrail* killed = nullptr;
  killed = trail.release();
  ASSERT_NE(killed, nullptr);
  // What is found counts as on the disk, so it is put there first.
  g_failing_syncs = 1;
  auto refused = AuditTrail::Open({directory_ / "audit", segment_bytes_},
                                  crypto::SecretBuffer::CopyOf(Bytes(32, 5)), {}, 1, random_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnavailable);
  auto next = Open();
  EXPECT_EQ(next->appended().head.sequence, 2u);
  EXPECT_EQ(next->appended().outbox, 2u);
  ASSERT_TRUE(next->Append(Event("c"), 0));
  EXPECT_EQ(Ids(*next), (Names{"a", "b", "c"}));
}

TEST_F(AuditTrailTest, AnyFlippedByteOfAnEventIsFound) {
  AuditHead head;
  {
    auto trail = Open();
    for (const char* id : {"a", "b", "c"}) ASSERT_TRUE(trail->Append(Event(id), 0));
    head = trail->appended().head;
  }
  std::string path = Segments().front();
  size_t size = std::filesystem::file_size(path);
  for (size_t offset = 0; offset < size; offset += 3) {
    FlipByte(path, offset);
    auto trail = Open(head);
    std::string problem;
    Ids(*trail, &problem);
    // A record's padding is outside the chain, so a flip there may change nothing.
    bool intact = trail->appended().head.sequence == 3 &&
                  trail->appended().head.hash == head.hash &&
                  Ids(*trail, &problem) == Names{"a", "b", "c"};
    EXPECT_TRUE(intact || !problem.empty()) << offset;
    trail.reset();
    auto made = Segments();
    for (size_t i = 1; i < made.size(); ++i) std::filesystem::remove(made[i]);
    ASSERT_EQ(std::filesystem::file_size(path), size) << "evidence was removed at " << offset;
    FlipByte(path, offset);
  }
}

// Where event n (from 1) begins in a segment, n = the number of events + 1: where the last one
// ends.
size_t OffsetOf(const std::string& path, int n) {
  std::ifstream file(path, std::ios::binary);
  size_t offset = 80;
  for (int i = 1; i < n; ++i) {
    file.seekg(static_cast<std::streamoff>(offset));
    Bytes size(4);
    file.read(reinterpret_cast<char*>(size.data()), 4);
    offset += (4 + ByteReader(size).U32() + 3) / 4 * 4;
  }
  return offset;
}
void Overwrite(const std::string& path, size_t offset, const Bytes& bytes) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(offset));
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

TEST_F(AuditTrailTest, DamageInTheLastSegmentIsReportedForEver) {
  AuditHead head;
  {
    auto trail = Open();
    for (const char* id : {"a", "b", "c", "d"}) ASSERT_TRUE(trail->Append(Event(id), 0));
    head = trail->appended().head;
  }
  FlipByte(Segments().front(), OffsetOf(Segments().front(), 3) + 20);
  {
    // No checkpoint says how far the trail went: what lies in the file does.
    auto trail = Open();
    EXPECT_NE(trail->problem().find("after event 2"), std::string::npos) << trail->problem();
    ASSERT_TRUE(trail->Append(Event("after"), 0));
  }
  for (int run = 0; run < 2; ++run) {
    auto trail = Open();
    EXPECT_EQ(trail->problem(), "");
    std::string problem;
    EXPECT_EQ(Ids(*trail, &problem), (Names{"a", "b", "from event 3", "after"}));
    EXPECT_NE(problem.find("after event 2"), std::string::npos) << problem;
  }
}

TEST_F(AuditTrailTest, AnAppendThatAKillInterruptedIsNoDamageButIsNoted) {
  {
    auto trail = Open();
    for (const char* id : {"a", "b"}) ASSERT_TRUE(trail->Append(Event(id), 0));
  }
  std::string path = Segments().front();
  size_t end = std::filesystem::file_size(path);
  std::filesystem::resize_file(path, segment_bytes_);
  Overwrite(path, end + 4, Bytes(100, 0xaa));
  for (int run = 0; run < 2; ++run) {
    auto trail = Open();
    EXPECT_EQ(trail->problem(), "");
    EXPECT_EQ(Ids(*trail), (Names{"a", "b", "from event 3"}));
  }
  EXPECT_EQ(std::filesystem::file_size(path), segment_bytes_) << "the bytes are evidence";
}

TEST_F(AuditTrailTest, AnErasedLengthDoesNotHideTheEventsBehindIt) {
  {
    auto trail = Open();
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(trail->Append(Event("x"), 0));
  }
  Overwrite(Segments().front(), OffsetOf(Segments().front(), 2), Bytes(4, 0));
  for (int run = 0; run < 2; ++run) {
    auto trail = Open();
    EXPECT_EQ(trail->problem().empty(), run == 1);
    std::string problem;
    Ids(*trail, &problem);
    EXPECT_NE(problem.find("after event 1"), std::string::npos) << problem;
  }
}

TEST_F(AuditTrailTest, ADamagedHeaderDoesNotHideASegment) {
  for (int run = 0; run < 2; ++run) {
    auto trail = Open();
    for (const char* id : {"a", "b"}) ASSERT_TRUE(trail->Append(Event(id), 0));
  }
  for (size_t offset : {size_t{3}, size_t{20}, size_t{35}, size_t{50}}) {
    FlipByte(Segments()[1], offset);
    auto trail = Open();
    EXPECT_NE(trail->problem(), "") << offset;
    EXPECT_LT(trail->appended().head.sequence, 100u);
    std::string problem;
    Ids(*trail, &problem);
    EXPECT_NE(problem, "") << offset;
    trail.reset();
    std::filesystem::remove(Segments().back());
    FlipByte(Segments()[1], offset);
  }
}

TEST_F(AuditTrailTest, ACutIsStillReportedAfterTheNextStart) {
  AuditHead head;
  {
    auto trail = Open();
    for (const char* id : {"a", "b", "c"}) ASSERT_TRUE(trail->Append(Event(id), 0));
    head = trail->appended().head;
  }
  std::filesystem::resize_file(Segments().front(), OffsetOf(Segments().front(), 2));
  {
    auto trail = Open(head);
    EXPECT_NE(trail->problem().find("was cut"), std::string::npos);
    ASSERT_TRUE(trail->Append(Event("after"), 0));
    head = trail->appended().head;
  }
  auto trail = Open(head);
  EXPECT_EQ(trail->problem(), "");
  std::string problem;
  EXPECT_EQ(Ids(*trail, &problem), (Names{"a", "from event 2 to event 3", "after"}));
  EXPECT_NE(problem.find("only up to event 1"), std::string::npos) << problem;
  AuditEvent gap;
  ASSERT_TRUE(trail->Read([&](uint64_t sequence, const AuditEvent& event) {
    if (sequence == 4) gap = event;
    return true;
  }));
  EXPECT_EQ(gap.action, Action::kRecordAuditGap);
  EXPECT_EQ(gap.error_code, "AuditTrailGap");
  EXPECT_NE(gap.error_message.find("was cut"), std::string::npos);
}

TEST_F(AuditTrailTest, ACutTrailIsReported) {
  segment_bytes_ = 4096;
  AuditHead head;
  {
    auto trail = Open();
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(trail->Append(Event("x"), 0));
    ASSERT_TRUE(trail->Sync());
    head = trail->durable().head;
    EXPECT_EQ(head.sequence, 100u);
  }
  std::filesystem::remove(Segments().back());
  auto trail = Open(head);
  EXPECT_NE(trail->problem().find("was cut"), std::string::npos);
  std::string problem;
  Ids(*trail, &problem);
  EXPECT_NE(problem, "");
  // Later events still have their numbers to themselves.
  ASSERT_TRUE(trail->Append(Event("after"), 0));
  EXPECT_EQ(trail->appended().head.sequence, 102u);  // 101 tells of the gap.
}

TEST_F(AuditTrailTest, AMissingMiddleSegmentIsReported) {
  segment_bytes_ = 4096;
  {
    auto trail = Open();
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(trail->Append(Event("x"), 0));
  }
  auto segments = Segments();
  ASSERT_GT(segments.size(), 3u);
  std::filesystem::remove(segments[1]);
  auto trail = Open();
  std::string problem;
  Ids(*trail, &problem);
  EXPECT_NE(problem.find("continues after event"), std::string::npos);
}

TEST_F(AuditTrailTest, NamesAreNotOnTheDiskInClear) {
  {
    auto trail = Open();
    ASSERT_TRUE(trail->Append(Event("prod/very-secret-name"), 0));
  }
  std::ifstream file(Segments().front(), std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  EXPECT_EQ(bytes.find("very-secret-name"), std::string::npos);
  EXPECT_EQ(bytes.find("user/app"), std::string::npos);
}

TEST_F(AuditTrailTest, ConcurrentAppendsAllArriveAndReadingGoesOnMeanwhile) {
  segment_bytes_ = 16 << 10;
  auto trail = Open();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) EXPECT_TRUE(trail->Append(Event("x"), 0));
    });
  }
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(trail->Sync());
    EXPECT_EQ(trail->Read([](uint64_t, const AuditEvent&) { return true; })->problem, "");
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Ids(*trail).size(), 2000u);
}

TEST_F(AuditTrailTest, WhenNoSegmentCanBeMadeAppendFailsAndRecovers) {
  segment_bytes_ = 4096;
  auto trail = Open();
  std::filesystem::rename(directory_ / "audit", directory_ / "away");
  Status status;
  for (int i = 0; i < 100 && status; ++i) status = trail->Append(Event("x"), 0);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kUnavailable);
  EXPECT_NE(trail->problem().find("nothing is revealed"), std::string::npos);
  std::filesystem::rename(directory_ / "away", directory_ / "audit");
  EXPECT_TRUE(trail->Append(Event("x"), 0));
  EXPECT_EQ(trail->problem(), "");
  Ids(*trail);
}

TEST_F(AuditTrailTest, ATrailThatIsOpenedOnAFullDiskGoesOnWhenThereIsRoom) {
  ASSERT_TRUE(Open()->Append(Event("a"), 0));
  g_disk_is_full = true;
  auto trail = Open({});
  EXPECT_NE(trail->problem().find("No space left"), std::string::npos) << trail->problem();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(trail->Append(Event("b"), 0).error().code, Code::kUnavailable);
    EXPECT_TRUE(trail->Sync());
  }
  EXPECT_EQ(Ids(*trail), Names{"a"});
  EXPECT_EQ(Segments().size(), 1u);
  g_disk_is_full = false;
  EXPECT_TRUE(trail->Append(Event("c"), 0));
  EXPECT_EQ(trail->problem(), "");
  EXPECT_EQ(Ids(*trail), (Names{"a", "c"}));
  trail.reset();
  EXPECT_EQ(Ids(*Open()), (Names{"a", "c"}));
}

TEST_F(AuditTrailTest, WhatAFullDiskKeptFromBeingReportedIsReportedFirst) {
  AuditHead head;
  {
    auto trail = Open();
    ASSERT_TRUE(trail->Append(Event("a"), 0));
    head = trail->appended().head;
  }
  std::filesystem::remove(Segments().back());
  g_disk_is_full = true;
  auto trail = Open(head);
  EXPECT_EQ(trail->Append(Event("b"), 0).error().code, Code::kUnavailable);
  g_disk_is_full = false;
  EXPECT_TRUE(trail->Append(Event("c"), 0));
  std::string problem;
  EXPECT_EQ(Ids(*trail, &problem), (Names{"from event 1 to event 1", "c"}));
  EXPECT_NE(problem.find("cut"), std::string::npos) << problem;
  EXPECT_NE(trail->problem().find("cut"), std::string::npos);
}

TEST_F(AuditTrailTest, AFailedSyncIsNotForgottenByTheNextOne) {
  auto trail = Open();
  ASSERT_TRUE(trail->Append(Event("safe"), 1));
  ASSERT_TRUE(trail->Sync());
  AuditHead safe = trail->durable().head;
  ASSERT_TRUE(trail->Append(Event("put"), 2));
  ASSERT_TRUE(trail->Append(Event("read"), 0));
  ASSERT_TRUE(trail->Append(Event("put again"), 3));
  g_failing_syncs = 1;
  EXPECT_FALSE(trail->Sync());
  EXPECT_EQ(trail->durable().head, safe);
  EXPECT_NE(trail->problem(), "");
  // Nothing is revealed before the disk took what it refused.
  EXPECT_EQ(trail->Append(Event("read"), 0).error().code, Code::kUnavailable);
  ASSERT_TRUE(trail->Sync());
  EXPECT_EQ(trail->durable().outbox, 1u) << "the outbox must keep 2 and 3";
  EXPECT_EQ(trail->appended().outbox, 1u);
  // And before the mutations are there again, all of them, in their order.
  EXPECT_FALSE(trail->Append(Event("read"), 0));
  EXPECT_FALSE(trail->Append(Event("put again"), 3));
  ASSERT_TRUE(trail->Append(Event("put"), 2));
  EXPECT_FALSE(trail->Append(Event("read"), 0));
  EXPECT_NE(trail->problem(), "");
  ASSERT_TRUE(trail->Append(Event("put again"), 3));
  EXPECT_EQ(trail->problem(), "");
  ASSERT_TRUE(trail->Append(Event("later"), 0));
  ASSERT_TRUE(trail->Sync());
  EXPECT_EQ(trail->durable().outbox, 3u);
  EXPECT_EQ(Segments().size(), 2u);
  EXPECT_EQ(Ids(*trail), (Names{"safe", "put", "read", "put again", "put", "put again", "later"}));
}

TEST_F(AuditTrailTest, ASecondFailureRepeatsWhatWasRepeatedBefore) {
  auto trail = Open();
  ASSERT_TRUE(trail->Append(Event("a"), 1));
  ASSERT_TRUE(trail->Append(Event("b"), 2));
  g_failing_syncs = 1;
  EXPECT_FALSE(trail->Sync());
  ASSERT_TRUE(trail->Sync());
  ASSERT_TRUE(trail->Append(Event("a"), 1));
  g_failing_syncs = 1;
  EXPECT_FALSE(trail->Sync());
  ASSERT_TRUE(trail->Sync());
  EXPECT_EQ(trail->durable().outbox, 0u);
  EXPECT_FALSE(trail->Append(Event("b"), 2));
  ASSERT_TRUE(trail->Append(Event("a"), 1));
  ASSERT_TRUE(trail->Append(Event("b"), 2));
  ASSERT_TRUE(trail->Sync());
  EXPECT_EQ(trail->durable().outbox, 2u);
}

TEST_F(AuditTrailTest, AnEventThatDoesNotFitASegmentIsRefused) {
  segment_bytes_ = 2048;
  auto trail = Open();
  AuditEvent large = Event(std::string(1000, 'x'));
  large.error_message = std::string(1000, 'y');
  Status status = trail->Append(large, 0);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kInvalidArgument);
  EXPECT_TRUE(trail->Append(Event("small"), 0));
  EXPECT_EQ(Ids(*trail), (std::vector<std::string>{"small"}));
}

TEST_F(AuditTrailTest, LongTextsAreCutAtACharacterAndMarked) {
  segment_bytes_ = 16 << 10;
  auto trail = Open();
  std::string fits(kAuditTextBytesMax, 'x');
  // The mark leaves 1021 bytes, which end inside of a three-byte character.
  std::string euros = "12";
  while (euros.size() < 100000) euros += "\xe2\x82\xac";
  ASSERT_TRUE(trail->Append(Event(fits), 0));
  ASSERT_TRUE(trail->Append(Event(euros), 0));
  AuditEvent all;
  for (std::string* text :
       {&all.principal_arn, &all.request_id, &all.secret_id, &all.resource_arn, &all.version_id,
        &all.version_stage, &all.error_code, &all.error_message}) {
    *text = std::string(100000, 'y');
  }
  ASSERT_TRUE(trail->Append(all, 0));
  EXPECT_LE(EncodeAuditEvent(ViewOf(all)).size(), kAuditEventBytesMax);
  std::vector<std::string> ids = Ids(*trail);
  ASSERT_EQ(ids.size(), 3u);
  EXPECT_EQ(ids[0], fits);
  EXPECT_EQ(ids[1].substr(ids[1].size() - 6), "\xe2\x82\xac...");
  EXPECT_TRUE(euros.starts_with(ids[1].substr(0, ids[1].size() - 3)));
  EXPECT_EQ(ids[2], std::string(kAuditTextBytesMax - 3, 'y') + "...");
}

}  // namespace
}  // namespace secretfs::store
