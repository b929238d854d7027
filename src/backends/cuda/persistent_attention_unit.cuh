// Units of an attention phase: their packed rows, their keys, how shared memory is laid out.
#pragma once

#include "backends/cuda/keys.cuh"
#include "backends/cuda/persistent_team.cuh"

namespace tendon::cuda::persistent {

// Packed rows of a unit; fewer where so few units would leave most of the device idle.
constexpr int kFewRowUnits = 10;
__host__ __device__ inline int attention_unit_rows(const AttentionArgs& a) {
  const int group = a.rows * (a.heads / a.key_heads);
  const int units = (group + kFewRows - 1) / kFewRows * a.key_heads * a.batch;
  return units <= kFewRowUnits ? kFewRows : kManyRows;
}

// Where keys or values of a piece and a key head lie: number n of the concatenation at
// base + n * pitch, bytes.
struct alignas(16) KeyLine {
  const std::byte* base;
  int pitch;
};

// Scores of a chunk of keys: one or two tiles of 16 rows, times kGroups groups of keys, one for
// each warp; the last groups may have none.
template <int D, int R>
struct AttentionLayout {
  static constexpr int kChunk = D == 128 ? 128 : R == kFewRows ? 80 : 64;  // keys at a time
  static constexpr int kTiles = R / 16, kGroups = kWarps / kTiles;
  static constexpr int kGroupKeys = D == 128 && R == kManyRows ? 32 : 16;
  static constexpr int kRowSize = 2 * D;                 // bytes of a query, key or value
  static constexpr int kWeightPitch = 2 * (kChunk + 8);  // bytes of a row of weights
  static constexpr int kItems = R + kChunk;              // rows that may have a RowFactor
  // Offsets, bytes. First what peers push: a share of the columns from each of them, [CTAs][rows]
  // top and total.
  static constexpr int kTokens = 0;               // [rows] query, head
  static constexpr int kLines = kTokens + R * 8;  // [keys, values][pieces]
  static constexpr int kInbox = 384;
  static constexpr int kStates = kInbox + (kCluster - 1) * R * D / kCluster * 4;
  static constexpr int kQueries = kStates + kCluster * R * 8;
  static constexpr int kKeys = kQueries + R * kRowSize;
  static constexpr int kResults = kKeys;  // [rows][D] fp32, after the last scores
  static constexpr int kValues = kKeys + kChunk * kRowSize;
  static constexpr int kWeights = kValues + kChunk * kRowSize;
  static constexpr int kTops = kWeights + R * kWeightPitch;  // [rows][groups]
  static constexpr int kTotals = kTops + kGroups * R * 4;    // [rows][groups]
  static constexpr int kKeep = kTotals + kGroups * R * 4;    // [rows] factor, top
  static constexpr int kFactors = kKeep + R * 8;             // [rows] factor, limit
  static constexpr int kTerms = kFactors + R * 8;            // [keys] factor, summand
  static constexpr int kRowSums = kTerms + kChunk * 8;       // [items]
  static constexpr int kBytes = kRowSums + kItems * 4;
  static constexpr int kEarly = kWeights;  // before the gate nothing is written from here on
  static_assert(kGroups * kGroupKeys >= kChunk);
  static_assert(kLines + 4 * 16 <= kInbox);
  static_assert(kBytes <= 118 * 1024);
  static_assert(kQueries % 128 == 0 && R * D * 4 <= kChunk * kRowSize);
};

struct AttentionUnit {
  int b, key_head, first_head, first_row, rows;  // packed rows [first_row, first_row + rows)
  int first;                                     // keys of the first piece
  int begin, end;                                // this CTA's keys of the concatenation
  int limited;                                   // the first key of the piece that `visible` limits
};

__device__ __forceinline__ float reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
// x / y where both are below 2^20.
__device__ __forceinline__ int quotient(int x, int y) {
  return divide(x, reciprocal(static_cast<float>(y)));
}
// Strides of what lies within one sample fit 32 bits.
__device__ __forceinline__ int64_t times(int x, int64_t stride) {
  int64_t product;
  asm("mul.wide.s32 %0, %1, %2;" : "=l"(product) : "r"(x), "r"(static_cast<int>(stride)));
  return product;
}

// A unit past the last has neither rows nor keys.
__device__ __forceinline__ AttentionUnit attention_unit(const AttentionPhase& p, int unit, int part,
                                                        int log) {
  const AttentionArgs& a = p.args;
  const int group_heads = quotient(a.heads, a.key_heads), group = a.rows * group_heads;
  const int tiles = quotient(p.units, a.key_heads * a.batch);
  const int real = min(unit, p.units - 1), above = quotient(real, tiles);
  AttentionUnit u;
  u.first_row = (real - above * tiles) * p.unit_rows;
  u.rows = unit == real ? min(p.unit_rows, group - u.first_row) : 0;
  u.b = quotient(above, a.key_heads);
  u.key_head = above - u.b * a.key_heads;
  u.first_head = u.key_head * group_heads;
  u.first = key_count(a, 0, u.b);
  u.limited = a.piece[1].count ? u.first : 0;
  const int all = unit == real ? u.first + key_count(a, 1, u.b) : 0;
  const int each = (all + p.span - 1) >> log;
  u.begin = min(all, part * each);
  u.end = min(all, u.begin + each);
  return u;
}

}  // namespace tendon::cuda::persistent
