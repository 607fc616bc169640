#include "store/secret.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace secretfs::store {
namespace {

using Stages = std::vector<std::string>;

// Drives the state machine by short names ("v1") and shows its state as "v1:A,B v2:C", versions in
// order, labels sorted.
class SecretTest : public ::testing::Test {
 protected:
  Status Put(const std::string& id, const Stages& stages = {}) {
    Version version;
    version.number = ++number_;
    version.id = id;
    version.created_at = now_;
    auto dropped = secret_.AddVersion(version, stages, now_);
    if (!dropped) return std::unexpected(dropped.error());
    dropped_ = *dropped;
    return {};
  }
  Status Move(const std::string& label, const std::string& from, const std::string& to) {
    auto id = [](const std::string& text) {
      return text.empty() ? std::optional<std::string>() : std::optional<std::string>(text);
    };
    auto moved = secret_.MoveLabel(label, id(from), id(to), now_);
    if (!moved) return std::unexpected(moved.error());
    return {};
  }
  std::string State() const {
    std::string text;
    for (const Version& version : secret_.versions) {
      if (!text.empty()) text += ' ';
      text += version.id + ":";
      bool first = true;
      for (const std::string& label : secret_.LabelsOf(version.number)) {
        if (!first) text += ',';
        first = false;
        text += label;
      }
    }
    return text;
  }
  void ThroughT4() {
    ASSERT_TRUE(Put("v1"));
    ASSERT_TRUE(Put("v2", {"AWSPENDING"}));
    ASSERT_EQ(State(), "v1:AWSCURRENT v2:AWSPENDING");
    ASSERT_TRUE(Move("AWSCURRENT", "v1", "v2"));
  }
  void ThroughT8() {
    ASSERT_TRUE(Put("v1"));
    ASSERT_TRUE(Put("v2", {"AWSCURRENT", "PUT0"}));
    ASSERT_EQ(State(), "v1:AWSPREVIOUS v2:AWSCURRENT,PUT0");
    ASSERT_TRUE(Put("v3", {"AWSPENDING", "PUT1"}));
    ASSERT_TRUE(Move("AWSCURRENT", "v2", "v3"));
  }

