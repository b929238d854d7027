// Window order, time embedding, schedule and a recording's inputs: what the stages take as given.
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "base/half.h"
#include "models/lingbot_vla/lingbot_vla.h"
#include "models/recorded.h"

namespace tendon::lingbot_vla {
namespace {

// Raster number of the cell at each place of the window order.
std::vector<std::int32_t> cells_in_window_order(const Config& c) {
  const std::int64_t side = c.grid() / 2, window = c.window / (2 * c.patch);
  std::vector<std::int32_t> cells;
  for (std::int64_t wy = 0; wy < side; wy += window) {
    for (std::int64_t wx = 0; wx < side; wx += window) {
      for (std::int64_t y = wy; y < wy + window; ++y) {
        for (std::int64_t x = wx; x < wx + window; ++x) {
          cells.push_back(static_cast<std::int32_t>(y * side + x));
        }
      }
    }
  }
  return cells;
}

float narrowed(float v, DType type) { return type == DType::bf16 ? round_bf16(v) : v; }

// Bytes as the deployed processor gives them to the network: standardised and rounded to bf16.
std::vector<float> standardised(const RecordedInput& bytes) {
  constexpr float kMean[] = {0.48145466f, 0.4578275f, 0.40821073f};
  constexpr float kStd[] = {0.26862954f, 0.26130258f, 0.27577711f};
  std::vector<float> pixels(bytes.values.size());
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    const float unit = static_cast<float>(static_cast<double>(bytes.values[i]) / 255.0);
    pixels[i] = round_bf16((unit - kMean[i % 3]) / kStd[i % 3]);
  }
  return pixels;
}

}  // namespace

std::vector<std::int32_t> window_order(const Config& c) {
  const auto grid = static_cast<std::int32_t>(c.grid());
  std::vector<std::int32_t> rows;
  for (std::int32_t cell : cells_in_window_order(c)) {
    const std::int32_t y = 2 * (cell / (grid / 2)), x = 2 * (cell % (grid / 2));
    for (std::int32_t sub = 0; sub < 4; ++sub) rows.push_back((y + sub / 2) * grid + x + sub % 2);
  }
  return rows;
}

std::vector<std::int32_t> raster_order(const Config& c) {
  const std::vector<std::int32_t> cells = cells_in_window_order(c);
  std::vector<std::int32_t> places(cells.size());
  for (std::size_t i = 0; i < cells.size(); ++i) {
    places[static_cast<std::size_t>(cells[i])] = static_cast<std::int32_t>(i);
  }
  return places;
}

// The fastest feature turns by 1571 rad per unit of t: every fp32 rounding of the original counts.
void time_embedding(float t, std::span<float> out) noexcept {
  const std::size_t half = out.size() / 2;
  const float step = 1.0f / static_cast<float>(half - 1);
  for (std::size_t k = 0; k < half; ++k) {
    // linspace fills from both ends
    const float fraction = k < half / 2 ? step * static_cast<float>(k)
                                        : 1.0f - step * static_cast<float>(half - 1 - k);
    const float period = 0.004f * std::pow(1000.0f, fraction);
    const float angle = 1.0f / period * 2.0f * std::numbers::pi_v<float> * t;
    out[k] = static_cast<float>(std::sin(static_cast<double>(angle)));
    out[k + half] = static_cast<float>(std::cos(static_cast<double>(angle)));
  }
}

Times time_schedule(int steps, DType type, std::span<float> times) noexcept {
  Times result;
  result.delta = narrowed(static_cast<float>(-1.0 / steps), type);
  float t = 1.0f;
  while (t >= -result.delta / 2 && result.count < static_cast<int>(times.size())) {
    times[static_cast<std::size_t>(result.count++)] = t;
    t = narrowed(t + result.delta, type);
  }
  return result;
}

RecordedCall recorded_call(const nlohmann::json& dims, const nlohmann::json& record,
                           const RecordedInputs& inputs) {
  const auto picture = [&](std::size_t, std::size_t slot) {
    return standardised(recorded_input(inputs, "image." + std::to_string(slot)));
  };
  return recorded_prefix_call(
      record, inputs,
      {.token_mask = "tokens.mask", .image_rows = config_from(dims).cells(), .picture = picture});
}

}  // namespace tendon::lingbot_vla
