#include "mount/root_key_changer.h"

#include <memory>
#include <optional>
#include <utility>

#include "crypto/base/log.h"
#include "crypto/root_key_deposit.h"
#include "store/kms_service.h"

namespace secretfs::mount {
namespace {

// Is left in the deposit before it wraps anything, which is after the service has decided that the
// caller may change the root key, and before the store goes over.
class DepositedRootKey final : public crypto::RootKey {
 public:
  DepositedRootKey(NewRootKey key, RootKeyChanger::Reader reader, crypto::RandomSource& random)
      : source_(std::move(key.source)),
        reader_(reader),
        key_(crypto::MakeRootKey(key.secret, random)),
        secret_(std::move(key.secret)) {}

  Result<Bytes> Wrap(const crypto::SecretBuffer& material, ByteSpan purpose) override {
    TRY(Leave());
    return key_->Wrap(material, purpose);
  }
  Result<crypto::SecretBuffer> Unwrap(ByteSpan wrapped, ByteSpan purpose) override {
    return key_->Unwrap(wrapped, purpose);
  }

  // Its place in the deposit; nullopt: it was not left.
  std::optional<int> place() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return place_;
  }

 private:
  Status Leave() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (!secret_) return {};
    if (reader_.is_this_user) TRY(CheckReadable());
    if (reader_.deposit >= 0) {
      TRY_ASSIGN(place_, crypto::LeaveInDeposit(reader_.deposit, *secret_));
    }
    secret_.reset();
    return {};
  }

  Status CheckReadable() REQUIRES(mutex_) {
    if (!std::holds_alternative<crypto::KeyFileSource>(source_)) return {};
    TRY_ASSIGN(const crypto::SecretBuffer found, crypto::ObtainRootKeySecret(source_, {}));
    if (found.Equals(*secret_)) return {};
    return Fail(Code::kInvalidArgument, crypto::DescribeRootKeySource(source_) +
                                            " is another file for the daemon; name a path that "
                                            "is the same for both");
  }

  const crypto::RootKeySource source_;
  const RootKeyChanger::Reader reader_;
  const std::unique_ptr<crypto::RootKey> key_;
  Mutex mutex_;
  std::optional<crypto::SecretBuffer> secret_ GUARDED_BY(mutex_);  // Until it is left.
  std::optional<int> place_ GUARDED_BY(mutex_);
};

}  // namespace

RootKeyChanger::RootKeyChanger(store::SecretService& service, Reader reader,
                               crypto::RandomSource& random)
    : service_(service),
      reader_(reader),
      random_(random),
      current_(service.header().root_key_source) {}

Result<crypto::RootKeySource> RootKeyChanger::Change(const store::Caller& caller, NewRootKey next,
                                                     const std::string& request_id) {
  if (next.secret.size() < crypto::kRootKeyBytesMin ||
      next.secret.size() > crypto::kRootKeyBytesMax) {
    return Fail(Code::kInvalidArgument, "The secret of a root key has 32 to 4096 bytes.");
  }
  MutexLock lock(mutex_);
  crypto::RootKeySource source = next.source;
  const auto key = std::make_shared<DepositedRootKey>(std::move(next), reader_, random_);
  const Status changed = service_.kms().RewrapAll(caller, key, source, request_id);
  const std::optional<int> place = key->place();
  // A commit that failed may have reached the disk: then both stay, and a successor looks.
  if (place && (changed || changed.error().code != Code::kUnavailable)) {
    const Status kept = crypto::KeepInDeposit(reader_.deposit, changed ? *place : 1 - *place);
    if (!kept) Log(LogLevel::kError, kept.error().message);
  }
  TRY(changed);
  Log(LogLevel::kInfo, "the root key is now " + crypto::DescribeRootKeySource(source));
  std::swap(current_, source);
  return source;
}

}  // namespace secretfs::mount
