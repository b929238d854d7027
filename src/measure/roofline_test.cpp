#include "measure/roofline.h"

#include <gtest/gtest.h>

#include "tendon/error.h"

namespace tendon::measure {
namespace {

Executable::StepTime step(std::string op, std::string label, double seconds, Cost cost) {
  return {.op = std::move(op), .label = std::move(label), .seconds = seconds, .cost = cost};
}

constexpr Limits kLimits{.flops = 100, .bytes = 10};

TEST(Roofline, LayersShareARow) {
  const std::vector<Executable::StepTime> steps = {
      step("linear", "prefix.0.o_proj", 2, {.flops = 100, .bytes = 1}),
      step("linear", "prefix.11.o_proj", 2, {.flops = 100, .bytes = 1}),
      step("linear", "prefix.0.k2_proj", 1, {.flops = 1, .bytes = 5}),
      step("add", "prefix.0.o_proj", 1, {.flops = 0, .bytes = 10}),
  };
  const std::vector<RooflineRow> rows = roofline(steps, kLimits);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].label, "prefix.#.o_proj");
  EXPECT_EQ(rows[0].count, 2);
  EXPECT_DOUBLE_EQ(rows[0].floor, 2);  // compute-bound
  EXPECT_DOUBLE_EQ(rows[0].share(), 0.5);
  EXPECT_EQ(rows[1].label, "prefix.#.k2_proj");
  EXPECT_DOUBLE_EQ(rows[1].floor, 0.5);  // memory-bound
  EXPECT_DOUBLE_EQ(rows[2].share(), 1.0);
  const RooflineRow sum = total(rows);
  EXPECT_EQ(sum.count, 4);
  EXPECT_DOUBLE_EQ(sum.seconds, 6);
  EXPECT_DOUBLE_EQ(sum.floor, 3.5);
}

TEST(Roofline, RunsMultiply) {
  const std::vector<Executable::StepTime> steps = {step("add", "a", 1, {.flops = 0, .bytes = 10})};
  const std::vector<RooflineRow> rows = roofline(steps, kLimits, 10);
  EXPECT_EQ(rows[0].count, 10);
  EXPECT_DOUBLE_EQ(rows[0].seconds, 10);
  EXPECT_DOUBLE_EQ(rows[0].share(), 1);
}

TEST(Roofline, TableHasARowForEachAndTheSum) {
  const std::vector<Executable::StepTime> steps = {step("linear", "a.1.b", 2e-3, {200, 4}),
                                                   step("copy", "", 0, {0, 4})};
  const std::vector<RooflineRow> rows = roofline(steps, kLimits);
  const std::string text = roofline_table(rows);
  EXPECT_NE(text.find("linear  a.#.b      1  2.00 ms"), std::string::npos) << text;
  EXPECT_NE(text.find("total"), std::string::npos);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4);
}

TEST(Roofline, RefusesLimitsThatWereNotMeasured) { EXPECT_THROW(roofline({}, Limits{}), Error); }

}  // namespace
}  // namespace tendon::measure
