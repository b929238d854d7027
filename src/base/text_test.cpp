#include "base/text.h"

#include <gtest/gtest.h>

namespace tendon {
namespace {

using Captures = std::vector<std::string>;

TEST(Text, GlobsMatchWholeNames) {
  EXPECT_TRUE(glob_match("a.b", "a.b"));
  EXPECT_FALSE(glob_match("a.b", "a.bc"));
  EXPECT_TRUE(glob_match("*", ""));
  EXPECT_TRUE(glob_match("*.w", "a.b.w"));
  EXPECT_FALSE(glob_match("*.w", "w"));
  EXPECT_TRUE(glob_match("l.*.norm*.w", "l.3.x.norm1.w"));
  EXPECT_TRUE(glob_match("a**b", "ab"));
  EXPECT_FALSE(glob_match("a?b", "axb"));
  EXPECT_TRUE(glob_match("*aab", "aaaab"));
  EXPECT_FALSE(glob_match("", "a"));
  EXPECT_TRUE(glob_match("", ""));
  const std::vector<std::string> some = {"x", "a*"};
  EXPECT_TRUE(glob_match_any(some, "abc"));
  EXPECT_FALSE(glob_match_any(some, "bc"));
}

TEST(Text, HostilePatternsEndSoon) {
  std::string pattern;
  for (int i = 0; i < 200; ++i) pattern += "*a";
  EXPECT_FALSE(glob_match(pattern + "b", std::string(5000, 'a')));
}

TEST(Text, CapturesAreShortestFirst) {
  EXPECT_EQ(glob_captures("l.*.b.*.*", "l.12.b.x.y.z"), (Captures{"12", "x", "y.z"}));
  EXPECT_EQ(glob_captures("*", ""), (Captures{""}));
  EXPECT_EQ(glob_captures("a.*", "a."), (Captures{""}));
  EXPECT_EQ(glob_captures("**", "ab"), (Captures{"", "ab"}));
  EXPECT_EQ(glob_captures("a", "a"), Captures{});
  EXPECT_EQ(glob_captures("a", "b"), std::nullopt);
}

TEST(Text, NamesFromFilesAreFitToPrint) {
  EXPECT_EQ(printable("a\nb\x7f"), "a?b?");
  EXPECT_EQ(printable(std::string(300, 'x')).size(), 203u);
  const std::vector<std::string> names = {"a", "b", "c"};
  EXPECT_EQ(list_some(names, 3), "a, b, c");
  EXPECT_EQ(list_some(names, 2), "a, b and 1 more");
}

}  // namespace
}  // namespace tendon
