// The inner loops, built once for each instruction set from one source (*.inl) and chosen at run
// time. All of them are noexcept in effect, allocate nothing and run on the calling thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/isa.h"
#include "base/dtype.h"
#include "ops/ops.h"

namespace tendon::cpu {

// How a packed matrix keeps its elements. Panels of Kernels::panel_columns outputs, each
// [K][columns]; bf16: [ceil(K/2)][columns][2], so that one 32-bit lane holds two neighbours in K.
enum class PanelType : std::uint8_t { f32, bf16 };

// c[rows, panels * columns] = a b, all of K.
struct ProductTile {
  const float* a = nullptr;
  std::int64_t a_row = 0;  // distance of rows of a; 0: packed panels [group][K][group_rows]
  std::int64_t group = 1;  // rows of a multiplied at once, at most Kernels::rows(type)
  std::int64_t rows = 0, k = 0;
  const std::byte* b = nullptr;  // the first panel
  std::int64_t panels = 0, panel_bytes = 0;
  PanelType type = PanelType::f32;
  float* c = nullptr;
  std::int64_t c_row = 0;
};

// Rows of x as they lie (f32, bf16, f16) into [K][group]. One row alone leaves the others of its
// group as they are; else those past `rows` become anything.
struct PackGroup {
  DType from = DType::f32;
  const void* x = nullptr;
  std::int64_t row_bytes = 0, rows = 0, k = 0, group = 1;
  float* out = nullptr;
};

// n = (x - mean) * rsqrt(mean square or variance + eps); n * (offset + weight) + bias, then
// n * (1 + scale) + shift. Null pointers are left out. `centred`: LayerNorm.
struct NormRow {
  float* x = nullptr;  // in place, [width]
  std::int64_t width = 0;
  const float *weight = nullptr, *bias = nullptr, *scale = nullptr, *shift = nullptr;
  float weight_offset = 0, eps = 0;
  bool centred = false;
};

// What follows a product, of a piece of one row: out = residual + gate * act(x + bias) * up. Null
// pointers are left out; types are f32, bf16, f16.
struct FinishRow {
  const float* x = nullptr;  // [width]
  std::int64_t width = 0;
  const float *bias = nullptr, *up = nullptr, *gate = nullptr;
  Act act = Act::none;
  DType residual_type = DType::f32, out_type = DType::f32;
  const void* residual = nullptr;
  void* out = nullptr;  // may be the residual
};

// Rows of f32, bf16 or f16, `row_bytes` apart, to fp32 rows `pitch` apart.
struct RowLoad {
  DType from = DType::f32;
  const void* x = nullptr;
  std::int64_t row_bytes = 0, rows = 0, width = 0, pitch = 0;
  float* out = nullptr;
};

// fp32 rows `pitch` apart to rows of f32, bf16 or f16, `row_bytes` apart.
struct RowStore {
  DType to = DType::f32;
  const float* x = nullptr;
  std::int64_t pitch = 0, rows = 0, width = 0, row_bytes = 0;
  void* out = nullptr;
};

// Rows of bf16 as columns: out[width][filled], `out_bytes` apart, zeros past the last row.
// `filled`: a multiple of Kernels::width.
struct RowTurn {
  const void* x = nullptr;
  std::int64_t row_bytes = 0, rows = 0, width = 0, filled = 0;
  void* out = nullptr;
  std::int64_t out_bytes = 0;
};

// One tile of attention: `lanes` (a multiple of panel_columns) query rows that share a key head,
// against `keys` keys. State between tiles: peak, total [lanes], sum [Dh][panel_columns] a panel.
struct AttentionTile {
  const float* q = nullptr;                // panels of [Dh][columns], scale applied
  const float *k = nullptr, *v = nullptr;  // [keys, Dh], rows k_row and v_row apart
  std::int64_t k_row = 0, v_row = 0;
  std::int64_t keys = 0, head_width = 0, lanes = 0;
  const float* key_bias = nullptr;          // [keys] or null
  const float* const* lane_bias = nullptr;  // for each lane [keys], or null
  const std::int32_t* limit = nullptr;      // for each lane: keys it sees of this tile; or null
  float* scores = nullptr;                  // [keys][columns] scratch
  float *peak = nullptr, *total = nullptr, *sum = nullptr;
};

// State of one panel of queries after some of the keys, see AttentionTile.
struct AttentionPart {
  float *peak = nullptr, *total = nullptr, *sum = nullptr;
};

struct Kernels {
  Isa isa = Isa::baseline;
  int width = 4, panel_columns = 8;
  int tile_rows = 4, pair_rows = 4;  // of a, multiplied at once: with f32 and with bf16 panels

  int rows(PanelType type) const { return type == PanelType::bf16 ? pair_rows : tile_rows; }

  // Conversion from and to f32, bf16, f16.
  void (*load)(DType from, const void* src, std::int64_t n, float* dst);
  void (*store)(DType to, const float* src, std::int64_t n, void* dst);

  void (*load_rows)(const RowLoad& rows);
  void (*store_rows)(const RowStore& rows);
  void (*turn_rows)(const RowTurn& rows);

  void (*activate)(Act act, float* x, std::int64_t n);                         // in place
  void (*add)(float* x, const float* y, std::int64_t n);                       // x += y
  void (*multiply)(float* x, const float* y, std::int64_t n);                  // x *= y
  void (*scale)(float* x, float factor, std::int64_t n);                       // x *= factor
  void (*add_scaled)(float* x, const float* y, float factor, std::int64_t n);  // x += factor * y
  void (*normalise)(const NormRow& row);
  void (*finish)(const FinishRow& row);
  // Rotates the pairs of x [2 * half].
  void (*rotate)(ops::RopeStyle style, float* x, const float* cos, const float* sin,
                 std::int64_t half);

  void (*pack_group)(const PackGroup& group);
  // Rows [0, rows) of fp32 weights [rows, K] into one panel; missing rows become 0.
  void (*pack_panel)(PanelType type, const float* w, std::int64_t rows, std::int64_t k,
                     std::byte* panel);
  void (*multiply_tile)(const ProductTile& tile);
  void (*attend)(const AttentionTile& tile);
  // Of attend(), what is between its products: scores of a panel to weights.
  void (*weigh_panel)(const AttentionTile& tile, std::int64_t panel);
  // What follows the last tile: sum [width][panel_columns] of a panel by its lanes' total.
  void (*divide_sums)(float* sum, const float* total, std::int64_t width);
  // Rows [count, panel_columns] of fp32 as PanelType::bf16 of K = total, zeros past count.
  void (*to_pairs)(const float* rows, std::int64_t count, std::int64_t total, std::byte* out);
  // The state after the keys of all `count` parts, into parts[0].
  void (*merge_parts)(const AttentionPart* parts, std::int64_t count, std::int64_t head_width);
  // panel_columns rows, `pitch` apart, to [width][panel_columns] and back. Rows are read and
  // written up to the next multiple of `width` of a vector.
  void (*to_lanes)(const float* rows, std::int64_t pitch, std::int64_t width, float* panel);
  void (*from_lanes)(const float* panel, std::int64_t width, std::int64_t pitch, float* rows);
};

const Kernels& kernels_baseline();
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();
const Kernels& kernels(Isa isa);

}  // namespace tendon::cpu
