#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "crypto/base/result.h"
#include "crypto/base/unique_fd.h"

namespace secretfs::mount {

// What keeper and daemon say to each other, in this order. A daemon that is started beside a
// running one says kLoaded, and waits for kOpen until that has ended: no two have the store open.
enum class KeeperWord : char {
  kStarted = '-',  // daemon: nothing yet; never sent.
  kLoaded = 'l',   // daemon: the program runs and understands its settings.
  kOpen = 'o',     // keeper: nobody else has the store; open it.
  kOpened = 'd',   // daemon: the store is open.
  kServe = 's',    // keeper: here is /dev/fuse, mounted.
  // daemon: mount and socket answer. With a text: no successor could get at the root key.
  kReady = 'r',
  kStop = 'e',    // keeper: finish what you do, and end; a successor waits.
  kFailed = 'f',  // daemon: it cannot go on, and ends; the text is an EncodeError().
};

// Whether a daemon whose last word was `last` may say `next`: the keeper, which may be root,
// believes no other.
bool MayFollow(KeeperWord last, KeeperWord next);

struct KeeperMessage {
  KeeperWord word = KeeperWord::kFailed;
  std::string text;
  UniqueFd descriptor;  // With kServe.
};

// One end of the connection between the two: a sequenced-packet socket. The keeper's end never
// waits, whatever the daemon does or leaves undone.
class KeeperLink {
 public:
  KeeperLink() = default;
  // The daemon's end.
  explicit KeeperLink(UniqueFd fd) : KeeperLink(std::move(fd), /*takes_descriptors=*/true) {}

  struct Ends;
  static Result<Ends> Connect();

  int fd() const { return fd_.get(); }

  // Errors: kUnavailable, if the other end is gone or does not take it.
  Status Send(KeeperWord word, std::string_view text = {}, int descriptor = -1);
  // The daemon's end waits, and takes descriptors; at the keeper's, the kernel drops those that a
  // daemon sends, since to close one may wait for a file system. nullopt: the other end is gone.
  // Errors: kUnavailable; at the keeper's end also if there is nothing.
  Result<std::optional<KeeperMessage>> Receive();
  // Waits for `word`. Errors: kUnavailable, also for any other word.
  Result<KeeperMessage> Await(KeeperWord word);

 private:
  KeeperLink(UniqueFd fd, bool takes_descriptors)
      : fd_(std::move(fd)), takes_descriptors_(takes_descriptors) {}

  UniqueFd fd_;
  bool takes_descriptors_ = false;
};

struct KeeperLink::Ends {
  KeeperLink keeper;
  KeeperLink daemon;
};

// An Error as one line, "<code> <message>", the code as its number: both ends are one program.
std::string EncodeError(const Error& error);
// Control characters become "?", so that the text is one line of a log whoever wrote it.
Error DecodeError(std::string_view text);

}  // namespace secretfs::mount
