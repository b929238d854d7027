// A table as aligned text: columns of numbers to the right, of words to the left.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

namespace tendon::measure {

class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}

  // Throws Error where the number of cells is not the header's.
  void add(std::vector<std::string> cells);

  // One line a row, each ending in a newline, no spaces at their ends. Widths count code points, so
  // UTF-8 words line up.
  std::string str() const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace tendon::measure
