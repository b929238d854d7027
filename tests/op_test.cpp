// Every op on every backend of this machine against the fp64 reference.
#include <gtest/gtest.h>

#include <array>

#include "backends/cpu/cpu.h"
#include "backends/reference/reference.h"
#include "support/op_cases.h"

namespace tendon {
namespace {

using support::OpCase;
using support::OpResult;

// All cases of one op, which is what one test goes over.
std::vector<OpCase> cases_of(std::string_view op) {
  std::vector<OpCase> some = support::op_cases();
  std::erase_if(some, [&](const OpCase& c) { return c.op() != op || c.large(); });
  return some;
}

std::vector<std::string> op_names() {
  std::vector<std::string> names;
  for (const OpCase& c : support::op_cases()) {
    if (names.empty() || names.back() != c.op()) names.emplace_back(c.op());
  }
  return names;
}

void expect_all(std::string_view op, Backend& backend) {
  const std::vector<OpCase> cases = cases_of(op);
  ASSERT_FALSE(cases.empty());
  for (const OpCase& c : cases) {
    const OpResult r = support::run_op_case(c, backend);
    EXPECT_TRUE(r.passed()) << backend.name() << " " << c.name << ": error " << r.error << " of "
                            << r.bound << ", of a row " << r.row_error << " of " << r.row_bound
                            << (r.problem.empty() ? "" : ": ") << r.problem;
  }
}

class OpTest : public testing::TestWithParam<std::string> {};

TEST_P(OpTest, ReferenceInFp32) {
  expect_all(GetParam(), *make_reference({.accumulate = Accumulate::f32}));
}

TEST_P(OpTest, Cpu) { expect_all(GetParam(), *make_cpu()); }

INSTANTIATE_TEST_SUITE_P(Ops, OpTest, testing::ValuesIn(op_names()),
                         [](const auto& info) { return info.param; });

TEST(OpCasesTest, CoverEveryOp) {
  std::array<bool, std::variant_size_v<Op>> seen{};
  for (const OpCase& c : support::op_cases()) {
    support::CaseBuilder builder(c.name, c.dtypes, support::CaseBuilder::Fill::skip);
    c.record(builder);
    const Op& op = builder.trace().ops()[0];
    EXPECT_EQ(c.op(), name(op)) << c.name;
    if (!c.large()) seen[op.index()] = true;
  }
  for (std::size_t i = 0; i < seen.size(); ++i) EXPECT_TRUE(seen[i]) << "op number " << i;
}

}  // namespace
}  // namespace tendon
