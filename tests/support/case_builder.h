// Records one op of a test or benchmark case with operands of pseudo-random content.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/shapes.h"
#include "ops/trace.h"

namespace tendon::support {

struct CaseDtypes {
  const char* name;
  DType in = DType::f32, out = DType::f32;
  Format weights = Format::f32;
};

// A program of one trace with one op. Every operand is a buffer.
struct CaseProgram {
  std::unique_ptr<Program> program;
  // By buffer: what it holds before the run; empty where only the op writes it.
  std::vector<std::vector<std::byte>> contents;
  std::deque<std::vector<std::byte>> storage;  // of tables used in place; outlives the program
};

class CaseBuilder {
 public:
  // Whether contents are made: not, where only the trace is looked at.
  enum class Fill : std::uint8_t { skip, make };
  CaseBuilder(std::string name, const CaseDtypes& dtypes, Fill fill);

  const CaseDtypes& dtypes() const { return dtypes_; }
  Trace& trace() { return made_.program->traces[0]; }
  void layout(shapes::Layout layout) { layout_ = layout; }

  // Views in the current layout. [.., D], or heads [B, S, H, Dh].
  Value input(const Shape& shape) { return view(dtypes_.in, shape, Role::input); }
  Value output(const Shape& shape) { return view(dtypes_.out, shape, Role::output); }
  Value in_place(const Shape& shape) { return view(dtypes_.out, shape, Role::input); }
  Value input_heads(const Shape& shape) { return heads(dtypes_.in, shape, Role::input); }
  Value output_heads(const Shape& shape) { return heads(dtypes_.out, shape, Role::output); }

  // Dense.
  Value reals(const Shape& shape);  // f32
  Value integers(const Shape& shape, const std::function<std::int64_t(std::int64_t)>& element);
  Value integers_out(const Shape& shape);
  // Elements of a dtype as given; `make` is asked only where contents are made.
  Value given(DType dtype, const Shape& shape, const std::function<std::vector<float>()>& make);

  enum class Index : std::uint8_t { none, by_sample, by_row, iteration };
  // `width` columns from the middle of a table of kTableRows rows, for an output of B x S rows.
  RowTable table(std::int64_t width, Index index, std::int64_t B, std::int64_t S);

  WeightRef matrix(const Shape& shape);  // [N, ..], keeps unit inputs at unit size
  WeightRef bias(std::int64_t width);    // 0.1 u
  WeightRef factor(std::int64_t width);  // 1 + 0.1 u
  // A table for Embed; raw is set unless `raw_dtype` is f64, which no table has.
  WeightRef embedding(const Shape& shape, DType raw_dtype);

  CaseProgram take() { return std::move(made_); }

  static constexpr std::int64_t kTableRows = 5;

 private:
  enum class Role : std::uint8_t { input, output };
  BufferRef buffer(DType dtype, const Shape& shape, Role role);
  Value view(DType dtype, const Shape& shape, Role role);
  Value heads(DType dtype, const Shape& shape, Role role);
  std::string next_name();

  std::string name_;
  CaseDtypes dtypes_;
  Fill fill_;
  shapes::Layout layout_ = shapes::Layout::dense;
  CaseProgram made_;
  int names_ = 0;
};

}  // namespace tendon::support
