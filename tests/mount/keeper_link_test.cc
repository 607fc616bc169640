#include "mount/keeper_link.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <memory>
#include <vector>

namespace secretfs::mount {
namespace {

TEST(KeeperLinkTest, CarriesWordsTextAndDescriptor) {
  auto ends = KeeperLink::Connect().value();
  std::array<int, 2> pipe_fds{};
  ASSERT_EQ(pipe(pipe_fds.data()), 0);
  const UniqueFd read_end(pipe_fds[0]);
  UniqueFd write_end(pipe_fds[1]);
  ASSERT_TRUE(ends.keeper.Send(KeeperWord::kServe, "text", write_end.get()));
  write_end.Reset();
  auto message = ends.daemon.Await(KeeperWord::kServe).value();
  EXPECT_EQ(message.text, "text");
  EXPECT_EQ(write(message.descriptor.get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(read(read_end.get(), &byte, 1), 1);
}

TEST(KeeperLinkTest, KeepsMessagesApartAndInOrder) {
  auto ends = KeeperLink::Connect().value();
  ASSERT_TRUE(ends.daemon.Send(KeeperWord::kLoaded));
  ASSERT_TRUE(ends.daemon.Send(KeeperWord::kFailed, "why"));
  EXPECT_EQ((*ends.keeper.Receive())->word, KeeperWord::kLoaded);
  const auto second = ends.keeper.Receive();
  EXPECT_EQ((*second)->word, KeeperWord::kFailed);
  EXPECT_EQ((*second)->text, "why");
}

TEST(KeeperLinkTest, AnEndThatIsGoneIsNoMessage) {
  auto ends = std::make_unique<KeeperLink::Ends>(KeeperLink::Connect().value());
  KeeperLink daemon = std::move(ends->daemon);
  ends.reset();
  EXPECT_FALSE(daemon.Receive().value());
  EXPECT_FALSE(daemon.Await(KeeperWord::kOpen));
  EXPECT_FALSE(daemon.Send(KeeperWord::kReady));
}

TEST(KeeperLinkTest, AnotherWordThanAwaitedIsAnError) {
  auto ends = KeeperLink::Connect().value();
  ASSERT_TRUE(ends.keeper.Send(KeeperWord::kStop));
  EXPECT_FALSE(ends.daemon.Await(KeeperWord::kServe));
}

TEST(KeeperLinkTest, TheKeeperNeverWaits) {
  auto ends = KeeperLink::Connect().value();
  EXPECT_FALSE(ends.keeper.Receive());
  // Until the daemon's end is full.
  int sent = 0;
  while (sent < 100'000 && ends.keeper.Send(KeeperWord::kStop)) ++sent;
  EXPECT_GT(sent, 0);
  EXPECT_LT(sent, 100'000);
}

TEST(KeeperLinkTest, WordsComeInOneOrderOnly) {
  using enum KeeperWord;
  const std::vector<KeeperWord> order = {kStarted, kLoaded, kOpened, kReady};
  for (size_t i = 0; i < order.size(); ++i) {
    for (size_t j = 0; j < order.size(); ++j) {
      EXPECT_EQ(MayFollow(order[i], order[j]), j == i + 1) << i << " " << j;
    }
    EXPECT_TRUE(MayFollow(order[i], kFailed));
    for (const KeeperWord word : {kOpen, kServe, kStop, kStarted, static_cast<KeeperWord>('?')}) {
      EXPECT_FALSE(MayFollow(order[i], word));
    }
  }
  EXPECT_FALSE(MayFollow(kFailed, kFailed));
}

TEST(KeeperLinkTest, TheKeeperGetsNoDescriptorOfADaemon) {
  auto ends = KeeperLink::Connect().value();
  ASSERT_TRUE(ends.daemon.Send(KeeperWord::kLoaded, "", STDIN_FILENO));
  const auto message = ends.keeper.Receive();
  EXPECT_EQ((*message)->word, KeeperWord::kLoaded);
  EXPECT_FALSE((*message)->descriptor.valid());
}

TEST(KeeperLinkTest, OfManyDescriptorsOneIsTakenAndNoneIsLeaked) {
  auto ends = KeeperLink::Connect().value();
  const auto count = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                         std::filesystem::directory_iterator());
  };
  const auto before = count();
  char word = static_cast<char>(KeeperWord::kServe);
  iovec part{&word, 1};
  alignas(cmsghdr) std::array<unsigned char, CMSG_SPACE(8 * sizeof(int))> room{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = room.data();
  message.msg_controllen = room.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(8 * sizeof(int));
  const std::array<int, 8> fds = {0, 0, 0, 0, 0, 0, 0, 0};
  std::memcpy(CMSG_DATA(header), fds.data(), sizeof fds);
  ASSERT_EQ(sendmsg(ends.keeper.fd(), &message, 0), 1);
  EXPECT_TRUE((*ends.daemon.Receive())->descriptor.valid());
  EXPECT_EQ(count(), before);
}

TEST(KeeperLinkTest, ErrorsGoThroughAsText) {
  const Error error = DecodeError(EncodeError({Code::kSealed, "store x: no key: 5"}));
  EXPECT_EQ(error.code, Code::kSealed);
  EXPECT_EQ(error.message, "store x: no key: 5");
  EXPECT_EQ(DecodeError("5 a\nsecretfs: b\x1b[2J").message, "a?secretfs: b?[2J");
  for (const char* nonsense : {"", "x", "3", "99 y", "-1 y"}) {
    EXPECT_EQ(DecodeError(nonsense).code, Code::kInternal) << nonsense;
  }
}

}  // namespace
}  // namespace secretfs::mount
