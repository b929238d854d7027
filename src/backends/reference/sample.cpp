#include "backends/reference/sample.h"

#include <algorithm>
#include <set>

#include "backends/reference/restrict.h"
#include "base/error.h"

namespace tendon {
namespace {

// `count` different numbers below `all`, ascending; all of them where there are no more.
std::vector<std::int64_t> draw(std::int64_t all, std::int64_t count, std::uint64_t seed) {
  std::set<std::int64_t> places;
  std::uint64_t state = seed;
  while (static_cast<std::int64_t>(places.size()) < std::min(all, count)) {
    std::uint64_t z = state += 0x9E3779B97F4A7C15u;  // splitmix64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    places.insert(static_cast<std::int64_t>((z ^ (z >> 31)) % static_cast<std::uint64_t>(all)));
  }
  return {places.begin(), places.end()};
}

std::vector<std::int64_t> all_rows(const Shape& shape) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(shape.numel() / shape[-1]));
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
  return rows;
}

}  // namespace

std::vector<Sample> evaluate_sample(const SampleRequest& request) {
  const Trace& trace = request.trace;
  const Op& op = trace.ops().at(request.op);
  std::int64_t places = 0;
  if (cost(op, trace).flops >= request.whole_below_flops) places = reference::places(op, trace);
  reference::Restricted few;
  std::vector<std::int64_t> chosen;
  if (places > request.count) {
    chosen = draw(places, request.count, request.seed);
    few = reference::restricted(op, {trace, request.operand, chosen});
  } else {
    few = reference::alone(op, {trace, request.operand, chosen});
  }
  const std::vector<Value> outputs = operands(op).outputs;
  const std::unique_ptr<Executable> run =
      make_reference(request.options)->compile(std::move(few.program), {});
  const Status status = run->run(0);
  require(status.ok(), "{}: {}", trace.label(request.op), status.message());
  std::vector<Sample> samples;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    Sample sample{outputs[i], {}, run->fetch(0, few.outputs[i])};
    const Shape& shape = trace.shape(outputs[i]);
    const std::int64_t together = places > 0 ? shape.numel() / shape[-1] / places : 1;
    for (std::int64_t place : chosen) {
      for (std::int64_t j = 0; j < together; ++j) sample.rows.push_back(place * together + j);
    }
    if (chosen.empty()) sample.rows = all_rows(shape);
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace tendon
