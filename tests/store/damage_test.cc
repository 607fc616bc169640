#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "store/lmdb_env.h"
#include "tests/support/temp_store.h"

// A fault inside LMDB leaves behind what that call had allocated: the price of coming back at all.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:liblmdb";
}

namespace secretfs::store {
namespace {

using testing::TempStore;
using testing::Text;
using testing::TextValue;
using testing::VersionId;

// A small store of known contents whose file is then damaged byte by byte.
class DamageTest : public ::testing::Test {
 protected:
  DamageTest() {
    auto service = store_.Open();
    for (int i = 0; i < 12; ++i) {
      std::string name = "prod/secret" + std::to_string(i);
      CreateRequest create;
      create.name = name;
      create.client_request_token = VersionId("v1");
      create.value = TextValue("old value of " + name);
      EXPECT_TRUE(service->CreateSecret(store_.caller, std::move(create)));
      PutRequest put;
      put.secret_id = name;
      put.client_request_token = VersionId("v2");
      // Some values lie in overflow pages of their own.
      expected_[name] = "new value of " + name + std::string(i % 3 * 4000, '.');
      put.value = TextValue(expected_[name]);
      EXPECT_TRUE(service->PutSecretValue(store_.caller, std::move(put)));
    }
    service.reset();
    std::ifstream file(store_.data_file(), std::ios::binary);
    original_.assign(std::istreambuf_iterator<char>(file), {});
    std::filesystem::copy(store_.audit_directory(), original_audit_);
  }

