#include "measure/svg.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>

#include "base/error.h"

namespace tendon::measure {
namespace {

constexpr double kPanelWidth = 250, kPanelHeight = 130;  // of the plotting area, in pixels
constexpr double kLeft = 58, kRight = 14, kTop = 30, kBottom = 30;  // around it
constexpr double kHead = 62, kFoot = 30, kMargin = 16;
// Okabe and Ito's colours: told apart by colour-blind eyes and in grey.
constexpr std::array<const char*, 6> kColours = {"#0072b2", "#d55e00", "#009e73",
                                                 "#cc79a7", "#e69f00", "#56b4e9"};

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void take(const std::vector<double>& values) {
    for (double v : values) {
      if (!std::isfinite(v)) continue;
      low = std::min(low, v);
      high = std::max(high, v);
    }
  }
  double span() const { return high - low; }
};

// Where nothing or a constant was drawn, a range around it; a little air otherwise.
Range padded(Range r, double air) {
  if (!(r.low <= r.high)) return {0, 1};
  const double least = std::max(1e-6, 1e-3 * std::max(std::abs(r.low), std::abs(r.high)));
  if (r.span() < least) return {r.low - 10 * least, r.high + 10 * least};
  return {r.low - air * r.span(), r.high + air * r.span()};
}

// Round numbers inside of the range, `about` of them.
std::vector<double> ticks(const Range& r, int about) {
  const double raw = r.span() / about;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (double m : {5.0, 2.0, 1.0}) {
    if (m * power >= raw * 0.999) step = m * power;
  }
  std::vector<double> out;
  for (double k = std::ceil(r.low / step - 1e-9); k * step <= r.high + 1e-9 * step; ++k) {
    out.push_back(k == 0 ? 0.0 : k * step);
  }
  return out;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

// The plotting area of one panel and its axes.
struct Frame {
  double left = 0, top = 0;
  Range x, y;
  double px(double v) const { return left + (v - x.low) / x.span() * kPanelWidth; }
  double py(double v) const { return top + (y.high - v) / y.span() * kPanelHeight; }
};

class Writer {
 public:
  template <class... Args>
  void put(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
    out_ += '\n';
  }
  void axes(const Frame& f);
  void panel(const Frame& f, const Panel& panel);
  void curve(const Frame& f, const Curve& curve, const char* colour);
  void legend(const Frame& f, const std::vector<Curve>& curves);
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

void Writer::axes(const Frame& f) {
  for (double v : ticks(f.y, 5)) {
    put(R"(<path class="grid" d="M{:.1f} {:.1f}h{}"/>)", f.left, f.py(v), kPanelWidth);
    put(R"(<text class="tick" x="{:.1f}" y="{:.1f}" text-anchor="end">{:.6g}</text>)", f.left - 6,
        f.py(v) + 3.5, v);
  }
  for (double v : ticks(f.x, 5)) {
    put(R"(<path class="grid" d="M{:.1f} {:.1f}v{}"/>)", f.px(v), f.top, kPanelHeight);
    put(R"(<text class="tick" x="{:.1f}" y="{:.1f}" text-anchor="middle">{:.6g}</text>)", f.px(v),
        f.top + kPanelHeight + 14, v);
  }
  put(R"(<rect class="frame" x="{:.1f}" y="{:.1f}" width="{}" height="{}"/>)", f.left, f.top,
      kPanelWidth, kPanelHeight);
}

void Writer::curve(const Frame& f, const Curve& curve, const char* colour) {
  constexpr std::size_t kDotsUpTo = 64;
  std::string path;
  bool pen_down = false;
  for (std::size_t i = 0; i < curve.x.size(); ++i) {
    const bool finite = std::isfinite(curve.x[i]) && std::isfinite(curve.y[i]);
    if (finite) {
      path +=
          fmt::format("{}{:.2f} {:.2f}", pen_down ? 'L' : 'M', f.px(curve.x[i]), f.py(curve.y[i]));
    }
    pen_down = finite;
  }
  if (path.empty()) return;
  put(R"(<path class="line" stroke="{}" d="{}"/>)", colour, path);
  if (curve.x.size() > kDotsUpTo) return;
  for (std::size_t i = 0; i < curve.x.size(); ++i) {
    if (!std::isfinite(curve.x[i]) || !std::isfinite(curve.y[i])) continue;
    put(R"(<circle fill="{}" cx="{:.2f}" cy="{:.2f}" r="2"/>)", colour, f.px(curve.x[i]),
        f.py(curve.y[i]));
  }
}

void Writer::legend(const Frame& f, const std::vector<Curve>& curves) {
  double x = f.left + kPanelWidth;
  for (std::size_t i = curves.size(); i-- > 0;) {
    if (curves[i].name.empty()) continue;
    put(R"(<text class="tick" x="{:.1f}" y="{:.1f}" text-anchor="end" fill="{}">{}</text>)", x,
        f.top - 8, kColours[i % kColours.size()], escaped(curves[i].name));
    x -= 7.0 * static_cast<double>(curves[i].name.size()) + 8;
  }
}

void Writer::panel(const Frame& f, const Panel& panel) {
  put("<g>");
  put(R"(<text class="panel" x="{:.1f}" y="{:.1f}">{}</text>)", f.left, f.top - 8,
      escaped(panel.title));
  axes(f);
  for (std::size_t i = 0; i < panel.curves.size(); ++i) {
    curve(f, panel.curves[i], kColours[i % kColours.size()]);
  }
  legend(f, panel.curves);
  put("</g>");
}

void check_plot(const Plot& plot) {
  require(!plot.panels.empty(), "plot: there is no panel to draw");
  require(plot.columns > 0, "plot: {} columns", plot.columns);
  for (const Panel& panel : plot.panels) {
    for (const Curve& c : panel.curves) {
      require(c.x.size() == c.y.size(), "plot: panel {}: {} x and {} y", panel.title, c.x.size(),
              c.y.size());
    }
  }
}

constexpr const char* kStyle =
    "<style>text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:#1f2933}"
    ".title{font-size:18px;font-weight:600}.sub{font-size:12px;fill:#616e7c}"
    ".panel{font-size:12px;font-weight:600}.tick{font-size:10px;fill:#616e7c}"
    ".grid{stroke:#e4e7eb;stroke-width:1;fill:none}"
    ".frame{fill:none;stroke:#9aa5b1;stroke-width:1}"
    ".line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}</style>";

void put_head(Writer& out, const Plot& plot, double width, double height) {
  out.put(R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" )"
          R"(viewBox="0 0 {0} {1}" role="img">)",
          width, height);
  out.put("<title>{}</title>", escaped(plot.title));
  out.put("{}", kStyle);
  out.put(R"(<rect width="100%" height="100%" fill="#ffffff"/>)");
  out.put(R"(<text class="title" x="{}" y="30">{}</text>)", kMargin, escaped(plot.title));
  out.put(R"(<text class="sub" x="{}" y="50">{}</text>)", kMargin, escaped(plot.subtitle));
  out.put(R"(<text class="sub" x="{}" y="{}" text-anchor="middle">{}</text>)", width / 2,
          height - 12, escaped(plot.x_label));
}

}  // namespace

std::string svg(const Plot& plot) {
  check_plot(plot);
  const int count = static_cast<int>(plot.panels.size());
  const int columns = std::min(plot.columns, count);
  const int rows = (count + columns - 1) / columns;
  const double cell_width = kLeft + kPanelWidth + kRight;
  const double cell_height = kTop + kPanelHeight + kBottom;

  Range x;
  for (const Panel& panel : plot.panels) {
    for (const Curve& c : panel.curves) x.take(c.x);
  }
  Writer out;
  put_head(out, plot, 2 * kMargin + columns * cell_width, kHead + rows * cell_height + kFoot);
  for (int i = 0; i < count; ++i) {
    const Panel& panel = plot.panels[static_cast<std::size_t>(i)];
    Frame frame{.left = kMargin + (i % columns) * cell_width + kLeft,
                .top = kHead + (i / columns) * cell_height + kTop,
                .x = padded(x, 0),
                .y = {}};
    for (const Curve& c : panel.curves) frame.y.take(c.y);
    frame.y = padded(frame.y, 0.08);
    out.panel(frame, panel);
  }
  out.put("</svg>");
  return out.take();
}

Plot chunk_plot(const ChunkView& chunk) {
  require(chunk.width > 0 && chunk.actions.size() % static_cast<std::size_t>(chunk.width) == 0,
          "chunk plot: {} values in rows of {}", chunk.actions.size(), chunk.width);
  const auto width = static_cast<std::size_t>(chunk.width);
  const std::size_t rows = chunk.actions.size() / width;
  Plot plot;
  plot.x_label = chunk.control_hz > 0 ? "seconds" : "tick";
  plot.columns = std::min(4, std::max(2, (chunk.width + 2) / 3));
  for (std::size_t d = 0; d < width; ++d) {
    Curve curve;
    for (std::size_t r = 0; r < rows; ++r) {
      const double tick = static_cast<double>(r);
      curve.x.push_back(chunk.control_hz > 0 ? tick / chunk.control_hz : tick);
      curve.y.push_back(chunk.actions[r * width + d]);
    }
    const bool named = d < chunk.names.size();
    plot.panels.push_back({named ? chunk.names[d] : fmt::format("action {}", d), {curve}});
  }
  return plot;
}

}  // namespace tendon::measure
