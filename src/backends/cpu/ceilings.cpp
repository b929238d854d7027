#include "backends/cpu/ceilings.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "backends/cpu/memory.h"
#include "backends/cpu/onednn.h"
#include "backends/cpu/threads.h"
#include "base/error.h"
#include "base/parallel.h"

namespace tendon {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void require_ok(const Status& status) { require(status.ok(), "{}", status.message()); }

// Multiples of 2^-7 in [-1, 1): what they are does not matter, only that none is denormal.
void fill(std::int64_t first, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<float>((first + i) * 37 % 256 - 128) / 128.0f;
  }
}

std::unique_ptr<Program> product_program(const ProductShape& shape, DType dtype) {
  auto program = std::make_unique<Program>();
  const BufferRef x = program->add(BufferSpec{"x", dtype, {shape.rows, shape.k}});
  const BufferRef y = program->add(BufferSpec{"y", dtype, {shape.rows, shape.n}});
  Trace& trace = program->traces.emplace_back("products", *program);
  for (int i = 0; i < shape.copies; ++i) {
    Weight w;
    w.name = "w";
    w.shape = {shape.n, shape.k};
    w.format = dtype == DType::bf16 ? Format::bf16 : Format::f32;
    w.read = [k = shape.k](std::int64_t first, std::int64_t count, float* out) {
      fill(first * k, count * k, out);
    };
    trace.add(ops::Linear{
        .x = trace.buffer(x), .weight = program->add(std::move(w)), .out = trace.buffer(y)});
  }
  return program;
}

double measure_stream(int threads) {
  const cpu::Memory memory(std::size_t{512} << 20);  // more than most last-level caches
  auto* words = reinterpret_cast<std::uint64_t*>(memory.data());
  const auto count = static_cast<std::int64_t>(memory.bytes() / 8);
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(threads));
  Team team(threads);
  team.start();
  cpu::spread(team, count, [&](std::int64_t begin, std::int64_t end) {
    std::fill(words + begin, words + end, std::uint64_t{1});
  });
  double best = 0;
  for (int repetition = 0; repetition < 6; ++repetition) {
    const std::int64_t ahead = repetition % 2 == 0 ? 0 : 1024;
    const Clock::time_point start = Clock::now();
    team.run(1, [&](int, int part) {
      const cpu::Range mine = cpu::share(count, part, threads);
      std::uint64_t s[8] = {};
      // A word of each line brings all of it. Asking 8 KB ahead, as products do, is faster on some
      // machines and slower on others.
      for (std::int64_t i = mine.begin; i + 64 <= mine.end; i += 64) {
        for (int j = 0; j < 8; ++j) {
          __builtin_prefetch(words + i + ahead + 8 * j, 0, 2);
          s[j] += words[i + 8 * j];
        }
      }
      for (const std::uint64_t sum : s) sums[static_cast<std::size_t>(part)] += sum;
    });
    best = std::max(best, static_cast<double>(memory.bytes()) / seconds_since(start));
  }
  require(sums[0] != 0, "cpu: the memory measurement read nothing");
  return best;
}

// The better of our kernels and oneDNN.
ProductRate best_rate(const ProductShape& shape, DType dtype, int threads) {
  ProductRate best = measure_product(shape, dtype, {.products = CpuProducts::own}, threads);
  if (dtype != DType::bf16 || cpu::onednn::multiplies_bf16()) {
    const ProductRate other =
        measure_product(shape, dtype, {.products = CpuProducts::onednn}, threads);
    if (other.flops > best.flops) best = other;
  }
  return best;
}

}  // namespace

bool library_multiplies_bf16() { return cpu::onednn::multiplies_bf16(); }

ProductRate measure_product(const ProductShape& shape, DType dtype, const CpuOptions& options,
                            int threads, int repetitions) {
  const auto executable =
      make_cpu(options)->compile(product_program(shape, dtype), {.threads = threads});
  std::vector<std::byte> x(static_cast<std::size_t>(shape.rows * shape.k) * size_of(dtype));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = i % 2 ? std::byte{0x3f} : std::byte{0x80};
  require_ok(executable->write({0}, x));
  std::vector<double> seconds;
  for (int i = 0; i <= repetitions; ++i) {
    const Clock::time_point start = Clock::now();
    require_ok(executable->run(0));
    if (i > 0) seconds.push_back(seconds_since(start));
  }
  std::nth_element(seconds.begin(), seconds.begin() + repetitions / 2, seconds.end());
  const double median = seconds[static_cast<std::size_t>(repetitions / 2)];
  const double weights = static_cast<double>(shape.n * shape.k) * shape.copies;
  return {2.0 * static_cast<double>(shape.rows) * weights / median,
          weights * static_cast<double>(size_of(dtype)) / median};
}

Ceilings measure_ceilings(int threads) {
  Ceilings c;
  c.threads = threads > 0 ? threads : machine_threads();
  c.stream_bytes = measure_stream(c.threads);
  const ProductShape large{532, 4096, 2048, 1}, few{10, 4096, 2048, 8};
  c.large_f32 = best_rate(large, DType::f32, c.threads);
  c.large_bf16 = best_rate(large, DType::bf16, c.threads);
  c.few_rows_f32 = best_rate(few, DType::f32, c.threads);
  c.few_rows_bf16 = best_rate(few, DType::bf16, c.threads);
  return c;
}

}  // namespace tendon
