#include "backends/reference/view.h"

#include <vector>

namespace tendon::reference {

void move_row(const View& from, std::int64_t row, const View& to, std::int64_t to_row) {
  std::vector<double> values(static_cast<std::size_t>(to.width()));
  from.load(row, 0, to.width(), values.data());
  to.store(to_row, 0, to.width(), values.data());
}

}  // namespace tendon::reference
