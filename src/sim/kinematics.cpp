#include "sim/kinematics.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tendon::sim {

Vec3 grasp_point(const Joints& joints) {
  const double upper = joints[1], fore = upper + joints[2], hand = fore + joints[3];
  const double r = kLink * std::sin(upper) + kLink * std::sin(fore) + kHand * std::sin(hand);
  const double z =
      kShoulderHeight + kLink * std::cos(upper) + kLink * std::cos(fore) + kHand * std::cos(hand);
  return around_base(r, joints[0], z);
}

Joints joints_at(const Vec3& point) {
  const double r = std::hypot(point[0], point[1]);
  const double z = point[2] + kHand - kShoulderHeight;  // of the wrist, above the shoulder
  // One millimetre short of the straight arm keeps the elbow defined.
  const double reach = std::min(std::hypot(r, z), 2 * kLink - 1e-3);
  const double cosine = (reach * reach - 2 * kLink * kLink) / (2 * kLink * kLink);
  const double elbow = std::acos(std::clamp(cosine, -1.0, 1.0));
  const double shoulder =
      std::atan2(r, z) - std::atan2(kLink * std::sin(elbow), kLink + kLink * std::cos(elbow));
  return {std::atan2(point[1], point[0]), shoulder, elbow, std::numbers::pi - shoulder - elbow};
}

Vec3 around_base(double radius, double angle, double height) {
  return {radius * std::cos(angle), radius * std::sin(angle), height};
}

double horizontal_distance(const Vec3& a, const Vec3& b) {
  return std::hypot(a[0] - b[0], a[1] - b[1]);
}

double distance(const Vec3& a, const Vec3& b) {
  return std::hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

}  // namespace tendon::sim