  Secret secret_;
  SelectorId number_ = 0;
  TimeMs now_ = 1'000'000;
  std::vector<SelectorId> dropped_;
};

// The golden traces of aws-semantics 3.1, recorded from AWS.
TEST_F(SecretTest, TraceT1PutMovesCurrentAndLeavesPrevious) {
  ASSERT_TRUE(Put("v1"));
  ASSERT_TRUE(Put("v2"));
  EXPECT_EQ(State(), "v1:AWSPREVIOUS v2:AWSCURRENT");
}
TEST_F(SecretTest, TraceT2ThirdPutDeprecatesTheFirst) {
  ASSERT_TRUE(Put("v1"));
  ASSERT_TRUE(Put("v2"));
  ASSERT_TRUE(Put("v3"));
  EXPECT_EQ(State(), "v1: v2:AWSPREVIOUS v3:AWSCURRENT");
}
TEST_F(SecretTest, TraceT3PendingDoesNotTouchCurrent) {
  ASSERT_TRUE(Put("v1"));
  ASSERT_TRUE(Put("v2", {"AWSPENDING"}));
  EXPECT_EQ(State(), "v1:AWSCURRENT v2:AWSPENDING");
}
TEST_F(SecretTest, TraceT4MovingCurrentKeepsPending) {
  ThroughT4();
  EXPECT_EQ(State(), "v1:AWSPREVIOUS v2:AWSCURRENT,AWSPENDING");
}
TEST_F(SecretTest, TraceT5aPlainPutDropsPendingFromTheVersionItSupersedes) {
  ThroughT4();
  ASSERT_TRUE(Put("v3"));
  EXPECT_EQ(State(), "v1: v2:AWSPREVIOUS v3:AWSCURRENT");
}
TEST_F(SecretTest, TraceT5bPendingPutTakesPendingAlong) {
  ThroughT4();
  ASSERT_TRUE(Put("v3", {"AWSPENDING"}));
  EXPECT_EQ(State(), "v1:AWSPREVIOUS v2:AWSCURRENT v3:AWSPENDING");
}
TEST_F(SecretTest, TraceT6SecondRotationFinishes) {
  ThroughT4();
  ASSERT_TRUE(Put("v3", {"AWSPENDING"}));
  ASSERT_TRUE(Move("AWSCURRENT", "v2", "v3"));
  EXPECT_EQ(State(), "v1: v2:AWSPREVIOUS v3:AWSCURRENT,AWSPENDING");
}
TEST_F(SecretTest, TraceT7PutWithCustomLabel) {
  ASSERT_TRUE(Put("v1"));
  ASSERT_TRUE(Put("v2", {"AWSCURRENT", "PUT0"}));
  EXPECT_EQ(State(), "v1:AWSPREVIOUS v2:AWSCURRENT,PUT0");
}
TEST_F(SecretTest, TraceT8CustomLabelsStayWhereTheyAre) {
  ThroughT8();
  EXPECT_EQ(State(), "v1: v2:AWSPREVIOUS,PUT0 v3:AWSCURRENT,AWSPENDING,PUT1");
}
TEST_F(SecretTest, TraceT9CustomLabelsStayThroughAnotherRotation) {
  ThroughT8();
  ASSERT_TRUE(Put("v4", {"AWSPENDING", "PUT2"}));
  ASSERT_TRUE(Move("AWSCURRENT", "v3", "v4"));
  EXPECT_EQ(State(), "v1: v2:PUT0 v3:AWSPREVIOUS,PUT1 v4:AWSCURRENT,AWSPENDING,PUT2");
}
TEST_F(SecretTest, TraceT10MovingCustomLabelsGivesNoPrevious) {
  ASSERT_TRUE(Put("v1"));
  ASSERT_TRUE(Put("v2", {"one", "two", "three"}));
  ASSERT_TRUE(Put("v3", {"one", "two", "four"}));
  EXPECT_EQ(State(), "v1:AWSCURRENT v2:three v3:four,one,two");
}
TEST_F(SecretTest, TraceT11MovingAllCustomLabelsDeprecatesTheirVersion) {
  ASSERT_TRUE(Put("v1"));
  ASSERT_TRUE(Put("v2", {"one", "two", "three"}));
  ASSERT_TRUE(Put("v3", {"one", "two", "three", "four"}));
  EXPECT_EQ(State(), "v1:AWSCURRENT v2: v3:four,one,three,two");
}
TEST_F(SecretTest, TraceT12RemovingACustomLabelLeavesPreviousAlone) {
  ASSERT_TRUE(Put("v1"));
  ASSERT_TRUE(Put("v2", {"PENDING"}));
  ASSERT_TRUE(Move("AWSCURRENT", "v1", "v2"));
  ASSERT_TRUE(Move("PENDING", "v2", ""));
  EXPECT_EQ(State(), "v1:AWSPREVIOUS v2:AWSCURRENT");
}
TEST_F(SecretTest, TraceT13FirstVersionAlwaysGetsCurrent) {
  ASSERT_TRUE(Put("v1", {"foo"}));
  EXPECT_EQ(State(), "v1:AWSCURRENT,foo");
}
TEST_F(SecretTest, TraceT14OneCurrentAndAtMostOnePrevious) {
  for (const char* id : {"v1", "v2", "v3"}) {
    ASSERT_TRUE(Put(id));
    EXPECT_NE(secret_.FindLabel(kCurrent), nullptr);
  }
  EXPECT_EQ(State(), "v1: v2:AWSPREVIOUS v3:AWSCURRENT");
}

TEST_F(SecretTest, RollbackSwapsCurrentAndPrevious) {
  ASSERT_TRUE(Put("v1"));
  ASSERT_TRUE(Put("v2"));
  ASSERT_TRUE(Move("AWSCURRENT", "v2", "v1"));
  EXPECT_EQ(State(), "v1:AWSCURRENT v2:AWSPREVIOUS");
}

TEST_F(SecretTest, MoveLabelFollowsTheDecisionTable) {
  ASSERT_TRUE(Put("v1"));
  ASSERT_TRUE(Put("v2", {"L"}));
  ASSERT_TRUE(Put("v3", {"M"}));
  auto code = [&](const std::string& label, const std::string& from, const std::string& to) {
    Status status = Move(label, from, to);
    return status ? std::optional<Code>() : std::optional<Code>(status.error().code);
  };
  EXPECT_EQ(code("L", "", ""), Code::kInvalidArgument);
  EXPECT_EQ(code("new", "", "v1"), std::nullopt);            // Attached nowhere before.
  EXPECT_EQ(code("L", "", "v2"), std::nullopt);              // Its holder already: no change.
  EXPECT_EQ(code("L", "", "v3"), Code::kInvalidArgument);    // Held elsewhere, not named.
  EXPECT_EQ(code("L", "v3", "v1"), Code::kInvalidArgument);  // Named, but not the holder.
  EXPECT_EQ(code("L", "v2", "v3"), std::nullopt);
  EXPECT_EQ(code("L", "v2", ""), Code::kInvalidArgument);
  EXPECT_EQ(code("L", "v3", ""), std::nullopt);
  EXPECT_EQ(code("AWSCURRENT", "v1", ""), Code::kInvalidArgument);
  EXPECT_EQ(code("L", "", "v9"), Code::kNotFound);
  EXPECT_EQ(code("M", "v9", "v1"), Code::kNotFound);
  EXPECT_EQ(State(), "v1:AWSCURRENT,new v2: v3:M");
}

TEST_F(SecretTest, MoveWithoutRemoveFromNamesTheHolder) {
  ASSERT_TRUE(Put("v1"));
  ASSERT_TRUE(Put("v2", {"AWSPENDING"}));
  Status moved = Move("AWSCURRENT", "", "v2");
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().message,
            "The parameter RemoveFromVersionId can't be empty. Staging label AWSCURRENT is "
            "currently attached to version v1, so you must explicitly reference that version in "
            "RemoveFromVersionId.");
}

