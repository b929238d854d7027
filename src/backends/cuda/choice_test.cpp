#include "backends/cuda/choice.h"

#include <gtest/gtest.h>

#include <map>

namespace tendon::cuda {
namespace {

TEST(Choices, TheFastestInItsTraceIsTaken) {
  Program program;
  const Trace first("first", program), second("second", program);
  Choices choices;
  choices.begin(first);
  const Choice& a = choices.add("a", {"slow", "fast", "slower"});
  const Choice& settled = choices.add("settled", {"only"});
  choices.begin(second);
  const Choice& b = choices.add("b", {"fast", "slow"});
  const std::map<std::string, double> taken = {
      {"slow", 2.0}, {"fast", 1.0}, {"slower", 3.0}, {"only", 0.0}};
  int measured = 0;
  const auto seconds = [&] {
    ++measured;
    return taken.at(a.options[a.selected]) + taken.at(b.options[b.selected]);
  };
  EXPECT_TRUE(choices.open(first));
  choices.make(first, seconds);
  EXPECT_EQ(a.options[a.selected], "fast");
  EXPECT_EQ(measured, 3);  // nothing of the other trace, nothing that is settled
  EXPECT_FALSE(choices.open(first));
  EXPECT_TRUE(choices.open(second));
  choices.make(second, seconds);
  EXPECT_EQ(b.options[b.selected], "fast");
  EXPECT_EQ(settled.selected, 0u);
}

TEST(Choices, AreFoundByWhatDecidesTheirSpeed) {
  Program program;
  Choices choices;
  const Trace trace("trace", program);
  choices.begin(trace);
  const Choice& a = choices.add("a", {"x", "y"});
  for (int i = 0; i < 100; ++i) choices.add("other" + std::to_string(i), {"x"});
  EXPECT_EQ(choices.find("a"), &a);  // stays where it is
  EXPECT_EQ(choices.find("b"), nullptr);
}

}  // namespace
}  // namespace tendon::cuda
