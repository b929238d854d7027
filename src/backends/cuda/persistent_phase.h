// What a persistent step kernel executes: phases, in order, every CTA taking its share of each.
#pragma once

#include "backends/cuda/attention.h"
#include "backends/cuda/device/rotate.h"
#include "backends/cuda/elements.h"

namespace tendon::cuda::persistent {

// Threads that execute phases: the team. Beside them a warp each brings weights, waits for the
// other CTAs, fetches phases with what their norms take of tables, and operands of results.
inline constexpr int kWarps = 8, kThreads = 32 * kWarps;
inline constexpr int kWeightsWarp = kWarps, kGateWarp = kWarps + 1;
inline constexpr int kPhasesWarp = kWarps + 2, kOperandsWarp = kWarps + 3;
inline constexpr int kAllThreads = 32 * (kWarps + 4);
inline constexpr int kPhaseSlots = 3;  // of a CTA: one is fetched two phases ahead
inline constexpr int kSides = 2;       // warpgroups, each of which has a part of a product
inline constexpr int kCluster = 8;     // CTAs of a cluster
inline constexpr int kSharersLog = 2;  // log2 of those that share a product's inputs: a group
inline constexpr int kSharers = 1 << kSharersLog;  // at most
inline constexpr int kMostGroups = 32;             // of so many
inline constexpr int kColumns = 8;  // output columns of a unit, the smallest share of a product
inline constexpr int kBlock = 64;   // inputs of a tile
inline constexpr int kRowBytes = kBlock * 2;  // of a tile
inline constexpr int kSwizzleRows = 8;        // that lie together, swizzled
inline constexpr int kMostColumns = 96;       // of a warpgroup's part
inline constexpr int kFewUnits = 6;           // up to so many, warpgroups share inputs, not columns
inline constexpr int kMostRows = 64;          // of a product, with what rides along
inline constexpr int kNormBlocks = 8;         // a CTA's share of a product with a norm
inline constexpr int kWarpRows = 16;          // rows of a tile that a warp multiplies
inline constexpr int kMostDepth = 16;         // slots of the ring
inline constexpr int kLeastDepth = 3, kUsualDepth = 4;
inline constexpr int kAheadBytes = 96 * 1024;        // of weights that the L2 is asked for
inline constexpr int kManyRows = 32, kFewRows = 16;  // of a unit of attention
inline constexpr int kPhaseBytes = 1024;
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
  int m = 0, k = 0, blocks = 0;  // blocks = ceil(k / kBlock)
  // A norm of x on the way in.
  NormKind norm = NormKind::none;
  const float* norm_weight = nullptr;
  const float* norm_bias = nullptr;
  float offset = 0, eps = 0;
  float inverse_k = 1;  // 1 / k
  device::TableView scale, shift;
  std::uint8_t rows_differ = 0;  // each row its own scale and shift
  // Sums and sums of squares of x's rows, float2 [kMostGroups][kMostRows], zeros where there is no
  // group, where the phase that made x leaves them.
  const float* row_sums = nullptr;
  // Where it multiplied x by the norm's factors of columns too: x is that, and the rest of the norm
  // is done to partial sums, (sum - mean * sum of factors) / deviation + sum of addends. The
  // addends of columns and, of two, their factors ride along as the last rows of every warp's.
  std::uint8_t riders = 0;
  Columns columns = Columns::plain;
  std::uint8_t share_log = kSharersLog;  // log2 of the CTAs of a group
  int n = 0, units = 0, turn = 0;
  std::uint8_t by_columns = 0;  // warpgroups share the columns of a group, else its inputs
  int most_units = 0;           // of a group
  // Bytes of working memory before the inputs, the CTA's sums, what others hand over to it.
  int inputs = 0, sums = 0, inbox = 0;
  std::uint8_t row_log = 0;  // log2 of the threads that finish a row together
  std::uint8_t late = 0;     // residual or tables are not complete before the phase may begin
  float inverse_half = 1;    // 1 / (head / 2): for divisions
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
  float* squares = nullptr;   // [group][2][m]
  float* out_sums = nullptr;  // as row_sums, of rows of out; only where units are few
  // Out times a later norm's factors of columns, (offset + weight) (1 + scale): bf16 [m][n].
  void* scaled = nullptr;
  const float* scaled_weight = nullptr;
  float scaled_offset = 0;
  device::TableView scaled_scale;
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
  int units = 0;           // see attention_units()
  int unit_rows = 0;       // packed rows of each
  int span = 1;            // CTAs of a cluster that share a unit's keys: 1, 2, 4 or 8
  int cached = 0;          // no phase writes the first piece of keys
  float inverse_rows = 1;  // 1 / rows of the queries: for divisions
  RowFactor q, own_keys;
};

