#include "preprocess/robot.h"

#include <algorithm>
#include <cmath>

namespace tendon {

std::array<double, 3> rotation_vector(std::span<const double, 4> q) noexcept {
  const double w = std::clamp(q[3], -1.0, 1.0);
  const double den = std::sqrt(1.0 - w * w);
  if (den == 0) return {0, 0, 0};
  const double angle = 2.0 * std::acos(w);
  return {q[0] * angle / den, q[1] * angle / den, q[2] * angle / den};
}

std::array<double, 3> rotation_vector_f32(std::span<const double, 4> q) noexcept {
  const float w = std::clamp(static_cast<float>(q[3]), -1.0f, 1.0f);
  const float den = std::sqrt(std::max(0.0f, 1.0f - w * w));
  if (den <= 1e-10f) return {0, 0, 0};
  const float angle = 2.0f * std::acos(w);
  const auto part = [&](int i) { return static_cast<float>(q[i]) / den * angle; };
  return {part(0), part(1), part(2)};
}

namespace {

// The gripper's linkage: opening in metres for 0 and 1, the horn's and the arm's length, the
// joint's range.
constexpr double kClosed = 0.01844, kOpen = 0.05800, kHorn = 0.022, kArm = 0.036;
constexpr double kAngleClosed = 0.5476, kAngleOpen = 1.6296;
constexpr double kCommandClosed = -0.6213, kCommandOpen = 1.4910;

}  // namespace

double aloha_gripper_in(double opening) noexcept {
  const double p = opening * (kOpen - kClosed) + kClosed;
  const double q = (kHorn * kHorn + p * p - kArm * kArm) / (2 * kHorn * p);
  const double angle = std::asin(std::clamp(q, -1.0, 1.0));
  return (angle - kAngleClosed) / (kAngleOpen - kAngleClosed);
}

double aloha_gripper_out(double angle) noexcept {
  return (angle + kAngleClosed - kCommandClosed) / (kCommandOpen - kCommandClosed);
}

double aloha_gripper_out_inverse(double command) noexcept {
  return command * (kCommandOpen - kCommandClosed) - kAngleClosed + kCommandClosed;
}

namespace {

void apply_signs(const RobotRules& rules, std::span<double> v) noexcept {
  const std::size_t n = std::min(v.size(), rules.sign.size());
  for (std::size_t i = 0; i < n; ++i) v[i] *= rules.sign[i];
}

// The released clients evaluate this in fp32.
double negate(double g) noexcept { return -(2.0f * static_cast<float>(g) - 1.0f); }

double gripper_out(GripperMap map, double g) noexcept {
  switch (map) {
    case GripperMap::none:
      return g;
    case GripperMap::aloha:
      return aloha_gripper_out(g);
    case GripperMap::negate:
      return negate(g);
    case GripperMap::negate_binary: {
      const double v = negate(g);
      return v > 0 ? 1.0 : v < 0 ? -1.0 : 0.0;
    }
  }
  return g;
}

}  // namespace

void adapt_state(const RobotRules& rules, std::span<double> state) noexcept {
  apply_signs(rules, state);
  if (rules.gripper != GripperMap::aloha) return;
  for (const int g : rules.grippers) {
    if (g < static_cast<int>(state.size())) state[g] = aloha_gripper_in(state[g]);
  }
}

void to_robot_action(const RobotRules& rules, std::span<const double> state,
                     std::span<double> action) noexcept {
  const std::size_t n = std::min({action.size(), rules.delta.size(), state.size()});
  for (std::size_t i = 0; i < n; ++i) {
    if (rules.delta[i]) action[i] += state[i];
  }
  apply_signs(rules, action);
  for (const int g : rules.grippers) {
    if (g < static_cast<int>(action.size())) action[g] = gripper_out(rules.gripper, action[g]);
  }
}

void from_robot_action(const RobotRules& rules, std::span<const double> state,
                       std::span<double> action) noexcept {
  const bool negated =
      rules.gripper == GripperMap::negate || rules.gripper == GripperMap::negate_binary;
  for (const int g : rules.grippers) {
    if (g >= static_cast<int>(action.size())) continue;
    if (rules.gripper == GripperMap::aloha) action[g] = aloha_gripper_out_inverse(action[g]);
    if (negated) action[g] = (1.0 - action[g]) / 2.0;
  }
  apply_signs(rules, action);  // signs are their own inverse
  const std::size_t n = std::min({action.size(), rules.delta.size(), state.size()});
  for (std::size_t i = 0; i < n; ++i) {
    if (rules.delta[i]) action[i] -= state[i];
  }
}

}  // namespace tendon
