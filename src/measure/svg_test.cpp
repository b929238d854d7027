#include "measure/svg.h"

#include <gtest/gtest.h>

#include <cmath>
#include <regex>

#include "tendon/error.h"

namespace tendon::measure {
namespace {

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

Plot one_curve(std::vector<double> y) {
  Curve curve;
  for (std::size_t i = 0; i < y.size(); ++i) curve.x.push_back(static_cast<double>(i));
  curve.y = std::move(y);
  return {.title = "t", .subtitle = "", .x_label = "x", .panels = {{"p", {curve}}}};
}

// Every opened element is closed, in order.
bool well_formed(const std::string& text) {
  std::vector<std::string> open;
  const std::regex tag("<(/?)([a-z]+)([^<>]*?)(/?)>");
  for (std::sregex_iterator it(text.begin(), text.end(), tag), end; it != end; ++it) {
    const std::smatch& m = *it;
    if (m[1].length()) {
      if (open.empty() || open.back() != m[2]) return false;
      open.pop_back();
    } else if (!m[4].length()) {
      open.push_back(m[2]);
    }
  }
  return open.empty();
}

TEST(Svg, OnePanelForEachActionDimension) {
  const std::vector<double> actions{0, 10, 1, 11, 2, 12};  // 3 rows of 2
  const ChunkView view{.actions = actions, .width = 2, .control_hz = 0, .names = {"x <m>"}};
  Plot plot = chunk_plot(view);
  plot.title = "a & b";
  ASSERT_EQ(plot.panels.size(), 2u);
  EXPECT_EQ(plot.panels[0].curves[0].y, (std::vector<double>{0, 1, 2}));
  EXPECT_EQ(plot.panels[1].curves[0].y, (std::vector<double>{10, 11, 12}));
  EXPECT_EQ(plot.x_label, "tick");
  const std::string text = svg(plot);
  EXPECT_EQ(count(text, "class=\"line\""), 2u);
  EXPECT_EQ(count(text, "<circle"), 6u);
  EXPECT_NE(text.find("x &lt;m&gt;"), std::string::npos);
  EXPECT_NE(text.find("action 1"), std::string::npos);
  EXPECT_NE(text.find("a &amp; b"), std::string::npos);
  EXPECT_TRUE(well_formed(text));
}

TEST(Svg, SecondsWhereTheRateIsKnown) {
  const std::vector<double> actions{1, 2, 3};
  const Plot plot = chunk_plot({.actions = actions, .width = 1, .control_hz = 20, .names = {}});
  EXPECT_EQ(plot.x_label, "seconds");
  EXPECT_DOUBLE_EQ(plot.panels[0].curves[0].x[2], 0.1);
}

TEST(Svg, HigherValuesAreHigherUp) {
  const std::string text = svg(one_curve({0, 1}));
  std::smatch m;
  ASSERT_TRUE(
      std::regex_search(text, m, std::regex("d=\"M([0-9.]+) ([0-9.]+)L([0-9.]+) ([0-9.]+)\"")));
  EXPECT_LT(std::stod(m[1]), std::stod(m[3]));
  EXPECT_GT(std::stod(m[2]), std::stod(m[4]));
}

TEST(Svg, ConstantCurveIsDrawnInTheMiddle) {
  const std::string text = svg(one_curve({5, 5, 5}));
  EXPECT_EQ(text.find("nan"), std::string::npos);
  EXPECT_EQ(text.find("inf"), std::string::npos);
  EXPECT_EQ(count(text, "class=\"line\""), 1u);
}

TEST(Svg, ValueThatIsNotFiniteInterruptsTheLine) {
  const std::string text = svg(one_curve({0, 1, std::nan(""), 1, 0}));
  std::smatch m;
  ASSERT_TRUE(std::regex_search(text, m, std::regex("stroke=\"#0072b2\" d=\"([^\"]*)\"")));
  EXPECT_EQ(count(m[1], "M"), 2u);
  EXPECT_EQ(count(text, "<circle"), 4u);
  EXPECT_EQ(text.find("nan"), std::string::npos);
}

TEST(Svg, NothingFinite) {
  const std::string text = svg(one_curve({std::nan(""), INFINITY}));
  EXPECT_EQ(count(text, "class=\"line\""), 0u);
  EXPECT_TRUE(well_formed(text));
}

TEST(Svg, RoundTicks) {
  const std::string text = svg(one_curve({-1, 1}));
  for (const char* tick : {">-1<", ">0<", ">1<"}) {
    EXPECT_NE(text.find(tick), std::string::npos) << tick;
  }
  EXPECT_EQ(text.find(">-0<"), std::string::npos);
}

TEST(Svg, Refuses) {
  EXPECT_THROW(svg(Plot{}), Error);
  Plot bad = one_curve({1, 2});
  bad.panels[0].curves[0].x.pop_back();
  EXPECT_THROW(svg(bad), Error);
  const std::vector<double> five(5, 0.0);
  EXPECT_THROW(chunk_plot({.actions = five, .width = 2, .control_hz = 0, .names = {}}), Error);
}

}  // namespace
}  // namespace tendon::measure
