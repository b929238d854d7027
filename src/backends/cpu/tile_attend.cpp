#include "backends/cpu/tile_attend.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/tiles.h"

namespace tendon::cpu {
namespace {

// Narrower heads would be mostly zeros.
constexpr std::int64_t kLeastWidth = 32;
constexpr std::int64_t kLine = 64;  // between rows, so that they lie in different sets of L1

std::int64_t whole(std::int64_t n) { return (n + kTileDepth - 1) / kTileDepth * kTileDepth; }

// Line by line, so that short rows cost no call each.
void copy_row(const std::byte* from, std::int64_t bytes, std::byte* to) {
  std::int64_t at = 0;
  for (; at + 64 <= bytes; at += 64) std::memcpy(to + at, from + at, 64);
  if (at < bytes) std::memcpy(to + at, from + at, static_cast<std::size_t>(bytes - at));
}

}  // namespace

bool TileAttend::suits(const Planner& planner, const ops::Attention& op) {
  const Trace& t = planner.trace();
  const auto narrow = [&](Value v) { return !v || t.dtype(v) == DType::bf16; };
  return planner.machine().tiles && planner.kernels().panel_columns == kTileColumns &&
         t.shape(op.q)[-1] >= kLeastWidth && narrow(op.q) && narrow(op.keys[0].k) &&
         narrow(op.keys[0].v) && narrow(op.keys[1].k) && narrow(op.keys[1].v);
}

TileAttend::TileAttend(Planner& planner, std::int64_t width, std::int64_t lanes)
    : kernels_(&planner.kernels()),
      width_(width),
      deep_(whole(width)),
      k_row_(deep_ * 2 + kLine),
      v_row_(kKeys * 2 + kLine),
      q_(planner.own_of<std::byte>(lanes * deep_ * 2)),
      k_(planner.own_of<std::byte>(kKeys * k_row_)),
      v_(planner.own_of<std::byte>(deep_ * v_row_)),
      weights_(planner.own_of<std::byte>(kKeys * kTileColumns * 2)),
      turned_(planner.own_of<float>((deep_ + kTileColumns) * kTileColumns)) {}

void TileAttend::load_queries(int thread, std::int64_t panel, const float* rows,
                              std::int64_t pitch) const {
  float* turned = turned_.of(thread);
  kernels_->to_lanes(rows, pitch, width_, turned);
  kernels_->to_pairs(turned, width_, deep_, q_.of(thread) + panel * deep_ * kTileColumns * 2);
}

void TileAttend::load_keys(int thread, const Keys& keys) const {
  const std::int64_t filled = whole(keys.count), bytes = width_ * 2, tail = deep_ * 2 - bytes;
  std::byte* k = k_.of(thread);
  for (std::int64_t key = 0; key < keys.count; ++key, k += k_row_) {
    copy_row(keys.k + key * keys.k_row, bytes, k);
    if (tail > 0) std::memset(k + bytes, 0, static_cast<std::size_t>(tail));
  }
  std::memset(k, 0, static_cast<std::size_t>((filled - keys.count) * k_row_));
  kernels_->turn_rows({.x = keys.v,
                       .row_bytes = keys.v_row,
                       .rows = keys.count,
                       .width = width_,
                       .filled = filled,
                       .out = v_.of(thread),
                       .out_bytes = v_row_});
}

void TileAttend::attend(int thread, const AttentionTile& t, float scale) const {
  const std::int64_t keys = whole(t.keys), area = deep_ * kTileColumns;
  Tiles tiles;
  tiles.set_shape(kTileRows);
  for (std::int64_t panel = 0; panel * kTileColumns < t.lanes; ++panel) {
    TileBlock scores{.a_row = k_row_, .k = deep_, .c_row = kTileColumns, .fresh = true};
    scores.b = q_.of(thread) + panel * area * 2;
    for (std::int64_t key = 0; key < keys; key += kTileRows) {
      scores.a = k_.of(thread) + key * k_row_;
      scores.c = t.scores + key * kTileColumns;
      tiles.multiply(scores);
    }
    kernels_->scale(t.scores, scale, t.keys * kTileColumns);
    kernels_->weigh_panel(t, panel);
    kernels_->to_pairs(t.scores, t.keys, keys, weights_.of(thread));
    TileBlock sums{.a_row = v_row_, .k = keys, .b = weights_.of(thread), .c_row = kTileColumns};
    for (std::int64_t d = 0; d < deep_; d += kTileRows) {
      sums.a = v_.of(thread) + d * v_row_;
      sums.c = t.sum + panel * area + d * kTileColumns;
      tiles.multiply(sums);
    }
  }
}

}  // namespace tendon::cpu
