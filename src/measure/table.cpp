#include "measure/table.h"

#include <algorithm>

#include "base/error.h"

namespace tendon::measure {
namespace {

std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u;
  }));
}

// "-1.5", "12 ms", "85%", "-": cells that a column of numbers may hold.
bool number_like(const std::string& cell) {
  if (cell.empty() || cell == "-") return true;
  const std::size_t first = cell[0] == '-' || cell[0] == '+' ? 1 : 0;
  return first < cell.size() && cell[first] >= '0' && cell[first] <= '9';
}

}  // namespace

void Table::add(std::vector<std::string> cells) {
  require(cells.size() == header_.size(), "table: {} columns, a row of {}", header_.size(),
          cells.size());
  rows_.push_back(std::move(cells));
}

std::string Table::str() const {
  std::vector<std::size_t> width;
  std::vector<bool> right;
  for (std::size_t c = 0; c < header_.size(); ++c) {
    width.push_back(width_of(header_[c]));
    right.push_back(!rows_.empty());
    for (const auto& row : rows_) {
      width[c] = std::max(width[c], width_of(row[c]));
      right[c] = right[c] && number_like(row[c]);
    }
  }
  std::string out;
  const auto put = [&](const std::vector<std::string>& row) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string gap(width[c] - width_of(row[c]), ' ');
      line += (c ? "  " : "") + (right[c] ? gap + row[c] : row[c] + gap);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  put(header_);
  for (const auto& row : rows_) put(row);
  return out;
}

}  // namespace tendon::measure
