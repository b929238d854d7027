// Line plots as one standalone SVG file: no script, no font, no address to fetch.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace tendon::measure {

struct Curve {
  std::string name;          // in the legend; empty: none
  std::vector<double> x, y;  // of one length; a value that is not finite interrupts the line
};

struct Panel {
  std::string title;
  std::vector<Curve> curves;
};

// Small multiples: one panel after the other in rows, each with its own vertical axis, all with one
// horizontal axis.
struct Plot {
  std::string title, subtitle, x_label;
  std::vector<Panel> panels;
  int columns = 3;
};

// The document, UTF-8. Throws Error where a curve's x and y differ in length or there is no panel.
std::string svg(const Plot& plot);

// A chunk, row by row [rows, width], as one panel for each action dimension. `names` may be shorter
// than width: the rest are numbered.
struct ChunkView {
  std::span<const double> actions;
  int width = 0;
  double control_hz = 0;  // 0: the horizontal axis counts ticks, not seconds
  std::vector<std::string> names;
};
Plot chunk_plot(const ChunkView& chunk);

}  // namespace tendon::measure
