#include "ops/arena.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace tendon {
namespace {

struct Life {
  std::int32_t value;
  std::size_t first, last, bytes;
};

std::vector<Life> lifetimes(const Trace& trace) {
  const std::size_t none = trace.ops().size() + 1;
  std::vector<Life> lives(trace.values().size());
  for (std::size_t i = 0; i < lives.size(); ++i) {
    const ValueInfo& v = trace.values()[i];
    const std::size_t bytes = static_cast<std::size_t>(v.shape.numel()) * size_of(v.dtype);
    lives[i] = {static_cast<std::int32_t>(i), none, 0, bytes};
  }
  auto touch = [&](Value v, std::size_t at) {
    Life& life = lives[static_cast<std::size_t>(trace.info(v).root)];
    life.first = std::min(life.first, at);
    life.last = std::max(life.last, at);
  };
  for (std::size_t at = 0; at < trace.ops().size(); ++at) {
    const Operands all = operands(trace.ops()[at]);
    for (Value v : all.inputs) {
      const Life& life = lives[static_cast<std::size_t>(trace.info(v).root)];
      require(trace.info(v).kind != ValueInfo::Kind::intermediate || life.first <= at,
              "{}: {} reads a value that nothing has written", trace.name(), trace.label(at));
      touch(v, at);
    }
    for (Value v : all.outputs) touch(v, at);
  }
  if (trace.program().record_taps) {
    for (const Trace::Tap& tap : trace.taps()) touch(tap.value, trace.ops().size());
  }
  std::erase_if(lives, [&](const Life& life) {
    const ValueInfo& v = trace.values()[static_cast<std::size_t>(life.value)];
    return v.kind != ValueInfo::Kind::intermediate || v.root != life.value || life.first == none;
  });
  return lives;
}

std::size_t aligned(std::size_t bytes) {
  return (bytes + ArenaPlan::kAlignment - 1) / ArenaPlan::kAlignment * ArenaPlan::kAlignment;
}

}  // namespace

// Largest first, each at the lowest address where it meets no value alive at the same time.
ArenaPlan plan_arena(const Trace& trace, std::size_t rest) {
  std::vector<Life> lives = lifetimes(trace);
  for (Life& life : lives) life.last += rest;
  std::stable_sort(lives.begin(), lives.end(),
                   [](const Life& a, const Life& b) { return a.bytes > b.bytes; });
  ArenaPlan plan;
  plan.offset.assign(trace.values().size(), 0);
  std::vector<Life> placed;  // ordered by offset
  for (const Life& life : lives) {
    std::size_t at = 0;
    auto where = placed.begin();
    for (auto it = placed.begin(); it != placed.end(); ++it) {
      if (it->last < life.first || life.last < it->first) continue;
      const std::size_t begin = plan.offset[static_cast<std::size_t>(it->value)];
      if (begin >= at + aligned(life.bytes)) break;
      at = std::max(at, begin + aligned(it->bytes));
    }
    plan.offset[static_cast<std::size_t>(life.value)] = at;
    where = std::find_if(placed.begin(), placed.end(), [&](const Life& p) {
      return plan.offset[static_cast<std::size_t>(p.value)] > at;
    });
    placed.insert(where, life);
    plan.bytes = std::max(plan.bytes, at + aligned(life.bytes));
  }
  return plan;
}

}  // namespace tendon
