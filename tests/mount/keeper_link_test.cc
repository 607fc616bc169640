#include "mount/keeper_link.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <memory>

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

TEST(KeeperLinkTest, ErrorsGoThroughAsText) {
  const Error error = DecodeError(EncodeError({Code::kSealed, "store x: no key: 5"}));
  EXPECT_EQ(error.code, Code::kSealed);
  EXPECT_EQ(error.message, "store x: no key: 5");
  for (const char* nonsense : {"", "x", "3", "99 y", "-1 y"}) {
    EXPECT_EQ(DecodeError(nonsense).code, Code::kInternal) << nonsense;
  }
}

}  // namespace
}  // namespace secretfs::mount
