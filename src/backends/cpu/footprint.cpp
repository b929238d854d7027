#include "backends/cpu/footprint.h"

#include "backends/cpu/planner.h"

namespace tendon::cpu {
namespace {

// The furthest end seen so far, and the furthest of any other thread.
struct Reach {
  const std::byte *end = nullptr, *other_end = nullptr;
  int thread = -1;

  void add(const std::byte* to, int by) {
    if (by == thread) {
      end = std::max(end, to);
    } else if (to > end) {
      other_end = end;
      end = to;
      thread = by;
    } else {
      other_end = std::max(other_end, to);
    }
  }
  // How far any thread but `by` reaches.
  const std::byte* beside(int by) const { return by == thread ? other_end : end; }
};

}  // namespace

void Footprint::add(const View& v, Range rows, Access access) {
  if (!v || rows.begin >= rows.end) return;
  const View::Extent e = v.extent(rows.begin, rows.end);
  add(e.begin, static_cast<std::size_t>(e.end - e.begin), access);
}

void Footprint::add(const void* data, std::size_t bytes, Access access) {
  if (!data || bytes == 0) return;
  const auto* begin = static_cast<const std::byte*>(data);
  intervals_.push_back({begin, begin + bytes, 0, access});
}

void Footprint::reads(const Table& table, Range rows) {
  if (!table || rows.begin >= rows.end) return;
  add(table.data, static_cast<std::size_t>(table.count * table.stride) * 4, Access::read);
  if (table.rows) {
    const auto last = static_cast<std::size_t>((rows.end - 1) / table.per_row);
    add(table.rows, (last + 1) * sizeof(std::int32_t), Access::read);
  }
}

bool Meetings::wanted_before(const std::vector<Footprint>& threads) {
  const bool first = since_.empty() && !anything_;
  std::vector<Footprint::Interval> now;
  for (std::size_t t = 0; t < threads.size(); ++t) {
    for (Footprint::Interval i : threads[t].intervals_) {
      i.thread = static_cast<int>(t);
      now.push_back(i);
    }
  }
  bool meet = !first && (anything_ || now.empty());
  if (!meet) {
    std::vector<Footprint::Interval> all = since_;
    all.insert(all.end(), now.begin(), now.end());
    std::sort(all.begin(), all.end(),
              [](const auto& a, const auto& b) { return a.begin < b.begin; });
    Reach written, touched;
    for (const Footprint::Interval& i : all) {
      const bool writes = i.access == Footprint::Access::written;
      if ((writes ? touched : written).beside(i.thread) > i.begin) meet = true;
      if (writes) written.add(i.end, i.thread);
      touched.add(i.end, i.thread);
    }
  }
  if (meet) since_.clear();
  since_.insert(since_.end(), now.begin(), now.end());
  anything_ = now.empty();
  return meet && !first;
}

}  // namespace tendon::cpu
