#include "sim/ray_caster.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "tendon/error.h"

namespace tendon::sim {
namespace {

constexpr int kLanes = 4;
constexpr float kNear = 0.02f;  // the scene's znear
constexpr float kFar = 1e9f;
constexpr float kTiny = 1e-9f;  // a ray along a slab enters it far away instead of nowhere

using F4 = float __attribute__((vector_size(4 * kLanes)));
using I4 = std::int32_t __attribute__((vector_size(4 * kLanes)));

// A box as one camera sees it.
struct Target {
  float to_box[3][3];      // camera axes in the box's frame: [box axis][right, up, backwards]
  float low[3], high[3];   // the slabs' planes, from the camera's centre
  std::int32_t colour[3];  // of the face each axis shows to the camera
  int x0 = 0, x1 = 0, y0 = 0, y1 = 0;  // pixels it can cover, half open; x0 a multiple of kLanes
};

struct Canvas {
  float* depth;
  std::uint32_t* colour;
  const float* across;  // of each column, on the plane one metre away
  int size, stride;
  float tangent;  // of half the field of view
};

std::int32_t packed_colour(const float (&rgb)[3], float weight) {
  std::uint32_t packed = 0;
  for (int k = 0; k < 3; ++k) {
    const float value = std::clamp(rgb[k] * weight, 0.0f, 1.0f) * 255 + 0.5f;
    packed |= static_cast<std::uint32_t>(value) << (8 * k);
  }
  return static_cast<std::int32_t>(packed);
}

// The pixel rectangle of the box's projected corners; all of the picture when a corner is not in
// front of the camera.
void bound(Target& target, const Canvas& canvas) {
  float left = kFar, right = -kFar, top = kFar, bottom = -kFar;
  const float n = static_cast<float>(canvas.size);
  bool behind = false;
  for (int corner = 0; corner < 8; ++corner) {
    float at[3] = {};
    for (int axis = 0; axis < 3; ++axis) {
      const float plane = (corner >> axis & 1) ? target.high[axis] : target.low[axis];
      for (int k = 0; k < 3; ++k) at[k] += target.to_box[axis][k] * plane;
    }
    if (-at[2] < kNear) behind = true;
    const float x = (at[0] / -at[2] / canvas.tangent + 1) * 0.5f * n;
    const float y = (1 - at[1] / -at[2] / canvas.tangent) * 0.5f * n;
    left = std::min(left, x), right = std::max(right, x);
    top = std::min(top, y), bottom = std::max(bottom, y);
  }
  if (behind) left = top = 0, right = bottom = n;
  target.x0 = static_cast<int>(std::clamp(std::floor(left), 0.0f, n)) / kLanes * kLanes;
  target.x1 = static_cast<int>(std::clamp(std::ceil(right) + 1, 0.0f, n));
  target.y0 = static_cast<int>(std::clamp(std::floor(top), 0.0f, n));
  target.y1 = static_cast<int>(std::clamp(std::ceil(bottom) + 1, 0.0f, n));
}

Target aim(const Box& box, const View& view, const Light& light) {
  Target target;
  for (int axis = 0; axis < 3; ++axis) {
    float centre = 0, lit = 0;
    for (int i = 0; i < 3; ++i) {
      centre += box.rotation[3 * i + axis] * (view.position[i] - box.position[i]);
      lit -= box.rotation[3 * i + axis] * light.direction[i];
    }
    for (int k = 0; k < 3; ++k) {
      float sum = 0;
      for (int i = 0; i < 3; ++i) sum += box.rotation[3 * i + axis] * view.rotation[3 * i + k];
      target.to_box[axis][k] = sum;
    }
    target.low[axis] = -box.half[axis] - centre;
    target.high[axis] = box.half[axis] - centre;
    const float facing = centre > 0 ? lit : -lit;
    target.colour[axis] =
        packed_colour(box.colour, light.ambient + light.diffuse * std::max(facing, 0.0f));
  }
  return target;
}

// Where the rays of `kLanes` pixels enter and leave one slab.
struct Span4 {
  F4 enter, leave;
};

inline __attribute__((always_inline)) Span4 cross(const Target& target, int axis, const F4& x,
                                                  float rest) {
  F4 along = target.to_box[axis][0] * x + rest;
  along = ((along < kTiny) & (along > -kTiny)) ? F4{} + kTiny : along;
  const F4 inverse = 1.0f / along;
  const F4 low = target.low[axis] * inverse, high = target.high[axis] * inverse;
  return {low < high ? low : high, low < high ? high : low};
}

// Vectors of IEEE operations, without contraction: the same picture on every processor.
void paint(const Target& target, const Canvas& canvas) {
  const float n = static_cast<float>(canvas.size), t = canvas.tangent;
  for (int row = target.y0; row < target.y1; ++row) {
    const float y = -((static_cast<float>(row) + 0.5f) / n * 2 - 1) * t;
    float rest[3];
    for (int a = 0; a < 3; ++a) rest[a] = target.to_box[a][1] * y - target.to_box[a][2];
    for (int column = target.x0; column < target.x1; column += kLanes) {
      const std::size_t at = static_cast<std::size_t>(row) * canvas.stride + column;
      F4 x, best;
      std::memcpy(&x, canvas.across + column, sizeof x);
      I4 pixel;
      std::memcpy(&best, canvas.depth + at, sizeof best);
      std::memcpy(&pixel, canvas.colour + at, sizeof pixel);
      const Span4 a = cross(target, 0, x, rest[0]), b = cross(target, 1, x, rest[1]),
                  c = cross(target, 2, x, rest[2]);
      F4 enter = a.enter, leave = a.leave;
      I4 shade = I4{} + target.colour[0];
      shade = b.enter > enter ? I4{} + target.colour[1] : shade;
      enter = b.enter > enter ? b.enter : enter;
      shade = c.enter > enter ? I4{} + target.colour[2] : shade;
      enter = c.enter > enter ? c.enter : enter;
      leave = b.leave < leave ? b.leave : leave;
      leave = c.leave < leave ? c.leave : leave;
      const I4 hit = (enter < leave) & (enter > kNear) & (enter < best);
      best = hit ? enter : best;
      pixel = hit ? shade : pixel;
      std::memcpy(canvas.depth + at, &best, sizeof best);
      std::memcpy(canvas.colour + at, &pixel, sizeof pixel);
    }
  }
}

}  // namespace

RayCaster::RayCaster(int size) : size_(size) {
  if (size < 1 || size > 4096) {
    throw Error("ray caster: a picture has 1 to 4096 pixels a side, got " + std::to_string(size));
  }
  stride_ = (size + kLanes - 1) / kLanes * kLanes;
  depth_.resize(static_cast<std::size_t>(size) * stride_);
  colour_.resize(depth_.size());
  across_.resize(stride_);
}

void RayCaster::draw(std::span<const Box> boxes, const View& view, const Light& light,
                     std::span<std::uint8_t> rgb) {
  if (rgb.size() != static_cast<std::size_t>(size_) * size_ * 3) {
    throw Error("ray caster: the picture's buffer must hold size * size * 3 bytes");
  }
  std::fill(depth_.begin(), depth_.end(), kFar);
  std::fill(colour_.begin(), colour_.end(), 0u);
  const double half_angle = view.fovy * std::numbers::pi / 360;
  const float tangent = static_cast<float>(std::tan(half_angle));
  for (int column = 0; column < stride_; ++column) {
    const float centre = (static_cast<float>(column) + 0.5f) / static_cast<float>(size_);
    across_[column] = (centre * 2 - 1) * tangent;
  }
  const Canvas canvas{depth_.data(), colour_.data(), across_.data(), size_, stride_, tangent};
  for (const Box& box : boxes) {
    Target target = aim(box, view, light);
    bound(target, canvas);
    paint(target, canvas);
  }
  std::uint8_t* out = rgb.data();
  for (int row = 0; row < size_; ++row) {
    const std::uint32_t* from = colour_.data() + static_cast<std::size_t>(row) * stride_;
    for (int column = 0; column < size_; ++column, out += 3) {
      out[0] = static_cast<std::uint8_t>(from[column]);
      out[1] = static_cast<std::uint8_t>(from[column] >> 8);
      out[2] = static_cast<std::uint8_t>(from[column] >> 16);
    }
  }
}

}  // namespace tendon::sim
