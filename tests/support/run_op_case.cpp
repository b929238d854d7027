#include <cmath>
#include <cstring>

#include "backends/reference/sample.h"
#include "base/error.h"
#include "support/op_cases.h"
#include "support/values.h"

namespace tendon::support {
namespace {

constexpr std::byte kPoison{0xff};  // all bits set: NaN in every floating dtype, -1 in i32
constexpr int kIteration = 2;
// Rows of few elements may differ by a whole unit in the last place.
constexpr double kRowBound = 2.5;

// A result rounded once from a sum in fp32 differs from the reference's by a unit in the last place
// here and there; attention may round its weights to the dtype of the values.
double unit_bound(DType dtype) {
  switch (dtype) {
    case DType::bf16:
      return 4e-3;
    case DType::f16:
      return 5e-4;
    case DType::f32:
      return 1e-5;
    default:
      return 0;
  }
}

double case_bound(const Op& op, const Trace& trace, Value output) {
  double bound = unit_bound(trace.dtype(output));
  if (const auto* attention = std::get_if<ops::Attention>(&op)) {
    bound = std::max(bound, unit_bound(trace.dtype(attention->keys[0].v)));
  }
  // Their definitions round what a kernel need not, or the other way round.
  const bool fused =
      std::holds_alternative<ops::GatedLinear>(op) || std::holds_alternative<ops::QkvRope>(op);
  return fused ? 1.75 * bound : bound;
}

class Comparison {
 public:
  Comparison(const CaseProgram& mine, const Trace& trace)
      : contents_(mine.contents), trace_(trace) {}

  // Buffers after the run.
  std::vector<std::vector<std::byte>> after;

  void poison() {
    for (std::size_t i = 0; i < contents_.size(); ++i) {
      const BufferSpec& spec = trace_.program().buffers[i];
      const std::size_t size = static_cast<std::size_t>(spec.shape.numel()) * size_of(spec.dtype);
      if (contents_[i].empty()) contents_[i].assign(size, kPoison);
    }
  }
  const std::vector<std::vector<std::byte>>& before() const { return contents_; }

  std::vector<float> operand(Value v) const {
    const ValueInfo& info = trace_.info(v);
    if (info.kind == ValueInfo::Kind::iteration) return {kIteration};
    return dense(info, contents_[static_cast<std::size_t>(info.buffer.id)]);
  }
  std::vector<float> output(Value v) const {
    return dense(trace_.info(v), after[static_cast<std::size_t>(trace_.info(v).buffer.id)]);
  }
  // Whether all bytes but those of `written` views are as before.
  bool untouched(const std::vector<Value>& written) const {
    std::vector<std::vector<std::byte>> rest = after;
    for (Value v : written) {
      const ValueInfo& info = trace_.info(v);
      const std::size_t id = static_cast<std::size_t>(info.buffer.id), size = size_of(info.dtype);
      for (std::int64_t at : elements(info)) {
        std::memcpy(rest[id].data() + static_cast<std::size_t>(at) * size,
                    contents_[id].data() + static_cast<std::size_t>(at) * size, size);
      }
    }
    return rest == contents_;
  }

 private:
  std::vector<std::vector<std::byte>> contents_;
  const Trace& trace_;
};

void require_ok(const Status& status) { require(status.ok(), "{}", status.message()); }

void run(Executable& executable, Comparison& comparison) {
  for (std::size_t i = 0; i < comparison.before().size(); ++i) {
    require_ok(executable.write({static_cast<std::int32_t>(i)}, comparison.before()[i]));
  }
  require_ok(executable.run(0, kIteration, 1));
  comparison.after = comparison.before();
  for (std::size_t i = 0; i < comparison.after.size(); ++i) {
    require_ok(executable.read({static_cast<std::int32_t>(i)}, comparison.after[i]));
  }
}

struct Errors {
  double whole = 0, row = 0;
};

Errors errors(const std::vector<float>& out, const Sample& sample) {
  const std::size_t rows = sample.rows.size();
  const std::size_t width = rows > 0 ? sample.expected.size() / rows : 0;
  std::vector<double> off(rows, 0.0), norm(rows, 0.0);
  double off_all = 0, norm_all = 0;
  for (std::size_t r = 0; r < rows; ++r) {
    const float* is = out.data() + static_cast<std::size_t>(sample.rows[r]) * width;
    for (std::size_t i = 0; i < width; ++i) {
      const double wanted = sample.expected[r * width + i];
      off[r] += (is[i] - wanted) * (is[i] - wanted);
      norm[r] += wanted * wanted;
    }
    off_all += off[r];
    norm_all += norm[r];
  }
  const double floor = norm_all / static_cast<double>(std::max<std::size_t>(rows, 1));
  const auto ratio = [](double a, double b) { return a == 0 ? 0.0 : std::sqrt(a / b); };
  Errors e{ratio(off_all, norm_all), 0};
  for (std::size_t r = 0; r < rows; ++r) {
    e.row = std::max(e.row, ratio(off[r], std::max(norm[r], floor)));
  }
  return e;
}

void compare(const Op& op, const Comparison& comparison, const Trace& trace, OpResult& result) {
  const std::vector<Value> outputs = operands(op).outputs;
  require(comparison.untouched(outputs), "elements outside the outputs were written");
  const std::vector<Sample> samples =
      evaluate_sample({.trace = trace, .operand = [&](Value v) { return comparison.operand(v); }});
  for (const Sample& sample : samples) {
    const std::vector<float> out = comparison.output(sample.output);
    for (std::size_t i = 0; i < out.size(); ++i) {
      require(std::isfinite(out[i]), "element {} of {} is {} (not written?)", i,
              trace.shape(sample.output).str(), out[i]);
    }
    const Errors e = errors(out, sample);
    result.error = std::max(result.error, e.whole);
    result.row_error = std::max(result.row_error, e.row);
    result.bound = std::max(result.bound, case_bound(op, trace, sample.output));
    result.row_bound = kRowBound * result.bound;
  }
}

}  // namespace

OpResult run_op_case(const OpCase& op_case, Backend& backend) {
  OpResult result;
  try {
    CaseProgram mine = op_case.make();
    const std::unique_ptr<Executable> executable = backend.compile(std::move(mine.program), {});
    const Trace& trace = executable->program().traces[0];
    Comparison comparison(mine, trace);
    comparison.poison();
    run(*executable, comparison);
    compare(trace.ops()[0], comparison, trace, result);
  } catch (const std::exception& e) {
    result.problem = e.what();
  }
  return result;
}

}  // namespace tendon::support
