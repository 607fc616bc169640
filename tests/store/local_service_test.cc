// The service and its audit trail: what is recorded, when, and what is known of it at the next
// start.

#include "store/local_service.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "store/table_key.h"
#include "tests/store/service_fixture.h"

namespace secretfs::testing {
// audit_trail_test.cc
extern std::atomic<int> g_failing_syncs;
extern std::atomic<bool> g_disk_is_full;
}  // namespace secretfs::testing

namespace secretfs::store {
namespace {

using testing::VersionId;

class LocalServiceTest : public SecretServiceTest {
 protected:
  std::vector<std::string> WrittenVersions() {
    std::vector<std::string> versions;
    for (const AuditEvent& event : Events()) {
      if (!IsReadOnly(event.action) && event.error_code.empty())
        versions.push_back(event.version_id);
    }
    return versions;
  }
  void RemoveLastSegment() {
    std::vector<std::string> paths;
    for (const auto& entry : std::filesystem::directory_iterator(store_.audit_directory())) {
      paths.push_back(entry.path());
    }
    std::filesystem::remove(*std::ranges::max_element(paths));
  }
  // Damages a record where it lies in the file; no service has the store open.
  void FlipStored(Table table, const Bytes& key) {
    Bytes sealed;
    {
      auto env = Env::Open(store_.path(), Env::Mode::kOpen).value();
      sealed = ReadTxn(*env).Get(table, key).value().value();
    }
    std::fstream file(store_.data_file(), std::ios::in | std::ios::out | std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), {});
    size_t offset = bytes.find(AsText(sealed));
    ASSERT_NE(offset, std::string::npos);
    for (; offset != std::string::npos; offset = bytes.find(AsText(sealed), offset + 1)) {
      file.seekp(static_cast<std::streamoff>(offset));
      file.put(static_cast<char>(bytes[offset] ^ 1));
    }
  }
};

TEST_F(LocalServiceTest, AMutationWhoseEventFoundNoRoomIsRecordedBeforeAnythingElse) {
  ASSERT_TRUE(Create("x", "v1", "one"));
  // As on a full disk: no new segment can be made.
  std::string away = store_.directory / "away";
  std::filesystem::rename(store_.audit_directory(), away);
  std::string got = "one";
  for (int i = 0; i < 10000 && got == "one"; ++i) got = Get("x");
  ASSERT_NE(got, "one");
  EXPECT_TRUE(Put("x", "v2", "two"));
  SelectorId number = service_->PeekSecret(*service_->PeekChild(kRootPath, "x").value())
                          .value()
                          ->FindVersionByLabel(kCurrent)
                          ->number;
  EXPECT_NE(Get("x"), "two");
  EXPECT_EQ(service_->ReadValue(store_.caller, number, {}).error().code, Code::kUnavailable);
  std::filesystem::rename(away, store_.audit_directory());
  EXPECT_EQ(Get("x"), "two");
  std::vector<AuditEvent> events = Events();  // Ends with its own reading, and the Get() above.
  EXPECT_EQ(events[events.size() - 3].action, Action::kPutSecretValue);
  ASSERT_TRUE(Put("x", "v3", "three"));
  service_->Upkeep();
  ASSERT_TRUE(Put("x", "v4", "four"));
  Reopen();
  EXPECT_EQ(WrittenVersions(), (std::vector<std::string>{VersionId("v1"), VersionId("v2"),
                                                         VersionId("v3"), VersionId("v4")}));
}

TEST_F(LocalServiceTest, AStoreOpensWhileItsTrailHasNoRoomAndRevealsNothing) {
  ASSERT_TRUE(Create("x", "v1", "one"));
  testing::g_disk_is_full = true;
  Reopen();
  EXPECT_NE(service_->GetHealth().audit_problem.find("No space left"), std::string::npos);
  EXPECT_NE(Get("x"), "one");
  EXPECT_TRUE(Put("x", "v2", "two"));
  // And once more, now with an event that could not be moved.
  Reopen();
  EXPECT_NE(Get("x"), "two");
  testing::g_disk_is_full = false;
  EXPECT_EQ(Get("x"), "two");
  EXPECT_EQ(service_->GetHealth().audit_problem, "");
  EXPECT_EQ(WrittenVersions(), (std::vector<std::string>{VersionId("v1"), VersionId("v2")}));
}

TEST_F(LocalServiceTest, AnOvertakenEventIsNotLost) {
  ASSERT_TRUE(Create("x", "v1", "one"));
  std::string away = store_.directory / "away";
  std::filesystem::rename(store_.audit_directory(), away);
  std::string got = "one";
  for (int i = 0; i < 10000 && got == "one"; ++i) got = Get("x");
  EXPECT_TRUE(Put("x", "v2", "two"));
  std::filesystem::rename(away, store_.audit_directory());
  // The next thing that happens is another mutation; then the process ends.
  EXPECT_TRUE(Put("x", "v3", "three"));
  Reopen();
  EXPECT_EQ(WrittenVersions(),
            (std::vector<std::string>{VersionId("v1"), VersionId("v2"), VersionId("v3")}));
}

TEST_F(LocalServiceTest, MutationsStandInTheTrailInTheOrderOfTheirCommits) {
  std::vector<std::thread> writers;
  for (int w = 0; w < 4; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < 25; ++i) {
        EXPECT_TRUE(Create("w" + std::to_string(w) + "x" + std::to_string(i), "v1", "value"));
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  std::vector<PathId> committed;
  auto changes = service_->ChangesSince(0, 1000).value();
  for (const Change& change : changes) committed.push_back(change.path);
  std::vector<PathId> recorded;
  for (const AuditEvent& event : Events()) {
    if (event.action == Action::kCreateSecret) recorded.push_back(PathOf(event.secret_id));
  }
  EXPECT_EQ(recorded, committed);
}

TEST_F(LocalServiceTest, MutationsOfAFailedSyncAreRecordedAgain) {
  ASSERT_TRUE(Create("x", "v1", "one"));
  service_->Upkeep();
  ASSERT_TRUE(Put("x", "v2", "two"));
  testing::g_failing_syncs = 1;
  service_->Upkeep();
  EXPECT_NE(Get("x"), "two");
  EXPECT_NE(service_->GetHealth().audit_problem, "");
  service_->Upkeep();
  EXPECT_EQ(Get("x"), "two");
  EXPECT_EQ(service_->GetHealth().audit_problem, "");
  ASSERT_TRUE(Put("x", "v3", "three"));
  EXPECT_EQ(WrittenVersions(), (std::vector<std::string>{VersionId("v1"), VersionId("v2"),
                                                         VersionId("v2"), VersionId("v3")}));
}

TEST_F(LocalServiceTest, ReadsAfterTheLastMutationCannotBeCutUnseen) {
  ASSERT_TRUE(Create("x", "v1", "one"));
  Reopen();
  Get("x");
  service_.reset();
  RemoveLastSegment();
  service_ = store_.Open();
  EXPECT_NE(service_->GetHealth().audit_problem.find("was cut"), std::string::npos);
  Reopen();
  EXPECT_EQ(service_->GetHealth().audit_problem, "");
  auto report =
      service_->ReadAudit(store_.caller, [](uint64_t, const AuditEvent&) { return true; }, "");
  EXPECT_NE(report->problem, "");
}

TEST_F(LocalServiceTest, UpkeepStoresTheAuditPositionOnceAMinute) {
  ASSERT_TRUE(Create("x", "v1", "one"));
  Reopen();
  Get("x");
  uint64_t txn = service_->GetHealth().last_txn;
  service_->Upkeep();
  EXPECT_EQ(service_->GetHealth().last_txn, txn);
  store_.clock.Advance(60'000);
  service_->Upkeep();
  EXPECT_EQ(service_->GetHealth().last_txn, txn + 1);
  Get("x");
  service_->Upkeep();
  store_.clock.Advance(59'999);
  service_->Upkeep();
  EXPECT_EQ(service_->GetHealth().last_txn, txn + 1);
  store_.clock.Advance(1);
  service_->Upkeep();
  EXPECT_EQ(service_->GetHealth().last_txn, txn + 2);
  store_.clock.Advance(60'000);
  service_->Upkeep();  // Nothing new.
  EXPECT_EQ(service_->GetHealth().last_txn, txn + 2);
  // As SIGKILL leaves it: what the clean end below adds is not in the copy.
  std::string copy = store_.directory / "copy";
  std::filesystem::copy(store_.path(), copy, std::filesystem::copy_options::recursive);
  service_.reset();
  std::filesystem::remove_all(store_.path());
  std::filesystem::rename(copy, store_.path());
  RemoveLastSegment();
  service_ = store_.Open();
  EXPECT_NE(service_->GetHealth().audit_problem.find("was cut"), std::string::npos);
}

TEST_F(LocalServiceTest, ADamagedRecordDoesNotStopThePurgingOfOthers) {
  for (const char* name : {"a", "b", "c", "d"}) {
    ASSERT_TRUE(Create(name, "v1", "one"));
    ASSERT_TRUE(Delete(name, false, 7));
    store_.clock.Advance(1);
  }
  PathId secret = PathOf("a");
  PathId index = PathOf("b");
  TimeMs index_at = *service_->DescribeSecret(store_.caller, "b", "").value()->deletion_at;
  service_.reset();
  FlipStored(Table::kSecrets, TableKey(secret));
  FlipStored(Table::kDeletions, TableKey(static_cast<uint64_t>(index_at), index));
  service_ = store_.Open();
  store_.clock.Advance(7 * kMsPerDay);
  EXPECT_EQ(service_->PurgeExpired().value_or(0), 2u);
  EXPECT_EQ(service_->PurgeExpired().value_or(9), 0u);
  EXPECT_EQ(service_->GetHealth().secrets, 2u);
}

}  // namespace
}  // namespace secretfs::store
