#include "backends/cpu/ceilings.h"

#include <unistd.h>

#include <algorithm>

#include "backends/cpu/onednn.h"
#include "backends/cpu/threads.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/median.h"
#include "base/parallel.h"

namespace tendon {
namespace {

// Mean seconds of a call: at least one, and as many as fit.
template <class F>
double time_for(double seconds, const F& call) {
  const Stopwatch watch;
  int calls = 0;
  double spent = 0;
  while (calls == 0 || spent < seconds) {
    call();
    ++calls;
    spent = watch.seconds();
  }
  return spent / calls;
}

double median_of(std::vector<double> values) {
  require(!values.empty(), "ceilings: nothing was sampled");
  return median(values);
}

int threads_of(int wanted) { return wanted > 0 ? wanted : machine_threads(); }

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

// So much that caches keep little of it from one read to the next.
std::size_t stream_bytes() {
  const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);  // 0 or less: unknown
  return std::max(std::size_t{256} << 20, 2 * static_cast<std::size_t>(std::max(cache, 0L)));
}

std::vector<ProductMeter> product_meters(const ProductShape& shape, DType dtype, int threads) {
  std::vector<ProductMeter> meters;
  meters.emplace_back(shape, dtype, CpuOptions{.products = CpuProducts::own}, threads);
  if (dtype != DType::bf16 || cpu::onednn::multiplies_bf16()) {
    meters.emplace_back(shape, dtype, CpuOptions{.products = CpuProducts::onednn}, threads);
  }
  return meters;
}

ProductRate better(const std::vector<ProductMeter>& meters) {
  ProductRate best;
  for (const ProductMeter& m : meters) {
    const ProductRate rate = m.median();
    if (rate.flops > best.flops) best = rate;
  }
  return best;
}

}  // namespace

bool library_multiplies_bf16() { return cpu::onednn::multiplies_bf16(); }

ProductMeter::ProductMeter(const ProductShape& shape, DType dtype, const CpuOptions& options,
                           int threads)
    : executable_(make_cpu(options)->compile(product_program(shape, dtype), {.threads = threads})) {
  const double weights = static_cast<double>(shape.n * shape.k) * shape.copies;
  flops_ = 2.0 * static_cast<double>(shape.rows) * weights;
  bytes_ = weights * static_cast<double>(size_of(dtype));
  std::vector<std::byte> x(static_cast<std::size_t>(shape.rows * shape.k) * size_of(dtype));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = i % 2 ? std::byte{0x3f} : std::byte{0x80};
  require_ok(executable_->write({0}, x));
}

void ProductMeter::sample(double seconds) {
  require_ok(executable_->run(0));
  seconds_.push_back(time_for(seconds, [&] { require_ok(executable_->run(0)); }));
}

ProductRate ProductMeter::median() const {
  const double seconds = median_of(seconds_);
  return {flops_ / seconds, bytes_ / seconds};
}

StreamMeter::StreamMeter(std::size_t bytes, int threads)
    : memory_(bytes), team_(threads), sums_(static_cast<std::size_t>(threads)) {
  auto* words = reinterpret_cast<std::uint64_t*>(memory_.data());
  team_.start();
  cpu::spread(team_, static_cast<std::int64_t>(bytes / 8),
              [&](std::int64_t begin, std::int64_t end) {
                std::fill(words + begin, words + end, std::uint64_t{1});
              });
}

void StreamMeter::sample(double seconds) {
  plain_.push_back(read(0, seconds / 2));
  asked_.push_back(read(1024, seconds / 2));
}

double StreamMeter::median() const {
  return static_cast<double>(memory_.bytes()) / std::min(median_of(plain_), median_of(asked_));
}

double StreamMeter::read(std::int64_t ahead, double seconds) {
  const auto* words = reinterpret_cast<const std::uint64_t*>(memory_.data());
  const auto count = static_cast<std::int64_t>(memory_.bytes() / 8);
  const double pass = time_for(seconds, [&] {
    team_.run(1, [&](int, int part) {
      const cpu::Range mine = cpu::share(count, part, team_.count());
      std::uint64_t s[8] = {};
      // A word of each line brings all of it. Asking ahead, as products do, is faster on some
      // machines and slower on others.
      for (std::int64_t i = mine.begin; i + 64 <= mine.end; i += 64) {
        for (int j = 0; j < 8; ++j) {
          __builtin_prefetch(words + i + ahead + 8 * j, 0, 2);
          s[j] += words[i + 8 * j];
        }
      }
      for (const std::uint64_t sum : s) sums_[static_cast<std::size_t>(part)] += sum;
    });
  });
  require(sums_[0] != 0, "ceilings: the measurement of memory read nothing");
  return pass;
}

CeilingMeter::CeilingMeter(DType dtype, int threads, const CeilingShapes& shapes)
    : seconds_(shapes.seconds),
      stream_(shapes.stream > 0 ? shapes.stream : stream_bytes(), threads_of(threads)),
      large_(product_meters(shapes.large, dtype, threads)),
      few_rows_(product_meters(shapes.few_rows, dtype, threads)) {}

void CeilingMeter::sample() {
  for (ProductMeter& m : large_) m.sample(seconds_);
  for (ProductMeter& m : few_rows_) m.sample(seconds_);
  stream_.sample(seconds_);
  ++samples_;
}

Ceilings CeilingMeter::median() const {
  return {stream_.median(), better(large_), better(few_rows_), samples_};
}

}  // namespace tendon
