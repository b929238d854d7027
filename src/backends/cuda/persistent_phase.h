// What a persistent step kernel executes: phases, in order, every CTA taking its share of each.
#pragma once

#include "backends/cuda/attention.h"
#include "backends/cuda/device/rotate.h"
#include "backends/cuda/elements.h"

namespace tendon::cuda::persistent {

inline constexpr int kWarps = 8, kThreads = 32 * kWarps;
inline constexpr int kColumns = 8;  // output columns of a unit, the smallest share of a product
inline constexpr int kBlock = 32;   // inputs of a tile: a unit by a block is 512 bytes
inline constexpr int kTileBytes = kColumns * kBlock * 2;
inline constexpr int kPiece = 2048;  // bytes of one bulk copy
inline constexpr int kPieceTiles = kPiece / kTileBytes;
inline constexpr int kDepth = 3;    // pieces in flight or waiting, a warp
inline constexpr int kCluster = 4;  // CTAs
inline constexpr int kEarly = 3;    // results a thread has their operands ready for
inline constexpr int kMostInputs =
    1024;  // of a product with a norm, and of a CTA's share of others
inline constexpr int kRingBytes = kWarps * kDepth * kPiece;
inline constexpr int kConstantBytes = 2 * kMostInputs * 4;
inline constexpr int kEarlyBytes = kEarly * kThreads * (16 + 8);
inline constexpr int kPhaseBytes = 1024;
inline constexpr int kRegionBytes = 153600;  // activations and sums, or keys and values
inline constexpr int kSharedBytes =
    kRingBytes + kRegionBytes + kConstantBytes + kEarlyBytes + 2 * kPhaseBytes + 512;
static_assert(kSharedBytes <= 227 * 1024);

// How unit u's columns c = 0..7 lie in the weight, and what joins c and c + 4.
enum class Columns : std::uint8_t {
  plain,  // 8 u + c
  gated,  // gate 4 u + c, then up 4 u + c
  pairs,  // of a rotation: 4 u + c of all first elements, and their partners
};

enum class NormKind : std::uint8_t { none, rms, layer };

struct ProductPhase {
  device::RowsView x;
  int m = 0, k = 0, blocks = 0;  // blocks = ceil(k / 32)
  // A norm of x on the way in.
  NormKind norm = NormKind::none;
  const float* norm_weight = nullptr;
  const float* norm_bias = nullptr;
  float offset = 0, eps = 0;
  device::TableView scale, shift;
  std::uint8_t rows_differ = 0;  // each row its own scale and shift
  std::uint8_t vectors = 0;      // x allows 16-byte loads
  std::uint8_t wide_tables = 0;  // so do the norm's vectors and tables
  std::uint8_t split = 0;        // a cluster shares the inputs, else each CTA has all
  Columns columns = Columns::plain;
  int n = 0, units = 0, rotate_share = 0;
  float inverse_m = 1, inverse_half = 1;  // 1 / m, 1 / (head / 2): for divisions
  // out = residual + gate * curve(sum + bias)
  const float* bias = nullptr;
  const float* up_bias = nullptr;
  device::Curve curve = device::Curve::none;
  device::TableView gate;
  device::RowsView residual, out;
  // q, k, v in place of out; rows are heads of tokens.
  device::RowsView q, key, value;
  int q_columns = 0, key_columns = 0, head = 0;
  device::Rotation rotation;
};

// fp32 products of few columns or inputs.
struct PlainProductPhase {
  device::RowsView x;
  const float* weight = nullptr;
  int m = 0, n = 0, k = 0;
  const float* bias = nullptr;
  device::Curve curve = device::Curve::none;
  device::TableView gate;
  device::RowsView residual, out;
  std::uint8_t vectors = 0;  // 16-byte loads of x and of the weight's rows
};

struct NormPhase {
  device::RowsView x, out;
  NormKind kind = NormKind::rms;
  const float* weight = nullptr;
  const float* bias = nullptr;
  float offset = 0, eps = 0;
  device::TableView scale, shift;
};

enum class Kind : std::uint8_t { product, plain_product, attention, norm, rows, strided, gather };

struct alignas(16) Phase {
  Kind kind = Kind::rows;
  std::uint8_t waits = 1;       // for all CTAs to finish the phases before
  std::uint8_t prefetches = 0;  // attention: no phase writes the first piece of keys
  std::uint8_t closes = 1;      // a cluster's CTAs may not go on alone: shared memory is still read
  std::int64_t items = 0;       // of rows, strided, gather
  union {
    ProductPhase product;
    PlainProductPhase plain;
    AttentionArgs attention;
    NormPhase norm;
    RowsArgs rows;
    StridedArgs strided;
    GatherArgs gather;
  };
  Phase() : rows{} {}
};
static_assert(sizeof(Phase) <= kPhaseBytes);
static_assert(std::is_trivially_copyable_v<Phase>);

struct StepArgs {
  const Phase* phases = nullptr;
  int count = 0;
  const std::byte* stream = nullptr;            // packed weights
  const std::uint32_t* stream_first = nullptr;  // [CTAs * warps + 1] first piece of a warp's stream
  const std::int32_t* iteration = nullptr;  // stands for the current iteration wherever it appears
  int first = 0, repetitions = 0;
  std::uint32_t* barrier = nullptr;
  std::uint32_t barrier_base = 0;
  long long* clock = nullptr;  // [count] cycles when a phase began, of the last repetition; or null
};

// The share of part `part` of `parts`: [first, last).
struct Share {
  int first, last;
};
__host__ __device__ inline Share share(int units, int part, int parts, int turn) {
  const int at = (part + turn) % parts;
  return {units * at / parts, units * (at + 1) / parts};
}

// x / y for x below 2^20, given 1 / y.
__host__ __device__ inline int divide(int x, float inverse) {
  return static_cast<int>((static_cast<float>(x) + 0.5f) * inverse);
}

// The weight row of column c of unit u; -1: none.
__host__ __device__ inline int weight_row(const ProductPhase& p, int u, int c) {
  if (p.columns == Columns::gated) return (c < 4 ? 0 : p.n) + 4 * u + c % 4;
  const int plain = 8 * u + c;
  if (p.columns == Columns::plain) return plain < p.n ? plain : -1;
  if (8 * u >= p.q_columns + p.key_columns) return plain;
  const int half = p.head / 2, pair = 4 * u + c % 4;
  const int h = divide(pair, p.inverse_half), i = pair - h * half;
  const int column = p.rotation.interleaved ? 2 * i + c / 4 : i + (c < 4 ? 0 : half);
  return h * p.head + column;
}

// How many units' sums a pass keeps, by tiles of 16 rows; and how many units take turns in a
// stream.
constexpr int pass_units(int tiles) { return tiles == 1 ? 16 : tiles == 2 ? 10 : 3; }
constexpr int turn_units(int tiles) { return tiles <= 2 ? 1 : pass_units(tiles); }

}  // namespace tendon::cuda::persistent
