#include "measure/roofline.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "measure/table.h"
#include "measure/units.h"

namespace tendon::measure {
namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }

// "prefix.17.k2_proj" -> "prefix.#.k2_proj": whole parts between dots only.
std::string without_numbers(const std::string& label) {
  std::string out;
  for (std::size_t at = 0; at <= label.size();) {
    const std::size_t end = std::min(label.find('.', at), label.size());
    const std::string part = label.substr(at, end - at);
    const bool number = !part.empty() && std::all_of(part.begin(), part.end(), digit);
    out += (at ? "." : "") + (number ? "#" : part);
    at = end + 1;
  }
  return out;
}

}  // namespace

std::vector<RooflineRow> roofline(std::span<const Executable::StepTime> steps, const Limits& limits,
                                  int runs) {
  require(limits.flops > 0 && limits.bytes > 0,
          "roofline: the machine's limits are wanted, {} FLOP/s and {} B/s came", limits.flops,
          limits.bytes);
  std::vector<RooflineRow> rows;
  for (const Executable::StepTime& step : steps) {
    const std::string label = without_numbers(step.label);
    auto row = std::find_if(rows.begin(), rows.end(), [&](const RooflineRow& r) {
      return r.op == step.op && r.label == label;
    });
    if (row == rows.end()) {
      rows.push_back({.op = step.op, .label = label});
      row = rows.end() - 1;
    }
    row->count += runs;
    row->seconds += runs * step.seconds;
    row->flops += runs * step.cost.flops;
    row->bytes += runs * step.cost.bytes;
    row->floor += runs * std::max(step.cost.flops / limits.flops, step.cost.bytes / limits.bytes);
  }
  return rows;
}

RooflineRow total(std::span<const RooflineRow> rows) {
  RooflineRow sum{.op = "", .label = "total"};
  for (const RooflineRow& row : rows) {
    sum.count += row.count;
    sum.seconds += row.seconds;
    sum.flops += row.flops;
    sum.bytes += row.bytes;
    sum.floor += row.floor;
  }
  return sum;
}

std::string roofline_table(std::span<const RooflineRow> rows) {
  Table table({"op", "label", "count", "time", "FLOP", "bytes", "FLOP/s", "B/s", "of limit"});
  const auto add = [&](const RooflineRow& r) {
    const bool timed = r.seconds > 0;
    table.add({r.op, r.label, fmt::format("{}", r.count), format_seconds(r.seconds),
               format_count(r.flops), format_count(r.bytes),
               timed ? format_count(r.flops / r.seconds) : "-",
               timed ? format_count(r.bytes / r.seconds) : "-",
               timed ? format_share(r.share()) : "-"});
  };
  for (const RooflineRow& row : rows) add(row);
  add(total(rows));
  return table.str();
}

}  // namespace tendon::measure