  // Every answer is the right value or an error. Returns the number of errors.
  int ReadAll() {
    int errors = 0;
    auto service = store_.TryOpen();
    if (!service) return static_cast<int>(expected_.size());
    for (const auto& [name, value] : expected_) {
      auto got = (*service)->GetSecretValue(store_.caller, name, {}, "");
      if (!got) {
        ++errors;
      } else {
        EXPECT_EQ(Text(got->bytes), value) << name;
      }
      // The way of the mount: by path, and the children of a directory.
      auto prod = (*service)->PeekChild(kRootPath, "prod");
      if (prod && *prod) {
        (void)(*service)->ListChildren(**prod, 0,
                                       [](uint64_t, PathId, std::string_view) { return true; });
      }
    }
    return errors;
  }
  void WriteByte(size_t offset, char byte) {
    int fd = open(store_.data_file().c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_EQ(pwrite(fd, &byte, 1, static_cast<off_t>(offset)), 1);
    close(fd);
  }
  void RestoreFile() {
    std::ofstream file(store_.data_file(), std::ios::binary | std::ios::trunc);
    file.write(original_.data(), static_cast<std::streamsize>(original_.size()));
  }
  void RestoreAll() {
    RestoreFile();
    std::filesystem::remove_all(store_.audit_directory());
    std::filesystem::copy(original_audit_, store_.audit_directory());
  }
  // Writes in each of the ways that there are. Returns the number of errors.
  int WriteAll() {
    auto service = store_.TryOpen();
    if (!service) return 3;
    int errors = 0;
    PutRequest put;
    put.secret_id = "prod/secret0";
    put.client_request_token = VersionId("v3");
    put.value = TextValue("newest");
    errors += !(*service)->PutSecretValue(store_.caller, std::move(put));
    DeleteRequest remove;
    remove.secret_id = "prod/secret1";
    remove.force = true;
    errors += !(*service)->DeleteSecret(store_.caller, remove);
    CreateRequest create;
    create.name = "prod/created";
    create.client_request_token = VersionId("v1");
    create.value = TextValue(std::string(5000, '+'));
    errors += !(*service)->CreateSecret(store_.caller, std::move(create));
    return errors;
  }

  TempStore store_;
  std::map<std::string, std::string> expected_;
  std::string original_;
  const std::string original_audit_ = store_.directory / "original_audit";
};

TEST_F(DamageTest, NoFlippedByteGivesAWrongValueOrACrash) {
  ASSERT_EQ(ReadAll(), 0);
  RestoreFile();
  // A prime step visits every kind of field: page headers, node offsets, keys, sealed bytes. The
  // two meta pages and the first pages, where the tree's structure is, are visited more densely.
  int damaged = 0;
  size_t dense_end = std::min<size_t>(original_.size(), 2 * 4096);
  for (size_t offset = 0; offset < original_.size(); offset += offset < dense_end ? 41 : 509) {
    for (uint8_t mask : {uint8_t{0x01}, uint8_t{0x80}}) {
      WriteByte(offset, static_cast<char>(original_[offset] ^ mask));
      damaged += ReadAll() > 0;
      // A clean close writes, too.
      RestoreAll();
    }
    ASSERT_FALSE(HasFailure()) << "at byte " << offset;
  }
  // If nothing ever failed, the flips did not reach the store.
  EXPECT_GT(damaged, 20);
}

// LMDB damages its own heap when it writes to a page whose sizes are wrong. Such a page is found
// before.
TEST_F(DamageTest, NoWriteAfterAFlippedByteGivesAWrongValueOrACrash) {
  ASSERT_EQ(WriteAll(), 0);
  expected_.erase("prod/secret0");
  expected_.erase("prod/secret1");
  ASSERT_EQ(ReadAll(), 0);
  int refused = 0;
  int accepted = 0;
  for (size_t offset = 0; offset < original_.size(); offset += 4096) {
    // In each page: one field of its header, the place of a node, and two bytes of nodes.
    size_t page = offset / 4096;
    for (size_t at :
         {8 + page % 8, 16 + page * 2 % 32, 2900 + page * 7 % 1100, 4095 - page % 400}) {
      RestoreAll();
      WriteByte(offset + at, static_cast<char>(original_[offset + at] ^ (1 << (page + at) % 8)));
      ++(WriteAll() > 0 ? refused : accepted);
      ReadAll();
      ASSERT_FALSE(HasFailure()) << "at byte " << offset + at;
    }
  }
  EXPECT_GT(refused, 10);
  EXPECT_GT(accepted, 10);
}

// Pages that are free now still hold older records, each of them intact. One changed byte of a
// table's entry in the directory of tables is enough to bring such a page back.
TEST_F(DamageTest, AnOlderPageInPlaceOfATablesRootIsRefused) {
  constexpr size_t kPageBytes = 4096;
  constexpr size_t kRootOffset = 40;  // Of md_root in lmdb's MDB_db, which follows the name.
  const std::string table = TableName(Table::kSecrets);
  int damaged = 0;
  for (size_t at = original_.find(table); at != std::string::npos;
       at = original_.find(table, at + 1)) {
    const size_t root = at + table.size() + kRootOffset;
    if (root >= original_.size()) break;
    for (size_t page = 2; page < std::min<size_t>(original_.size() / kPageBytes, 256); ++page) {
      WriteByte(root, static_cast<char>(page));
      damaged += ReadAll() > 0;
      RestoreFile();
      ASSERT_FALSE(HasFailure()) << "page " << page << " as root, written at byte " << root;
    }
  }
  EXPECT_GT(damaged, 0);
}

// LMDB divides by it.
// ThreadSanitizer's own handling of SIGFPE ends the process before the fault guard sees it.
#ifndef __SANITIZE_THREAD__
TEST_F(DamageTest, AWrongPageSizeIsAnError) {
  constexpr size_t kPageSizeAt = 40;
  for (int second_byte : {0x00, 0x01, 0x08, 0x11, 0x20, 0xff}) {
    for (size_t meta : {0, 4096}) {
      WriteByte(meta + kPageSizeAt + 1, static_cast<char>(second_byte));
    }
    EXPECT_GT(WriteAll(), 0) << second_byte;
    RestoreAll();
    // The newest meta page alone.
    WriteByte(4096 + kPageSizeAt + 1, static_cast<char>(second_byte));
    WriteAll();
    RestoreAll();
  }
  EXPECT_EQ(WriteAll(), 0);
}
#endif

TEST_F(DamageTest, ATruncatedFileIsAnError) {
  for (size_t size = 0; size < original_.size(); size += 4096 * 3 + 17) {
    std::filesystem::resize_file(store_.data_file(), size);
    auto service = store_.TryOpen();
    EXPECT_FALSE(service) << size;
    RestoreFile();
  }
  EXPECT_EQ(ReadAll(), 0);
}

TEST_F(DamageTest, AnOlderCopyOfTheStoreIsNotTakenForTheCurrentOne) {
  {
    auto service = store_.Open();
    PutRequest put;
    put.secret_id = "prod/secret0";
    put.client_request_token = VersionId("v3");
    put.value = TextValue("newest");
    ASSERT_TRUE(service->PutSecretValue(store_.caller, std::move(put)));
  }
  RestoreFile();
  auto service = store_.TryOpen();
  ASSERT_FALSE(service);
  EXPECT_NE(service.error().message.find("older than its audit trail"), std::string::npos);
}

// What an attacker with the file can do: exchange two whole records, each of which is intact.
TEST_F(DamageTest, SwappedRecordsAreRefused) {
  for (Table table : {Table::kValues, Table::kVersions, Table::kSecrets}) {
    std::string first;
    std::string second;
    {
      auto env = Env::Open(store_.path(), Env::Mode::kOpen).value();
      ReadTxn txn(*env);
      ASSERT_TRUE(txn.Scan(table, {}, [&](ByteSpan, ByteSpan value) -> Result<bool> {
        std::string text(AsText(value));
        if (first.empty()) {
          first = text;
        } else if (text.size() == first.size()) {
          second = text;
        }
        return second.empty();
      }));
    }
    ASSERT_FALSE(second.empty()) << TableName(table);
    // LMDB may keep copies of a record in pages that are free now; all are exchanged.
    std::string swapped = original_;
    for (size_t at = 0; at + first.size() <= swapped.size(); ++at) {
      if (swapped.compare(at, first.size(), first) == 0) {
        swapped.replace(at, first.size(), second);
      } else if (swapped.compare(at, second.size(), second) == 0) {
        swapped.replace(at, second.size(), first);
      }
    }
    std::ofstream(store_.data_file(), std::ios::binary | std::ios::trunc) << swapped;
    auto service = store_.Open();
    int errors = 0;
    for (const auto& [name, value] : expected_) {
      for (const char* id : {"v1", "v2"}) {
        auto got = service->GetSecretValue(store_.caller, name, {VersionId(id), {}}, "");
        if (!got) {
          EXPECT_EQ(got.error().code, Code::kCorrupt);
          ++errors;
        } else if (std::string(id) == "v2") {
          EXPECT_EQ(Text(got->bytes), value);
        }
      }
    }
    // Version records are not read on this way; the mount reads them.
    EXPECT_GE(errors, table == Table::kVersions ? 0 : 2) << TableName(table);
    int stale = 0;
    for (SelectorId number = 1; number <= 2 * expected_.size(); ++number) {
      stale += !service->PeekVersionPath(number).has_value();
    }
    EXPECT_EQ(stale, table == Table::kVersions ? 2 : 0) << TableName(table);
    service.reset();
    RestoreFile();
  }
}

}  // namespace
}  // namespace secretfs::store