enum class Kind : std::uint8_t { product, plain_product, attention, norm, rows, strided, gather };

struct alignas(16) Phase {
  Kind kind = Kind::rows;
  std::uint8_t waits = 1;    // for all CTAs to finish the phases before
  std::uint8_t closes = 1;   // a cluster's CTAs may not go on alone: shared memory is still read
  std::uint8_t moments = 0;  // of rows are wanted when the gate has opened: a product with riders
  std::int64_t items = 0;    // of rows, strided, gather
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
inline constexpr int kMarks = 10;  // see Step::profile()

struct Work;

struct StepArgs {
  const Phase* phases = nullptr;
  const Work* work = nullptr;  // [count, CTAs]; of products
  int count = 0;
  int region = 0, depth = 0, slot = 0;          // bytes of working memory; slots, bytes of each
  const std::byte* stream = nullptr;            // packed weights
  const std::uint64_t* stream_first = nullptr;  // [CTAs] where a CTA's stream begins
  const std::uint32_t* piece_count = nullptr;   // [CTAs] bulk copies of a step
  const std::uint16_t* piece_rows = nullptr;    // [CTAs, piece_stride] kRowBytes each
  int piece_stride = 0;
  const std::int32_t* positions = nullptr;  // [position_count] of the rows of every rotation
  int position_count = 1;
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

// What a warpgroup does of a CTA's product: units counted from the group's first, blocks from the
// CTA's; its weights come in so many pieces.
struct Side {
  std::int16_t first_unit, units, first_block, blocks, pieces;
};

// What a group and one of its CTAs do of a product; made while planning.
struct alignas(16) Work {
  Side side[kSides];
  std::int16_t first_unit, units;    // of the group
  std::int16_t first_block, blocks;  // of the CTA
  std::int16_t first_row, rows;      // that the CTA finishes
  std::int16_t piece_blocks;
};
static_assert(sizeof(Work) == 48);

// CTAs that share the inputs of a product; parts of the inputs that one of them adds up apart.
__host__ __device__ inline int sharers(const ProductPhase& p) { return 1 << p.share_log; }
__host__ __device__ inline int parts_of_inputs(const ProductPhase& p) {
  return p.by_columns ? 1 : kSides;
}
// Partial sums of a result.
__host__ __device__ inline int sources_of(const ProductPhase& p) {
  return sharers(p) * parts_of_inputs(p);
}

// Units of a warpgroup's part at most.
__host__ __device__ inline int side_units(const ProductPhase& p, int ctas) {
  const int groups = ctas >> p.share_log, most = (p.units + groups - 1) / groups;
  return p.by_columns ? (most + 1) / 2 : most;
}

// `slot`: bytes of a slot of the ring.
__host__ __device__ inline Work work_of(const ProductPhase& p, int cta, int ctas, int slot) {
  auto narrow = [](int x) { return static_cast<std::int16_t>(x); };
  const int all = sharers(p), rank = cta % all, groups = ctas / all;
  const Share units = share(p.units, (cta / all + p.turn) % groups, groups);
  const Share blocks = share(p.blocks, rank, all), rows = share(p.m, rank, all);
  Work w{};
  w.first_unit = narrow(units.first), w.units = narrow(units.count());
  w.first_block = narrow(blocks.first), w.blocks = narrow(blocks.count());
  w.first_row = narrow(rows.first), w.rows = narrow(rows.count());
  const int most_blocks = p.by_columns ? blocks.count() : (blocks.count() + 1) / 2;
  const int fit = slot / (side_units(p, ctas) * kColumns * kRowBytes);
  const int pieces = (most_blocks + fit - 1) / fit;
  w.piece_blocks = narrow(pieces ? (most_blocks + pieces - 1) / pieces : 1);
  for (int i = 0; i < kSides; ++i) {
    const Share u = p.by_columns ? share(units.count(), i, kSides) : Share{0, units.count()};
    const Share b = p.by_columns ? Share{0, blocks.count()} : share(blocks.count(), i, kSides);
    Side& s = w.side[i];
    s.first_unit = narrow(u.first), s.units = narrow(u.count());
    s.first_block = narrow(b.first), s.blocks = narrow(b.count());
    s.pieces = narrow(u.count() ? (b.count() + w.piece_blocks - 1) / w.piece_blocks : 0);
  }
  return w;
}

// Pieces come by turns; the second side never has fewer than the first. Piece j of a side is number
// piece_number() of the CTA's.
__host__ __device__ inline int piece_number(const Work& w, int side, int j) {
  return j < w.side[0].pieces ? 2 * j + side : w.side[0].pieces + j;
}
struct Piece {
  int side, first_block, blocks;  // counted from the side's first
};
__host__ __device__ inline Piece piece_of(const Work& w, int number) {
  const bool both = number < 2 * w.side[0].pieces;
  const int side = both ? number % 2 : 1;
  const int j = both ? number / 2 : number - w.side[0].pieces;
  const int first = j * w.piece_blocks, left = w.side[side].blocks - first;
  return {side, first, left < w.piece_blocks ? left : w.piece_blocks};
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

// Working memory: operands of results, the CTA's inputs in tiles, sums handed over to it. Operands
// lie at the same place in all products: they are fetched while the sums of the one before are
// read.
inline int round_up(int x, int to) { return (x + to - 1) / to * to; }
// Rows of x among those of a warp; its last ones are taken where something rides along.
__host__ __device__ inline int kept_rows(const ProductPhase& p) { return kWarpRows - p.riders; }
__host__ __device__ inline int row_tile_bytes(const ProductPhase& p) {
  const int kept = kept_rows(p), warps = (p.m + kept - 1) / kept;
  const int rows = p.riders ? warps * kWarpRows : p.m;
  return (rows + kSwizzleRows - 1) / kSwizzleRows * kSwizzleRows * kRowBytes;
}
__host__ __device__ inline int most_blocks(const ProductPhase& p) {
  return (p.blocks + sharers(p) - 1) >> p.share_log;
}
// Which chunks of eight columns of which row a thread takes through a norm: as many threads a row
// as there are rows for. Eight lanes that read at once meet in no bank.
struct RowPart {
  int lanes, row, part, odd;

  __host__ __device__ RowPart(int m, int thread) {
    const int log = m <= 16 ? 4 : m <= 32 ? 3 : 2;
    lanes = 1 << log, row = thread >> log, part = thread & (lanes - 1);
    odd = lanes == 4 ? row & 1 : 0;
  }
  // Turns until all threads of the row have every chunk of so many blocks.
  __host__ __device__ int turns(int blocks) const {
    return (blocks * (kBlock / 8) + lanes - 1) / lanes;
  }
  __host__ __device__ int chunk(int turn) const { return part + lanes * (turn ^ odd); }
};
inline int inputs_bytes(const ProductPhase& p) { return most_blocks(p) * row_tile_bytes(p); }
// Floats from one row of partial sums to the next: of an odd number of units, so that a warp's rows
// lie in all banks.
__host__ __device__ inline int sums_pitch(int units) { return (units | 1) * kColumns; }
// floats [sides that share inputs][row][column of the group]
inline int sums_bytes(const ProductPhase& p) {
  return p.m * sums_pitch(p.most_units) * 4 * parts_of_inputs(p);
}
// floats [source][row of the CTA][column of the group]
__host__ __device__ inline int most_finished(const ProductPhase& p) {
  return (p.m + sharers(p) - 1) >> p.share_log;
}
inline int inbox_bytes(const ProductPhase& p) {
  return sources_of(p) * most_finished(p) * sums_pitch(p.most_units) * 4;
}
// Operands of a quad, four results side by side, 16 bytes each that is there. The same for all
// rows: bias, weights of a norm, a later norm's factors; [part][quad of the group]. By row: turns,
// or gate and residual; [turn of the threads][part][thread].
__host__ __device__ inline int column_parts(const ProductPhase& p) {
  return (p.bias || p.up_bias) + (p.after_q || p.after_key) + (p.scaled != nullptr);
}
__host__ __device__ inline int row_parts(const ProductPhase& p) {
  if (p.columns == Columns::pairs) return p.rotation.cos != nullptr;
  return p.columns == Columns::plain ? (p.gate.data != nullptr) + (p.residual.data != nullptr) : 0;
}
constexpr int kOperandBytes = 16 * kThreads;  // of all threads' results of one turn
__host__ __device__ inline int column_part_bytes(const ProductPhase& p) {
  return p.most_units * 2 * 16;
}
inline int operands_bytes(const ProductPhase& p) {
  const int lanes = 1 << p.row_log, turns = (p.most_units * 2 + lanes - 1) / lanes;
  return column_parts(p) * column_part_bytes(p) + turns * row_parts(p) * kOperandBytes;
}

}  // namespace tendon::cuda::persistent
