// Two tiles of rows by two of columns: sums in registers 0 to 3, rows in 4 and 5, columns in 6 and
// 7. A pass loads four tiles for four products.
#include <immintrin.h>

#include <array>

#include "backends/cpu/tiles.h"

namespace tendon::cpu {
namespace {

struct alignas(64) Config {
  std::uint8_t palette = 1, start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(Config) == 64);

// Rows of the upper tiles; the lower ones have the rest.
constexpr std::int64_t upper(std::int64_t rows) { return rows > 16 ? (rows + 1) / 2 : rows; }

constexpr Config config_for(std::int64_t rows, std::int64_t depth) {
  Config c;
  const auto top = static_cast<std::uint8_t>(upper(rows));
  const auto bottom = static_cast<std::uint8_t>(rows - top);
  const auto pairs = static_cast<std::uint8_t>(depth / 2);
  const std::uint8_t of[8] = {top, top, bottom, bottom, top, bottom, pairs, pairs};
  for (int i = 0; i < 8; ++i) {
    c.rows[i] = of[i];
    c.row_bytes[i] = of[i] == 0 ? 0 : i == 4 || i == 5 ? static_cast<std::uint16_t>(4 * pairs) : 64;
  }
  return c;
}

// By half the depth, then by rows. In memory of their own: the compiler does not know that the
// instruction reads all of one.
constexpr auto kConfigs = [] {
  std::array<std::array<Config, kTileRows + 1>, kTileDepth / 2 + 1> all{};
  for (std::int64_t depth = 2; depth <= kTileDepth; depth += 2) {
    for (std::int64_t rows = 1; rows <= kTileRows; ++rows) {
      all[static_cast<std::size_t>(depth / 2)][static_cast<std::size_t>(rows)] =
          config_for(rows, depth);
    }
  }
  return all;
}();

constexpr std::int64_t kPairRow = kTileColumns * 4;  // bytes of b for two of K

inline void ask(const TileBlock& t, std::int64_t pass) {
  if (pass >= t.next_passes) return;
  const std::byte* next = t.next + pass * t.next_bytes;
  for (std::int64_t part = 0; part < t.next_parts; ++part, next += t.next_part) {
    for (std::int64_t at = 0; at < t.next_bytes; at += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(next + at), _MM_HINT_T1);
    }
  }
}

void multiply_both(const TileBlock& t, std::int64_t top, std::int64_t depth) {
  const auto c_row = static_cast<long>(t.c_row * 4);
  float* below = t.c + top * t.c_row;
  if (t.fresh) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, t.c, c_row);
    _tile_loadd(1, t.c + 16, c_row);
    _tile_loadd(2, below, c_row);
    _tile_loadd(3, below + 16, c_row);
  }
  const std::byte *a = t.a, *lower = t.a + top * t.a_row, *b = t.b;
  for (std::int64_t pass = 0; pass * depth < t.k; ++pass) {
    ask(t, pass);
    _tile_loadd(6, b, kPairRow);
    _tile_loadd(4, a, t.a_row);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + 64, kPairRow);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, lower, t.a_row);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    a += 2 * depth, lower += 2 * depth, b += depth / 2 * kPairRow;
  }
  _tile_stored(0, t.c, c_row);
  _tile_stored(1, t.c + 16, c_row);
  _tile_stored(2, below, c_row);
  _tile_stored(3, below + 16, c_row);
}

void multiply_upper(const TileBlock& t, std::int64_t depth) {
  const auto c_row = static_cast<long>(t.c_row * 4);
  if (t.fresh) {
    _tile_zero(0);
    _tile_zero(1);
  } else {
    _tile_loadd(0, t.c, c_row);
    _tile_loadd(1, t.c + 16, c_row);
  }
  const std::byte *a = t.a, *b = t.b;
  for (std::int64_t pass = 0; pass * depth < t.k; ++pass) {
    ask(t, pass);
    _tile_loadd(4, a, t.a_row);
    _tile_loadd(6, b, kPairRow);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + 64, kPairRow);
    _tile_dpbf16ps(1, 4, 7);
    a += 2 * depth, b += depth / 2 * kPairRow;
  }
  _tile_stored(0, t.c, c_row);
  _tile_stored(1, t.c + 16, c_row);
}

}  // namespace

Tiles::~Tiles() {
  if (rows_ > 0) _tile_release();
}

void Tiles::set_shape(std::int64_t rows, std::int64_t depth) noexcept {
  if (rows == rows_ && depth == depth_) return;
  rows_ = rows, depth_ = depth;
  _tile_loadconfig(&kConfigs[static_cast<std::size_t>(depth / 2)][static_cast<std::size_t>(rows)]);
}

void Tiles::multiply(const TileBlock& block) const noexcept {
  if (rows_ > 16) {
    multiply_both(block, upper(rows_), depth_);
  } else {
    multiply_upper(block, depth_);
  }
}

}  // namespace tendon::cpu
