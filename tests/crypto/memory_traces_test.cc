// After an operation the process's whole memory is searched for what the operation had in hand.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "crypto/aead.h"
#include "crypto/envelope.h"
#include "crypto/gcm.h"
#include "crypto/secret_memory.h"
#include "tests/crypto/key_directory.h"
#include "tests/crypto/memory_key_source.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_random.h"

// A sanitizer's own heap keeps freed blocks for its reports.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace secretfs::crypto {
namespace {

// The complement of what is searched for, so that the needle is not found itself.
using Needle = Bytes;

Needle Complement(Bytes bytes) {
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(~byte);
  return bytes;
}

struct Range {
  const uint8_t* begin;
  const uint8_t* end;
};

std::vector<Range> ReadableAndWritableMemory() {
  std::vector<Range> ranges;
  FILE* maps = std::fopen("/proc/self/maps", "r");
  if (maps == nullptr) std::abort();
  char line[512];
  while (std::fgets(line, sizeof(line), maps) != nullptr) {
    unsigned long begin = 0;
    unsigned long end = 0;
    char mode[8] = {};
    if (std::sscanf(line, "%lx-%lx %7s", &begin, &end, mode) == 3 && mode[0] == 'r' &&
        mode[1] == 'w') {
      ranges.push_back(
          {reinterpret_cast<const uint8_t*>(begin), reinterpret_cast<const uint8_t*>(end)});
    }
  }
  std::fclose(maps);
  return ranges;
}

size_t CountInMemory(const Needle& needle) {
  size_t count = 0;
  for (const Range& range : ReadableAndWritableMemory()) {
    const uint8_t first = static_cast<uint8_t>(~needle[0]);
    const uint8_t* at = range.begin;
    while (range.end - at >= static_cast<ptrdiff_t>(needle.size())) {
      at = static_cast<const uint8_t*>(
          std::memchr(at, first, static_cast<size_t>(range.end - at) - needle.size() + 1));
      if (at == nullptr) break;
      size_t i = 1;
      while (i < needle.size() && at[i] == static_cast<uint8_t>(~needle[i])) ++i;
      count += i == needle.size() ? 1 : 0;
      ++at;
    }
  }
  return count;
}

// Runs each test in a new process, whose heap and whose OpenSSL are as in the daemon.
class MemoryTracesDeathTest : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

// Exit statuses of the processes: 0 is good.
constexpr int kNeverFound = 10;  // The search itself does not work.
constexpr int kFound = 11;

int SearchFor(const Needle& needle) {
  const size_t traces = CountInMemory(needle);
  if (traces > 0) std::fprintf(stderr, "%zu traces\n", traces);
  return traces == 0 ? 0 : kFound;
}

int OpenWithGcm(std::unique_ptr<GcmCipher> (*make)()) {
  ProtectProcess();
  const auto cipher = make();
  const Bytes nonce(kGcmNonceBytes, 2);
  // Not a whole number of blocks, so that a key stream is left over.
  constexpr size_t kSize = 16'387;
  Bytes sealed(kSize + kGcmTagBytes);
  Needle key_needle;
  Needle wanted;
  Needle wanted_end;
  {
    testing::FakeRandom random;
    SecretBuffer key(kAesKeyBytes);
    SecretBuffer plaintext(kSize);
    random.Fill(key.Writable());
    random.Fill(plaintext.Writable());
    const ByteSpan bytes = plaintext.Reveal();
    key_needle = Complement(Bytes(key.Reveal().begin(), key.Reveal().end()));
    wanted = Complement(Bytes(bytes.begin(), bytes.begin() + 32));
    wanted_end = Complement(Bytes(bytes.end() - 16, bytes.end()));
    cipher->SetKey(key.Reveal());
    cipher->Seal(nonce, {}, bytes, sealed);
    std::ranges::fill(plaintext.Writable(), 0);
    if (!cipher->Open(nonce, {}, sealed, plaintext.Writable())) return kNeverFound;
    if (CountInMemory(wanted) == 0 || CountInMemory(wanted_end) == 0) return kNeverFound;
  }
  // The key that is set is in the key schedule still.
  if (CountInMemory(key_needle) == 0) return kNeverFound;
  cipher->ClearKey();
  for (const Needle& needle : {key_needle, wanted, wanted_end}) {
    if (const int found = SearchFor(needle); found != 0) return found;
  }
  return 0;
}

TEST_F(MemoryTracesDeathTest, GcmLeavesNeitherKeyNorPlaintext) {
  EXPECT_EXIT(_exit(OpenWithGcm(NewOpensslGcm)), ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(_exit(OpenWithGcm(NewGcmCipher)), ::testing::ExitedWithCode(0), "");
}

// The key schedule of AES begins with the key, so this finds schedules too.
int OpenWithAead() {
  ProtectProcess();
  testing::FakeRandom random;
  const Aead aead(SecretBuffer::CopyOf(Bytes(32, 1)));
  const Bytes nonce(AsBytes("ABCDEFGHIJKLMNOPQRSTUVWX").begin(),
                    AsBytes("ABCDEFGHIJKLMNOPQRSTUVWX").end());
  // Kx of the first vector of https://c2sp.org/XAES-256-GCM.
  const Needle message_key = Complement(
      FromHex("c8612c9ed53fe43e8e005b828a1631a0bbcb6ab2f46514ec4f439fcfd0fa969b").value());
  Bytes sealed(100 + Aead::kOverheadBytes);
  {
    SecretBuffer plaintext(100);
    random.Fill(plaintext.Writable());
    aead.SealWithNonce(nonce, plaintext.Reveal(), {}, sealed);
  }
  Needle wanted;
  {
    const auto opened = aead.Open(sealed, {});
    wanted = Complement(Bytes(opened->Reveal().begin(), opened->Reveal().begin() + 32));
    if (CountInMemory(wanted) == 0) return kNeverFound;
  }
  const int of_key = SearchFor(message_key);
  return of_key != 0 ? of_key : SearchFor(wanted);
}

TEST_F(MemoryTracesDeathTest, AeadLeavesNeitherMessageKeyNorPlaintext) {
  EXPECT_EXIT(_exit(OpenWithAead()), ::testing::ExitedWithCode(0), "");
}

int OpenWithEnvelope() {
  ProtectProcess();
  testing::FakeRandom random;
  const auto root_key = NewLocalRootKey(0x11, random);
  testing::FakeClock clock;
  MemoryKeySource source(*root_key);
  const MemoryKeySource::Key& record = source.Add(random);
  Keyring keyring(source, clock);
  // The first bytes that sealing draws are the data key.
  testing::FakeRandom sealing_random(2);
  Bytes data_key(32);
  testing::FakeRandom(2).Fill(data_key);
  const Needle data_key_needle = Complement(std::move(data_key));
  Bytes envelope;
  {
    SecretBuffer plaintext(200);
    random.Fill(plaintext.Writable());
    envelope = SealEnvelope(keyring, record.id, {}, {}, plaintext, sealing_random).value();
  }
  Needle wanted;
  {
    const auto opened = OpenEnvelope(keyring, {}, {}, envelope);
    wanted = Complement(Bytes(opened->Reveal().begin(), opened->Reveal().begin() + 32));
    if (CountInMemory(wanted) == 0) return kNeverFound;
  }
  const int of_key = SearchFor(data_key_needle);
  return of_key != 0 ? of_key : SearchFor(wanted);
}

TEST_F(MemoryTracesDeathTest, EnvelopeLeavesNeitherDataKeyNorValue) {
  EXPECT_EXIT(_exit(OpenWithEnvelope()), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace secretfs::crypto

#endif
