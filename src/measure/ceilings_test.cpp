#include "measure/ceilings.h"

#include <gtest/gtest.h>

#include "backends/reference/reference.h"
#include "tendon/error.h"

namespace tendon::measure {
namespace {

CeilingOptions small() {
  return {.working = DType::bf16,
          .threads = 1,
          .wide_rows = 8,
          .wide = {{16, 32}, {32, 16}},
          .thin_rows = 2,
          .thin = {16, 8},
          .thin_weights = 3,
          .copy_elements = 2048,
          .seconds = 0};
}

TEST(Ceilings, EveryFigureIsMeasured) {
  const auto backend = make_reference();
  for (DType working : {DType::bf16, DType::f32}) {
    CeilingOptions options = small();
    options.working = working;
    const Ceilings found = measure_ceilings(*backend, options);
    EXPECT_GT(found.flops, 0);
    EXPECT_GT(found.thin_flops, 0);
    EXPECT_GT(found.stream, 0);
    EXPECT_GT(found.copy, 0);
    EXPECT_GE(found.bandwidth(), found.stream);
    EXPECT_GE(found.bandwidth(), found.copy);
    // 2 rows: 4 FLOP for each weight element.
    const double element = static_cast<double>(size_of(working));
    EXPECT_NEAR(found.thin_flops / found.stream, 4 / element, 1e-9);
  }
}

TEST(Ceilings, RefusesSizesThatMeasureNothing) {
  const auto backend = make_reference();
  CeilingOptions none = small(), integers = small(), tiny = small();
  none.wide.clear();
  integers.working = DType::i32;
  tiny.copy_elements = 10;
  EXPECT_THROW(measure_ceilings(*backend, none), Error);
  EXPECT_THROW(measure_ceilings(*backend, integers), Error);
  EXPECT_THROW(measure_ceilings(*backend, tiny), Error);
}

}  // namespace
}  // namespace tendon::measure
