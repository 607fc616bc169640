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
#include "crypto/asymmetric_key.h"
#include "crypto/envelope.h"
#include "crypto/gcm.h"
#include "crypto/key_import.h"
#include "crypto/mac.h"
#include "crypto/secret_memory.h"
#include "tests/crypto/key_directory.h"
#include "tests/crypto/memory_key_source.h"
#include "tests/crypto/rsa_test_keys.h"
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

// The numbers of a key stand in memory as in DER or, in OpenSSL's BIGNUM, the other way round.
using Needles = std::vector<Needle>;

void AddBothWays(Needles& needles, ByteSpan number) {
  needles.push_back(Complement(Bytes(number.begin(), number.end())));
  needles.push_back(Complement(Bytes(number.rbegin(), number.rend())));
}

bool AllAreFound(const Needles& needles) {
  for (size_t i = 0; i < needles.size(); i += 2) {
    if (CountInMemory(needles[i]) + CountInMemory(needles[i + 1]) == 0) return false;
  }
  return true;
}

int SearchForAll(const Needles& needles) {
  for (const Needle& needle : needles) {
    if (const int found = SearchFor(needle); found != 0) return found;
  }
  return 0;
}

// d, p and q of a PKCS#8 DER of 2048 bits; the sequence of its numbers begins at byte 26.
Needles RsaNumbers(ByteSpan pkcs8) {
  constexpr size_t kHeaderBytes = 4;
  constexpr size_t kFirstPrivate = 3;  // After version, n and e.
  constexpr size_t kNumbers = 6;
  Needles needles;
  size_t at = 26 + kHeaderBytes;
  for (size_t i = 0; i < kNumbers; ++i) {
    const size_t size_bytes = pkcs8[at + 1] < 0x80 ? 0 : pkcs8[at + 1] & 0x7fu;
    size_t size = size_bytes == 0 ? pkcs8[at + 1] : 0;
    for (size_t j = 0; j < size_bytes; ++j) size = size << 8 | pkcs8[at + 2 + j];
    ByteSpan number = pkcs8.subspan(at + 2 + size_bytes, size);
    at += 2 + size_bytes + size;
    if (number[0] == 0) number = number.subspan(1);
    if (i >= kFirstPrivate) AddBothWays(needles, number);
  }
  return needles;
}

// The private numbers in what ToPkcs8() writes.
Needles PrivateNumbers(KeySpec spec, ByteSpan pkcs8) {
  if (ModulusBytes(spec) != 0) return RsaNumbers(pkcs8);
  const size_t size = spec == KeySpec::kEccNistP384 ? 48 : spec == KeySpec::kEccNistP521 ? 66 : 32;
  size_t at = 35;
  if (spec == KeySpec::kEccNistP256) at = 36;
  if (spec == KeySpec::kEccSecgP256k1) at = 33;
  if (spec == KeySpec::kEccNistEdwards25519) at = 16;
  Needles needles;
  AddBothWays(needles, pkcs8.subspan(at, size));
  return needles;
}

bool DoesAllItCan(const AsymmetricKey& key) {
  bool works = true;
  for (const auto algorithm : SigningAlgorithmsOf(key.spec(), KeyUsage::kSignVerify)) {
    works &= key.Sign({algorithm, MessageType::kRaw, AsBytes("message")}).has_value();
  }
  for (const auto algorithm : EncryptionAlgorithmsOf(key.spec(), KeyUsage::kEncryptDecrypt)) {
    const auto ciphertext = key.Encrypt(algorithm, SecretBuffer(32));
    works &= ciphertext && key.Decrypt(algorithm, *ciphertext);
  }
  if (!KeyAgreementAlgorithmsOf(key.spec(), KeyUsage::kKeyAgreement).empty()) {
    works &= key.DeriveSharedSecret(key.PublicKeyDer()).has_value();
  }
  return works;
}

// Makes a key, writes, reads and uses it, and lets it die.
int UseKeyPair(KeySpec spec) {
  ProtectProcess();
  Needles needles;
  {
    const AsymmetricKey made = AsymmetricKey::Generate(spec).value();
    const SecretBuffer pkcs8 = made.ToPkcs8();
    needles = PrivateNumbers(spec, pkcs8.Reveal());
    const auto read = AsymmetricKey::FromPkcs8(spec, pkcs8);
    if (!AllAreFound(needles) || !read || !DoesAllItCan(made) || !DoesAllItCan(*read)) {
      return kNeverFound;
    }
  }
  return SearchForAll(needles);
}

TEST_F(MemoryTracesDeathTest, AKeyPairLeavesNoPrivateNumber) {
  for (const KeySpec spec : SupportedKeyPairs()) {
    if (ModulusBytes(spec) > ModulusBytes(KeySpec::kRsa2048)) continue;
    EXPECT_EXIT(_exit(UseKeyPair(spec)), ::testing::ExitedWithCode(0), "") << NameOf(spec);
  }
}

int UseMacKeyAndImport() {
  ProtectProcess();
  testing::FakeRandom random;
  Needles needles;
  {
    const MacKey key = MacKey::Generate(KeySpec::kHmac256, random).value();
    AddBothWays(needles, key.material().Reveal());
    const auto spec = WrappingKeySpec::kRsa2048;
    const auto wrapping_key = WrappingKey::FromOwnPkcs8(spec, RsaTestKeyPkcs8(KeySpec::kRsa2048));
    const auto wrapped =
        TestKey(KeySpec::kRsa2048).Encrypt(EncryptionAlgorithm::kRsaesOaepSha256, key.material());
    const auto unwrapped =
        wrapping_key->Unwrap({KeySpec::kHmac256, WrappingAlgorithm::kRsaesOaepSha256}, *wrapped);
    if (!AllAreFound(needles) || !key.Mac(MacAlgorithm::kHmacSha256, AsBytes("message")) ||
        !unwrapped || !unwrapped->Equals(key.material())) {
      return kNeverFound;
    }
  }
  return SearchForAll(needles);
}

TEST_F(MemoryTracesDeathTest, AMacKeyLeavesNothingWhetherMadeOrImported) {
  EXPECT_EXIT(_exit(UseMacKeyAndImport()), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace secretfs::crypto

#endif
