// The vocabulary: every computation tendon knows, as plain structs. A model records them on a
// Trace, a backend plans them. Letters: B batch, S tokens, D width, H heads, Dh head width, K
// inputs, N outputs of a product, T rows of a table. Accumulation is fp32 or wider everywhere; a
// result is rounded once, to the dtype of its Value, where an op's definition does not say
// otherwise. Operands of one op may differ in floating dtype (f32, bf16, f16); GatherRows and Copy
// take any dtype. An output overlaps no operand but where that is said. Rows of a tensor are those
// of its leading dimensions taken together, in order. An index or length out of its range is
// undefined; the reference refuses it.
#pragma once

#include <array>
#include <cstdint>
#include <variant>
#include <vector>

#include "ops/weight.h"

namespace tendon {

// A tensor of one Trace.
struct Value {
  std::int32_t id = -1;
  explicit operator bool() const { return id >= 0; }
  bool operator==(const Value&) const = default;
};

enum class Act : std::uint8_t { none, gelu_tanh, gelu_erf, silu };

// Row r of an operand reads table[rows[r * numel(rows) / R]][column + j], R being the operand's
// number of rows: one index serves all rows, one serves each sample, or each row has its own.
// Indices are in [0, T). Without `rows`, row 0 serves all. This is how everything constant per time
// step is tabulated.
struct RowTable {
  Value table;  // f32 [T, W]
  Value rows;   // i32, numel divides R
  std::int64_t column = 0;
  explicit operator bool() const { return static_cast<bool>(table); }
};

namespace ops {

// out = residual + gate * act(x W^T + bias); residual and gate may be absent.
struct Linear {
  Value x;           // [.., K]
  WeightRef weight;  // [N, K]
  WeightRef bias;    // [N]
  Act act = Act::none;
  RowTable gate;   // N columns
  Value residual;  // [.., N]; may be `out` itself
  Value out;       // [.., N]
};

// out = act(x Wg^T + bg) * (x Wu^T + bu). Fused: two Linear and a GatedAct.
struct GatedLinear {
  Value x;                    // [.., K]
  WeightRef gate, gate_bias;  // [N, K], [N]
  WeightRef up, up_bias;      // [N, K], [N]
  Act act = Act::silu;
  Value out;  // [.., N]
};

// out = act(conv(x) + bias) + residual, channels last, zero padding.
struct Conv2d {
  Value x;           // [B, Y, X, C]
  WeightRef weight;  // [O, kh, kw, C]
  WeightRef bias;    // [O]
  std::int64_t stride = 1;
  std::array<std::int64_t, 4> pad{};  // top, left, bottom, right
  Act act = Act::none;
  Value residual;  // [B, Y', X', O]
  Value out;       // [B, Y', X', O]
};

// softmax(scale * q k^T + biases) v over the concatenation of one or two pieces of keys.
// Query head h uses key head h / (H / Hk). Sample b sees keys [0, length[b]) of a piece; what lies
// behind them may be anything. A query that sees no key gets 0. Biases are finite.
struct Attention {
  struct Keys {
    Value k, v;    // [B, Sk, Hk, Dh]
    Value length;  // i32 [B], each in [0, Sk]; absent: all Sk
    Value bias;    // f32 [B, Sk] added to the scaled scores of each key; absent: 0
  };
  Value q;                   // [B, S, H, Dh]
  std::array<Keys, 2> keys;  // keys[1].k may be absent
  Value score_bias;          // f32 [H, S, Sk of keys[0]] added to scores of the first piece
  float scale = 1.0f;
  // Query s sees only the first min(visible[s], length) keys of the last piece; empty: no such
  // limit.
  std::vector<std::int32_t> visible;
  Value out;  // [B, S, H, Dh]
};

// n = x * rsqrt(mean(x^2) + eps); n *= weight_offset + weight; out = n * (1 + scale) + shift.
struct RmsNorm {
  Value x;                     // [.., D]
  WeightRef weight;            // [D]; absent: 1
  float weight_offset = 0.0f;  // 1 where the checkpoint stores the offset from 1
  float eps = 1e-6f;
  RowTable scale, shift;  // D columns each; absent: 0
  Value out;              // [.., D]
};

// n = (x - mean) * rsqrt(var + eps), biased variance; n = n * weight + bias;
// out = n * (1 + scale) + shift.
struct LayerNorm {
  Value x;                 // [.., D]
  WeightRef weight, bias;  // [D]; absent: 1 and 0
  float eps = 1e-6f;
  RowTable scale, shift;
  Value out;  // [.., D]
};

enum class RopeStyle : std::uint8_t {
  split_half,   // element i pairs with i + Dh/2
  interleaved,  // element 2i pairs with 2i + 1
};

// Each pair (a, b) becomes (a cos - b sin, b cos + a sin) with cos, sin of its position.
struct Rope {
  Value x;          // [B, S, H, Dh]
  Value cos, sin;   // f32 [P, Dh/2]
  Value positions;  // i32 [B, S] or [S], each in [0, P)
  RopeStyle style = RopeStyle::split_half;
  Value out;  // [B, S, H, Dh]
};

// One product for q, k and v, their norms where given, rotary positions for q and k, each result
// written where it is wanted (a key/value cache, say). Fused: Linear, RmsNorm, Rope, Copy.
// Rows of the weight: q [H Dh], then k [Hk Dh], then v [Hk Dh].
struct QkvRope {
  Value x;                   // [B, S, K]
  WeightRef weight, bias;    // [(H + 2 Hk) Dh, K]; bias may be absent
  WeightRef norm_q, norm_k;  // RmsNorm over all heads together, [H Dh], [Hk Dh]; may be absent
  float eps = 1e-6f;
  Value cos, sin, positions;  // as in Rope; absent cos: no rotation
  RopeStyle style = RopeStyle::split_half;
  Value q;     // [B, S, H, Dh]; absent (with H = 0 rows of the weight): only keys are wanted
  Value k, v;  // [B, S, Hk, Dh]
};

// out[i] = table[ids[i]] * scale.
struct Embed {
  Value ids;        // i32 [..], each in [0, V)
  WeightRef table;  // [V, D], used in place
  float scale = 1.0f;
  Value out;  // [.., D]
};

struct Activation {
  Value x;
  Act act = Act::none;
  Value out;
};

// out = act(gate) * up.
struct GatedAct {
  Value gate, up;
  Act act = Act::silu;
  Value out;
};

// out = a + b; each dimension of b is a's or 1 (broadcast). `out` may be `a` itself.
struct Add {
  Value a, b, out;
};

// out = a * b, broadcast as Add.
struct Mul {
  Value a, b, out;
};

// out = x + factor * s(row) * v, s a one-column table (absent: 1). The Euler update. `out` may be
// `x` itself.
struct Axpy {
  Value x, v;
  RowTable scale;
  float factor = 1.0f;
  Value out;
};

// out row r = mask[r] ? a row r : b row r. `out` may be `a` or `b` itself.
struct Select {
  Value mask;  // i32, one for each row
  Value a, b, out;
};

// out[i] = x[index[i]] over the rows of x taken as [R, D]; a negative index gives zeros.
struct GatherRows {
  Value x;      // [.., D]
  Value index;  // i32, numel = rows of out, each below R
  Value out;    // [.., D]
};

// Copies any strided view into another of the same shape, between floating dtypes or keeping the
// dtype.
struct Copy {
  Value x, out;
};

// out[b, y, x, :] = the block of `block` x `block` pixels, ordered (row, column, channel), or
// (channel, column, row) where `channel_major`.
struct SpaceToDepth {
  Value x;  // [B, Y, X, C]
  std::int64_t block = 2;
  bool channel_major = false;
  Value out;  // [B, Y/block, X/block, block*block*C]
};

// Mean over 2 x 2 pixels; channel c goes to out channel c * channel_step + channel_offset, all
// other channels of out become 0. With residual: added.
struct AveragePool {
  Value x;  // [B, Y, X, C]
  std::int64_t channel_step = 1, channel_offset = 0;
  Value residual;  // [B, Y/2, X/2, O]
  Value out;       // [B, Y/2, X/2, O]
};

// Camera frames to pictures by tables of numbers (base/frame_table.h): taps of the columns, rounded
// to bytes, taps of the rows, rounded, then the value of each byte; or the same in floats without
// rounding. Each of the K frames fills a rectangle of its picture; what none fills is a byte of 0.
struct Resize {
  Value frames;   // u8 [V, K, F]: a frame in the first bytes
  Value tables;   // i32 [V, K, frame_table::size(Y, X)]
  Value weights;  // f32 [V, K, W]
  Value out;      // [V, Y, X, 3]
};

}  // namespace ops

using Op = std::variant<ops::Linear, ops::GatedLinear, ops::Conv2d, ops::Attention, ops::RmsNorm,
                        ops::LayerNorm, ops::Rope, ops::QkvRope, ops::Embed, ops::Activation,
                        ops::GatedAct, ops::Add, ops::Mul, ops::Axpy, ops::Select, ops::GatherRows,
                        ops::Copy, ops::SpaceToDepth, ops::AveragePool, ops::Resize>;

}  // namespace tendon
