#include "backends/cuda/planner.h"

#include <gtest/gtest.h>

namespace tendon::cuda {
namespace {

struct PlannerTest : testing::Test {
  Program program;
  Trace trace{"trace", program};
  Memory memory;
  Shared shared;
  Planner planner{trace, memory, {}, shared};
  Choices choices;
  std::vector<int> launched;

  void launches(int number) {
    planner.launch([this, number](cudaStream_t) { launched.push_back(number); });
  }
};

TEST_F(PlannerTest, AnOptionsLaunchesAreItsOwn) {
  const Choice& choice = choices.add("a", {"x", "y"});
  launches(1);
  const std::vector<Launch> apart = planner.apart(choice, 0, [&] { launches(2), launches(3); });
  launches(4);
  for (const Planner::Planned& p : planner.take()) p.launch(nullptr);
  EXPECT_EQ(launched, (std::vector<int>{1, 4}));
  for (const Launch& launch : apart) launch(nullptr);
  EXPECT_EQ(launched, (std::vector<int>{1, 4, 2, 3}));
}

TEST_F(PlannerTest, TemporaryMemoryIsWhatTheSelectedOptionsNeed) {
  choices.begin(trace);
  const Choice& outer = choices.add("outer", {"x", "y"});
  const Choice& inner = choices.add("inner", {"x", "y"});
  planner.begin(0);
  EXPECT_EQ(planner.scratch(1).offset, 0u);
  planner.apart(outer, 0, [&] {
    EXPECT_EQ(planner.scratch(1000).offset, 256u);
    planner.apart(inner, 1, [&] { EXPECT_EQ(planner.scratch(5000).offset, 256u + 1024u); });
  });
  // Options of one op never run together.
  planner.apart(outer, 1, [&] { EXPECT_EQ(planner.scratch(512).offset, 256u); });
  EXPECT_EQ(planner.scratch(256).offset, 256u);
  planner.begin(1);
  EXPECT_EQ(planner.scratch(600).offset, 0u);
  EXPECT_EQ(most_scratch(shared), 256u + 1024u + 5120u);
  EXPECT_EQ(selected_scratch(shared), 256u + 1024u);
  choices.make(
      trace, [&] { return outer.selected == 0 ? 2.0 - static_cast<double>(inner.selected) : 1.5; });
  EXPECT_EQ(outer.selected, 1u);
  EXPECT_EQ(selected_scratch(shared), 768u);
}

}  // namespace
}  // namespace tendon::cuda
