#include "measure/ceilings.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "base/rng.h"
#include "measure/timing.h"

namespace tendon::measure {
namespace {

void check_status(const Status& status) {
  require(status.ok(), "ceilings: the backend failed: {}", status.message());
}

// Values of about unit size: zeros would flatter hardware that saves power on them.
Weight generated(const std::string& name, const Shape& shape, DType working) {
  Weight weight;
  weight.name = name;
  weight.shape = shape;
  weight.format = working == DType::bf16 ? Format::bf16 : Format::f32;
  const std::int64_t width = shape[1];
  weight.read = [width](std::int64_t first, std::int64_t count, float* out) {
    for (std::int64_t i = 0; i < count * width; ++i) {
      out[i] = unit_from_bits(synthetic_bits(1, static_cast<std::uint64_t>(first * width + i)));
    }
  };
  return weight;
}

class Bench {
 public:
  Bench(Backend& backend, const CeilingOptions& options) : options_(options) {
    auto program = std::make_unique<Program>();
    for (std::size_t i = 0; i < options.wide.size(); ++i) {
      add_products(*program, fmt::format("wide.{}", i), options.wide_rows, {options.wide[i]});
    }
    add_products(*program, "thin", options.thin_rows,
                 std::vector<Shape>(static_cast<std::size_t>(options.thin_weights), options.thin));
    add_copy(*program);
    executable_ = backend.compile(std::move(program), {.threads = options.threads, .progress = {}});
    fill_inputs();
  }

  // Seconds of the best run of a trace.
  double best(std::size_t trace) {
    const auto call = [&] {
      check_status(executable_->run(trace));
      check_status(executable_->wait());
    };
    const Repetition repetition{
        .warm_up = 2, .least = 5, .most = 10000, .seconds = options_.seconds};
    return percentiles(time_calls(call, repetition)).min;
  }

  Cost work(std::size_t trace) const {
    const Trace& t = executable_->program().traces.at(trace);
    Cost sum;
    for (const Op& op : t.ops()) {
      const Cost c = cost(op, t);
      sum.flops += c.flops;
      sum.bytes += c.bytes;
    }
    return sum;
  }

  double weight_bytes() const {
    const double element = static_cast<double>(size_of(options_.working));
    return element * static_cast<double>(options_.thin.numel() * options_.thin_weights);
  }

 private:
  // x [rows, K] times each weight in turn.
  void add_products(Program& program, const std::string& name, std::int64_t rows,
                    const std::vector<Shape>& weights) {
    const Shape x_shape{rows, weights.front()[1]};
    const BufferRef x =
        program.add(BufferSpec{.name = name + ".x", .dtype = options_.working, .shape = x_shape});
    inputs_.push_back(x);
    Trace trace(name, program);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const WeightRef w =
          program.add(generated(fmt::format("{}.{}", name, i), weights[i], options_.working));
      trace.add(ops::Linear{.x = trace.buffer(x),
                            .weight = w,
                            .bias = {},
                            .act = Act::none,
                            .gate = {},
                            .residual = {},
                            .out = trace.make(options_.working, {rows, weights[i][0]})},
                fmt::format("{}.{}", name, i));
    }
    program.traces.push_back(std::move(trace));
  }

  void add_copy(Program& program) {
    const Shape shape{options_.copy_elements / 1024, 1024};
    const auto spec = [&](const char* name) {
      return BufferSpec{.name = name, .dtype = DType::f32, .shape = shape};
    };
    const BufferRef from = program.add(spec("copy.x")), to = program.add(spec("copy.out"));
    Trace trace("copy", program);
    trace.add(ops::Copy{.x = trace.buffer(from), .out = trace.buffer(to)}, "copy");
    program.traces.push_back(std::move(trace));
  }

  void fill_inputs() {
    for (BufferRef ref : inputs_) {
      const BufferSpec& spec = executable_->program().buffer(ref);
      const auto count = static_cast<std::size_t>(spec.shape.numel());
      std::vector<std::byte> bytes(count * size_of(spec.dtype));
      for (std::size_t i = 0; i < count; ++i) {
        const float value = unit_from_bits(synthetic_bits(2, i));
        const std::uint16_t half = f32_to_bf16(value);
        std::byte* to = bytes.data() + i * size_of(spec.dtype);
        if (spec.dtype == DType::bf16) {
          std::memcpy(to, &half, sizeof half);
        } else {
          std::memcpy(to, &value, sizeof value);
        }
      }
      check_status(executable_->write(ref, bytes));
    }
  }

  CeilingOptions options_;
  std::vector<BufferRef> inputs_;
  std::unique_ptr<Executable> executable_;
};

void check_options(const CeilingOptions& o) {
  require(o.working == DType::bf16 || o.working == DType::f32, "ceilings: f32 or bf16, got {}",
          name(o.working));
  require(!o.wide.empty() && o.thin_weights > 0 && o.wide_rows > 0 && o.thin_rows > 0,
          "ceilings: at least one product of each kind, of at least one row");
  require(o.copy_elements >= 1024, "ceilings: 1024 elements to copy at least, got {}",
          o.copy_elements);
}

}  // namespace

Ceilings measure_ceilings(Backend& backend, const CeilingOptions& options) {
  check_options(options);
  Bench bench(backend, options);
  Ceilings found;
  for (std::size_t i = 0; i < options.wide.size(); ++i) {
    found.flops = std::max(found.flops, bench.work(i).flops / bench.best(i));
  }
  const std::size_t thin = options.wide.size(), copy = thin + 1;
  const double thin_seconds = bench.best(thin);
  found.thin_flops = bench.work(thin).flops / thin_seconds;
  found.stream = bench.weight_bytes() / thin_seconds;
  found.copy = bench.work(copy).bytes / bench.best(copy);
  return found;
}

}  // namespace tendon::measure
