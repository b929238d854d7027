// Every op at every shape of bench/shapes.h and in every mix of dtypes, and the comparison of a
// backend with the reference. Tests, accelerator acceptance and benchmarks go over the same list.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ops/backend.h"
#include "support/case_builder.h"

namespace tendon::support {

struct OpCase {
  std::string name;  // "linear/pi05_vision_qkv/bf16"
  CaseDtypes dtypes;
  std::function<void(CaseBuilder&)> record;
  Cost cost;

  std::string_view op() const { return std::string_view(name).substr(0, name.find('/')); }
  bool large() const { return size() > 1; }
  double size() const;  // in units of the largest that tests run
  CaseProgram make() const;
};

std::vector<OpCase> op_cases();

// Errors are relative: ||out - reference|| / ||reference||, over an output, and over its worst row
// (there at least the mean norm of a row divides). The larger one where an op has several outputs.
struct OpResult {
  double error = 0, bound = 0;
  double row_error = 0, row_bound = 0;
  std::string problem;  // a sentence where the comparison could not be made; else empty
  bool passed() const { return problem.empty() && error <= bound && row_error <= row_bound; }
};

// Fills the outputs with NaN, runs the case, and compares with the fp64 reference: everywhere, or
// at sampled places where the op is large. Elements around a view must stay as they were.
// `iteration` is 2 in the run.
OpResult run_op_case(const OpCase& op_case, Backend& backend);

}  // namespace tendon::support
