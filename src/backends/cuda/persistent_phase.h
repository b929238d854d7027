// What a persistent step kernel executes: phases, in order, every CTA taking its share of each.
#pragma once

#include "backends/cuda/attention.h"
#include "backends/cuda/device/rotate.h"
#include "backends/cuda/elements.h"

namespace tendon::cuda::persistent {

inline constexpr int kWarps = 8, kThreads = 32 * kWarps;
inline constexpr int kCluster = 4;  // CTAs that share the inputs of a product
inline constexpr int kColumns = 8;  // output columns of a unit, the smallest share of a product
inline constexpr int kBlock = 32;   // inputs of a tile: a unit by a block is 512 bytes
inline constexpr int kTileBytes = kColumns * kBlock * 2;
inline constexpr int kSlotTiles = 10;  // a slot of the ring holds a bulk copy of so many tiles
inline constexpr int kSlotBytes = kSlotTiles * kTileBytes;
inline constexpr int kMostDepth = 10;    // slots of a warp's ring
inline constexpr int kMostRows = 64;     // of a product
inline constexpr int kNormBlocks = 8;    // a CTA's share of a product with a norm: 8 inputs a lane
inline constexpr int kDirectBlocks = 4;  // a warp's share of any other product
inline constexpr int kPhaseBytes = 1024;
// Beside ring and region: two phases, the rings' barriers and states, sums of rows, positions, the
// iteration.
inline constexpr int kFixedBytes = 2 * (kPhaseBytes + kWarps * 32) +
                                   kWarps * (kMostDepth * 8 + 64) + kCluster * kMostRows * 8 +
                                   kMostRows * 4 + 64;
inline constexpr int kSharedBytes = 227 * 1024;

// How unit u's columns n = 0..7 lie in the weight. Columns 2 j and 2 j + 1 meet in one result.
enum class Columns : std::uint8_t {
  plain,  // 8 u + n
  gated,  // gate 4 u + j, then up 4 u + j
  pairs,  // heads of q, k, v: a pair of a rotation; two neighbours of v
};

enum class NormKind : std::uint8_t { none, rms, layer };

// A norm of rows that is left to whoever reads them: rows come without the factor
// rsqrt(sum / width + eps), where sum is over `parts`: sums[part * stride + row].
struct RowFactor {
  const float* sums = nullptr;
  int parts = 0, stride = 0;
  float inverse_width = 0, eps = 0;
};

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
  Columns columns = Columns::plain;
  int n = 0, units = 0, turn = 0;
  float inverse_half = 1;  // 1 / (head / 2): for divisions
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
  // A norm over the columns of q (or of out) and of key, whose factor of each row is left to the
  // reader: results are multiplied by the weights, and their squares before that are summed up.
  const float* after_q = nullptr;
  const float* after_key = nullptr;
  float* squares = nullptr;  // [cluster][2][m]
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

struct AttentionPhase {
  AttentionArgs args;
  int units = 0;           // tiles of 16 packed rows
  int span = 1;            // CTAs of a cluster that share a unit's keys
  int cached = 0;          // no phase writes the first piece of keys
  float inverse_rows = 1;  // 1 / rows of the queries: for divisions
  RowFactor q, own_keys;
};

enum class Kind : std::uint8_t { product, plain_product, attention, norm, rows, strided, gather };

struct alignas(16) Phase {
  Kind kind = Kind::rows;
  std::uint8_t waits = 1;   // for all CTAs to finish the phases before
  std::uint8_t closes = 1;  // a cluster's CTAs may not go on alone: shared memory is still read
  std::int64_t items = 0;   // of rows, strided, gather
  union {
    ProductPhase product;
    PlainProductPhase plain;
    AttentionPhase attention;
    NormPhase norm;
    RowsArgs rows;
    StridedArgs strided;
    GatherArgs gather;
  };
  Phase() : rows{} {}
};
static_assert(sizeof(Phase) <= kPhaseBytes);
static_assert(std::is_trivially_copyable_v<Phase>);

// Parts of a phase that the clock tells apart.
inline constexpr int kMarks = 6;  // began, allowed, loaded, computed, met, finished

struct Work;

struct StepArgs {
  const Phase* phases = nullptr;
  const Work* work = nullptr;  // [count, CTAs, warps]; of products
  int count = 0;
  int region = 0, depth = 0;                    // bytes of working memory; slots of a warp's ring
  const std::byte* stream = nullptr;            // packed weights
  const std::uint32_t* stream_first = nullptr;  // [CTAs * warps] first tile of a warp's stream
  const std::uint32_t* piece_count = nullptr;   // [CTAs * warps] bulk copies of a step
  const std::uint8_t* piece_tiles = nullptr;    // [CTAs * warps, piece_stride] tiles of each
  int piece_stride = 0;                         // a multiple of 32
  const std::int32_t* iteration = nullptr;  // stands for the current iteration wherever it appears
  int first = 0, repetitions = 0;
  std::uint32_t* barrier = nullptr;
  std::uint32_t barrier_base = 0;
  long long* clock = nullptr;  // [count, kMarks] cycles, of the last repetition; or null
};

// Part `part` of `parts` of n things.
struct Share {
  int first, last;
  __host__ __device__ int count() const { return last - first; }
};
__host__ __device__ inline Share share(int n, int part, int parts) {
  return {n * part / parts, n * (part + 1) / parts};
}

// What a cluster, one of its CTAs and a warp do of a product; made while planning, since divisions
// take as long as the arithmetic they would divide.
struct alignas(16) Work {
  std::int16_t first_unit, units;    // of the cluster
  std::int16_t first_mine, mine;     // the warp's, counted from first_unit
  std::int16_t first_block, blocks;  // the warp's
  std::int16_t first_cta_block, cta_blocks;
  std::int16_t first_row, rows;  // that the CTA finishes
  float inverse_row = 0;         // 1 / results of a row: pairs of columns
};
static_assert(sizeof(Work) == 32);

__host__ __device__ inline Work work_of(const ProductPhase& p, int cta, int clusters, int warp) {
  auto narrow = [](int x) { return static_cast<std::int16_t>(x); };
  const int rank = cta % kCluster;
  const Share units = share(p.units, (cta / kCluster + p.turn) % clusters, clusters);
  const Share blocks = share(p.blocks, rank, kCluster), rows = share(p.m, rank, kCluster);
  Work w{};
  w.first_unit = narrow(units.first), w.units = narrow(units.count());
  w.first_cta_block = narrow(blocks.first), w.cta_blocks = narrow(blocks.count());
  w.first_row = narrow(rows.first), w.rows = narrow(rows.count());
  w.inverse_row = units.count() ? 0.25f / static_cast<float>(units.count()) : 0.0f;
  w.mine = w.units, w.first_block = w.first_cta_block, w.blocks = w.cta_blocks;
  if (p.norm != NormKind::none) {  // rows lie in shared memory: a warp has units of its own
    const Share own = share(units.count(), warp, kWarps);
    w.first_mine = narrow(own.first), w.mine = narrow(own.count());
  } else {  // a warp holds its share of the inputs in registers
    const Share own = share(blocks.count(), warp, kWarps);
    w.first_block = narrow(blocks.first + own.first), w.blocks = narrow(own.count());
  }
  return w;
}

// A warp computes its units in groups of so many, the last one of what is left. By tiles of 16
// rows.
constexpr int most_group(int tiles, NormKind norm) {
  return tiles == 4 && norm == NormKind::none ? 3 : 5;
}

// x / y for x below 2^20, given 1 / y.
__host__ __device__ inline int divide(int x, float inverse) {
  return static_cast<int>((static_cast<float>(x) + 0.5f) * inverse);
}

// The weight's row of column n of unit u; -1: none.
__host__ __device__ inline int weight_row(const ProductPhase& p, int u, int n) {
  if (p.columns == Columns::gated) return n % 2 * p.n + 4 * u + n / 2;
  const int plain = 8 * u + n;
  if (p.columns == Columns::plain) return plain < p.n ? plain : -1;
  if (8 * u >= p.q_columns + p.key_columns) return plain;
  const int half = p.head / 2, pair = 4 * u + n / 2;
  const int h = divide(pair, p.inverse_half), i = pair - h * half;
  return h * p.head + (p.rotation.interleaved ? 2 * i + n % 2 : i + n % 2 * half);
}

// Bytes of working memory.
inline int round_up(int x, int to) { return (x + to - 1) / to * to; }
__host__ __device__ inline int row_pitch(int blocks) {  // bytes; no two of 8 lanes meet in a bank
  return (blocks + 1 + blocks % 2) * kBlock * 2;
}
__host__ __device__ inline int rows_bytes(const ProductPhase& p) {
  if (p.norm == NormKind::none) return 0;
  const int widest = (p.blocks + kCluster - 1) / kCluster;
  return p.m * (widest + 2) * kBlock * 2;  // the same place for sums in all CTAs of a cluster
}

}  // namespace tendon::cuda::persistent
