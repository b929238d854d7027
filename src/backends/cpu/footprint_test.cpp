#include "backends/cpu/footprint.h"

#include <gtest/gtest.h>

#include <functional>

namespace tendon::cpu {
namespace {

// Two threads with a footprint each, for steps over rows of `a` and `b`.
class MeetingsTest : public testing::Test {
 protected:
  std::vector<float> memory_ = std::vector<float>(200);
  View a_{memory_.data(), DType::f32, 10, 10}, b_{memory_.data() + 100, DType::f32, 10, 10};
  Meetings meetings_;

  bool wanted(const std::function<void(Footprint&, Range)>& touch) {
    std::vector<Footprint> threads(2);
    for (int i = 0; i < 2; ++i) touch(threads[static_cast<std::size_t>(i)], share(10, i, 2));
    return meetings_.wanted_before(threads);
  }
};

TEST_F(MeetingsTest, NoneWhereThreadsKeepToTheirRows) {
  EXPECT_FALSE(wanted([&](Footprint& f, Range r) { f.writes(a_, r); }));
  EXPECT_FALSE(wanted([&](Footprint& f, Range r) { f.reads(a_, r), f.writes(b_, r); }));
  EXPECT_FALSE(wanted([&](Footprint& f, Range r) { f.reads(b_, r), f.writes(a_, r); }));
}

TEST_F(MeetingsTest, BeforeReadingWhatAnotherWroteAndWritingWhatAnotherRead) {
  wanted([&](Footprint& f, Range r) { f.writes(a_, r); });
  EXPECT_TRUE(wanted([&](Footprint& f, Range r) { f.reads(a_), f.writes(b_, r); }));
  EXPECT_FALSE(wanted([&](Footprint& f, Range r) { f.reads(b_, r); }));
  EXPECT_TRUE(wanted([&](Footprint& f, Range r) { f.writes(a_, r); }));
}

TEST_F(MeetingsTest, BeforeMemoryIsSharedOutInAnotherWay) {
  wanted([&](Footprint& f, Range r) { f.writes(a_, r); });
  EXPECT_TRUE(wanted([&](Footprint& f, Range r) { f.writes(a_, {9 - r.begin, 10 - r.begin}); }));
}

TEST_F(MeetingsTest, OnlyAmongWhatWasTouchedSinceTheLast) {
  wanted([&](Footprint& f, Range r) { f.writes(a_, r); });
  wanted([&](Footprint& f, Range) { f.reads(a_); });
  EXPECT_FALSE(wanted([&](Footprint& f, Range) { f.reads(a_); }));
  EXPECT_FALSE(wanted([&](Footprint& f, Range r) { f.writes(b_, r); }));
}

TEST_F(MeetingsTest, AroundAStepThatStatesNothing) {
  EXPECT_FALSE(wanted([](Footprint&, Range) {}));
  EXPECT_TRUE(wanted([&](Footprint& f, Range r) { f.writes(a_, r); }));
  EXPECT_TRUE(wanted([](Footprint&, Range) {}));
}

TEST_F(MeetingsTest, ColumnsOfSharedRowsCountAsShared) {
  wanted([&](Footprint& f, Range r) {
    f.writes(View(a_.data() + r.begin * 4, a_.dtype(), 10, 10), {0, 9});
  });
  EXPECT_TRUE(wanted([&](Footprint& f, Range r) { f.reads(a_, r); }));
}

}  // namespace
}  // namespace tendon::cpu
