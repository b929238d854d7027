#include "measure/units.h"

#include <fmt/core.h>

#include <array>
#include <cmath>

namespace tendon::measure {
namespace {

// Three significant digits below 1000.
std::string digits(double value) {
  const double size = std::abs(value);
  if (size >= 99.95 || size == 0) return fmt::format("{:.0f}", value);
  return size >= 9.995 ? fmt::format("{:.1f}", value) : fmt::format("{:.2f}", value);
}

// "1.23 M" with the power of 1000 that leaves 1 to 999 before the point.
std::string scaled(double value, const char* unit) {
  static constexpr std::array<const char*, 6> kPrefixes = {"", "k", "M", "G", "T", "P"};
  if (!std::isfinite(value)) return fmt::format("{} {}", value, unit);
  std::size_t i = 0;
  while (std::abs(value) >= 999.5 && i + 1 < kPrefixes.size()) {
    value /= 1000;
    ++i;
  }
  const std::string suffix = std::string(kPrefixes[i]) + unit;
  const bool whole = i == 0 && value == std::floor(value);
  const std::string number = whole ? fmt::format("{:.0f}", value) : digits(value);
  return suffix.empty() ? number : number + " " + suffix;
}

}  // namespace

std::string format_seconds(double seconds) {
  const double size = std::abs(seconds);
  if (!std::isfinite(seconds) || size >= 0.9995) return digits(seconds) + " s";
  if (size >= 0.9995e-3) return digits(seconds * 1e3) + " ms";
  if (size >= 0.9995e-6) return digits(seconds * 1e6) + " us";
  return digits(seconds * 1e9) + " ns";
}

std::string format_bytes(double bytes) { return scaled(bytes, "B"); }

std::string format_count(double n) { return scaled(n, ""); }

std::string format_rate(double n, const char* unit) { return scaled(n, unit) + "/s"; }

std::string format_share(double fraction) { return fmt::format("{:.1f}%", fraction * 100); }

}  // namespace tendon::measure
