#include "backends/cpu/attention_division.h"

#include <algorithm>

#include "backends/cpu/threads.h"

namespace tendon::cpu {
namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Rows [B, S] in shares of threads, each cut into tasks of one sample and key head. Whether all of
// them are long enough.
bool share_rows(const AttentionShape& s, AttentionDivision& d) {
  if (s.threads == 1) return false;
  std::vector<std::vector<AttentionTask>> shares(static_cast<std::size_t>(s.threads));
  std::int64_t lanes = 0;
  for (int i = 0; i < s.threads; ++i) {
    const Range mine = share(s.samples * s.queries, i, s.threads);
    for (std::int64_t b = mine.begin / s.queries; b * s.queries < mine.end; ++b) {
      const std::int64_t from = std::max(mine.begin - b * s.queries, std::int64_t{0}) * s.group;
      const std::int64_t to = std::min(mine.end - b * s.queries, s.queries) * s.group;
      if (to - from < s.least_lanes) return false;
      const std::int64_t parts = ceil_div(to - from, s.most_lanes);
      const std::int64_t step = ((to - from) / parts + s.columns) / s.columns * s.columns;
      lanes = std::max(lanes, std::min(step, ceil_div(to - from, s.columns) * s.columns));
      for (std::int64_t head = 0; head < s.key_heads; ++head) {
        for (std::int64_t at = from; at < to; at += step) {
          shares[static_cast<std::size_t>(i)].push_back({b, head, at, std::min(step, to - at), 0});
        }
      }
    }
  }
  d.lanes = lanes;
  d.shares = std::move(shares);
  return true;
}

// Queries first, in parts of 64 and more; keys too where that leaves threads idle (a few action
// tokens on one key head).
void split_work(const AttentionShape& s, AttentionDivision& d) {
  const std::int64_t heads = s.samples * s.key_heads;
  const std::int64_t panels = ceil_div(s.group * s.queries, s.columns);
  d.row_parts = std::max<std::int64_t>(1, ceil_div(panels * s.columns, s.most_lanes));
  while (heads * d.row_parts < s.threads && panels / (d.row_parts + 1) * s.columns >= 64) {
    ++d.row_parts;
  }
  d.lanes = ceil_div(panels, d.row_parts) * s.columns;
  d.row_parts = ceil_div(panels * s.columns, d.lanes);
  const std::int64_t groups = heads * d.row_parts;
  const bool balanced = groups % s.threads == 0 && panels % d.row_parts == 0;
  if (balanced || groups >= 2 * s.threads) return;
  const std::int64_t wanted = ceil_div(4 * s.threads, groups);
  d.key_parts = static_cast<int>(std::min<std::int64_t>({wanted, s.key_tiles, kMostKeyParts}));
}

}  // namespace

AttentionDivision divide(const AttentionShape& shape) {
  AttentionDivision d;
  if (!share_rows(shape, d)) split_work(shape, d);
  return d;
}

}  // namespace tendon::cpu
