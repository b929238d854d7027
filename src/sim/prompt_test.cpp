#include "sim/prompt.h"

#include <gtest/gtest.h>

namespace tendon::sim {
namespace {

using Colours = std::vector<int>;

TEST(Prompt, FindsColoursAsWords) {
  EXPECT_EQ(colours_in("pick up the green block"), Colours{1});
  EXPECT_EQ(colours_in("the blue one, not the red"), (Colours{2, 0}));
  EXPECT_EQ(colours_in("a scared redhead greenish"), Colours{});
  EXPECT_EQ(colours_in("red"), Colours{0});
  EXPECT_EQ(colours_in(""), Colours{});
}

TEST(Prompt, FindsTheVerb) {
  for (const Verb verb : {Verb::pick, Verb::push, Verb::stack}) {
    for (const std::string_view wording : wordings(verb)) EXPECT_EQ(verb_in(wording), verb);
  }
  EXPECT_EQ(verb_in("pick up the red block on the table"), Verb::pick);
  EXPECT_EQ(verb_in("put the red block on the green block"), Verb::stack);
}

TEST(Prompt, NamesTheCubeItsWordsSay) {
  const Episode drawn = draw_episode({}, 8, 0);
  Episode episode = drawn;
  Instruction told = instruct(episode, "lift the {colour} cube", 0);
  EXPECT_EQ(told.named, drawn.target);
  EXPECT_EQ(colours_in(told.text), Colours{drawn.cubes[drawn.target].colour});
  for (int number = 0; number < 2; ++number) {
    told = instruct(episode, "lift the {other} cube", number);
    EXPECT_NE(told.named, drawn.target);
    EXPECT_EQ(colours_in(told.text), Colours{drawn.cubes[told.named].colour});
  }
  told = instruct(episode, "lift the {absent} cube", 0);
  EXPECT_EQ(told.named, -1);
  EXPECT_EQ(cube_of_colour(drawn, colours_in(told.text).at(0)), -1);
  const int missing = colours_in(told.text)[0];
  told = instruct(episode, "lift the " + std::string(kColourNames[missing]) + " cube", 0);
  EXPECT_EQ(episode.cubes[told.named].colour, missing);
  EXPECT_EQ(told.named, episode.target);
}

TEST(Prompt, NamesWhereACubeIsToGo) {
  const Episode drawn = draw_episode({.task = Task::blocks, .verb = Verb::stack}, 8, 0);
  Episode episode = drawn;
  Instruction told = instruct(episode, "put the {colour} block on the {base} block", 0);
  EXPECT_EQ(colours_in(told.text),
            (Colours{drawn.cubes[drawn.target].colour, drawn.cubes[drawn.base].colour}));
  told = instruct(episode, "put the {other} block on the {base} block", 0);
  EXPECT_NE(told.named, drawn.base);
  told = instruct(episode, "put the yellow block on the red block", 0);
  EXPECT_EQ(episode.cubes[episode.target].colour, 3);
  EXPECT_EQ(episode.cubes[episode.base].colour, 0);
}

}  // namespace
}  // namespace tendon::sim