TEST_F(SecretTest, TheTwentyFirstLabelIsRefusedAndNothingChanges) {
  ASSERT_TRUE(Put("v1"));
  Stages stages;
  for (int i = 0; i < 19; ++i) stages.push_back("label" + std::to_string(i));
  ASSERT_TRUE(Put("v2", stages));
  ASSERT_EQ(secret_.labels.size(), 20u);
  std::string before = State();
  EXPECT_EQ(Put("v3", {"one-too-many"}).error().code, Code::kLimitExceeded);
  EXPECT_EQ(Move("one-too-many", "", "v1").error().code, Code::kLimitExceeded);
  // A plain put needs AWSPREVIOUS, which would be the twenty-first.
  EXPECT_EQ(Put("v3").error().code, Code::kLimitExceeded);
  EXPECT_EQ(State(), before);
}

TEST_F(SecretTest, DeprecatedVersionsAreDroppedBeyondTheQuotaWhenOldEnough) {
  for (size_t i = 0; i < kVersionsPerSecretMax; ++i) ASSERT_TRUE(Put("v" + std::to_string(i)));
  EXPECT_EQ(Put("young").error().code, Code::kLimitExceeded);
  ASSERT_EQ(secret_.versions.size(), kVersionsPerSecretMax);
  now_ += kMsPerDay;
  ASSERT_TRUE(Put("w1"));
  EXPECT_EQ(secret_.versions.size(), kVersionsPerSecretMax);
  EXPECT_EQ(dropped_, std::vector<SelectorId>{1});
  EXPECT_EQ(secret_.FindVersionById("v0"), nullptr);
}

TEST_F(SecretTest, LabelledVersionsAreNeverDropped) {
  ASSERT_TRUE(Put("v0"));
  ASSERT_TRUE(Move("keep", "", "v0"));
  for (size_t i = 1; i < kVersionsPerSecretMax; ++i) ASSERT_TRUE(Put("v" + std::to_string(i)));
  now_ += 2 * kMsPerDay;
  ASSERT_TRUE(Put("w1"));
  EXPECT_NE(secret_.FindVersionById("v0"), nullptr);
  EXPECT_EQ(secret_.FindVersionById("v1"), nullptr);
}

// Whatever is asked for, a secret with versions has AWSCURRENT, labels name versions that exist,
// and the quotas hold.
TEST_F(SecretTest, InvariantsHoldUnderRandomOperations) {
  const Stages pool = {"AWSCURRENT", "AWSPREVIOUS", "AWSPENDING", "a", "b", "c"};
  uint64_t seed = 42;
  auto next = [&](uint64_t bound) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % bound;
  };
  for (int step = 0; step < 20000; ++step) {
    now_ += static_cast<TimeMs>(next(kMsPerDay / 20));
    if (next(3) == 0) {
      Stages stages;
      for (const std::string& label : pool) {
        if (next(4) == 0) stages.push_back(label);
      }
      (void)Put("n" + std::to_string(step), stages);
    } else if (!secret_.versions.empty()) {
      auto any = [&] { return secret_.versions[next(secret_.versions.size())].id; };
      (void)Move(pool[next(pool.size())], next(2) ? any() : "", next(2) ? any() : "");
    }
    if (secret_.versions.empty()) continue;
    ASSERT_NE(secret_.FindVersionByLabel(kCurrent), nullptr);
    ASSERT_LE(secret_.labels.size(), kLabelsPerSecretMax);
    ASSERT_LE(secret_.versions.size(), kVersionsPerSecretMax);
    std::set<std::string> names;
    for (const Label& label : secret_.labels) {
      ASSERT_TRUE(names.insert(label.name).second);
      ASSERT_NE(secret_.FindVersionByNumber(label.version), nullptr);
    }
  }
}

}  // namespace
}  // namespace secretfs::store
