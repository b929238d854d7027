// The comparison itself: it must see every way in which a backend can be wrong.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "backends/reference/reference.h"
#include "support/forwarding.h"
#include "support/op_cases.h"

namespace tendon {
namespace {

using support::OpCase;
using support::OpResult;

// What a fault does to a buffer's bytes when they are read back.
using Fault = std::function<void(const BufferSpec&, std::span<std::byte>)>;

class FaultyExecutable final : public support::Forwarding {
 public:
  FaultyExecutable(std::unique_ptr<Executable> good, Fault fault)
      : Forwarding(std::move(good)), fault_(std::move(fault)) {}
  Status read(BufferRef b, std::span<std::byte> data, std::size_t at) noexcept override {
    const Status status = Forwarding::read(b, data, at);
    fault_(program().buffer(b), data);
    return status;
  }

 private:
  Fault fault_;
};

class FaultyBackend final : public Backend {
 public:
  explicit FaultyBackend(Fault fault) : fault_(std::move(fault)) {}
  std::string_view name() const override { return "faulty"; }
  std::string description() const override { return "the reference with a fault"; }
  std::unique_ptr<Executable> compile(std::unique_ptr<Program> program,
                                      const CompileOptions& options) override {
    return std::make_unique<FaultyExecutable>(
        make_reference()->compile(std::move(program), options), fault_);
  }

 private:
  Fault fault_;
};

OpCase find(std::string_view name) {
  for (OpCase& c : support::op_cases()) {
    if (c.name == name) return c;
  }
  ADD_FAILURE() << "no case " << name;
  return {};
}

// Changes element `at` of the case's output with `change`.
Fault change_output(std::size_t at, std::function<float(float)> change) {
  return [at, change](const BufferSpec& spec, std::span<std::byte> data) {
    if (!spec.name.ends_with(".2")) return;
    float x;
    std::memcpy(&x, data.data() + at * sizeof x, sizeof x);
    x = change(x);
    std::memcpy(data.data() + at * sizeof x, &x, sizeof x);
  };
}

OpResult run(std::string_view name, Fault fault) {
  FaultyBackend backend(std::move(fault));
  return support::run_op_case(find(name), backend);
}

// gated_act/columns: buffers 0, 1 gate and up, 2 out, [2, 5, 8 + 24 + 8] with columns 8 to 31
// written.
constexpr std::string_view kCase = "gated_act/columns/f32";

TEST(RunOpCaseTest, PassesWhereNothingIsWrong) {
  const OpResult r = run(kCase, [](const BufferSpec&, std::span<std::byte>) {});
  EXPECT_TRUE(r.passed()) << r.problem;
  EXPECT_EQ(r.error, 0);
}

TEST(RunOpCaseTest, SeesOneWrongElement) {
  const OpResult r = run(kCase, change_output(8, [](float x) { return x + 0.1f; }));
  EXPECT_FALSE(r.passed());
  EXPECT_EQ(r.problem, "");
  EXPECT_GT(r.row_error, r.row_bound);
}

TEST(RunOpCaseTest, SeesAnElementThatNobodyWrote) {
  const OpResult r = run(kCase, change_output(8, [](float) { return std::nanf(""); }));
  EXPECT_NE(r.problem.find("not written?"), std::string::npos) << r.problem;
}

TEST(RunOpCaseTest, SeesAWriteBesideTheView) {
  const OpResult r = run(kCase, change_output(7, [](float) { return 0.0f; }));
  EXPECT_EQ(r.problem, "elements outside the outputs were written");
}

TEST(RunOpCaseTest, SeesAnOperandWrittenOver) {
  const OpResult r = run(kCase, [](const BufferSpec& spec, std::span<std::byte> data) {
    if (spec.name.ends_with(".0")) data[0] ^= std::byte{1};
  });
  EXPECT_EQ(r.problem, "elements outside the outputs were written");
}

TEST(RunOpCaseTest, SeesRoundingThatShouldNotBe) {
  const OpResult r =
      run("gated_act/odd/f32", [](const BufferSpec& spec, std::span<std::byte> data) {
        if (!spec.name.ends_with(".2")) return;
        for (std::size_t i = 0; i < data.size(); i += 4) data[i] = data[i + 1] = std::byte{0};
      });
  EXPECT_EQ(r.problem, "");
  EXPECT_GT(r.error, r.bound);
}

}  // namespace
}  // namespace tendon
