// A CTA multiplies 128 rows of W (two warpgroups, 64 each) with up to 256 rows of x; a warp brings
// both through a ring of 64 columns a piece. Rows of W come before the kernel waits for its
// predecessors. CTAs of a cluster bring what they share once for all of them, and add up their
// parts of the summed dimension in the order of ranks.
#include <algorithm>

#include "backends/cuda/device/fast_curve.cuh"
#include "backends/cuda/device/tensor_copy.cuh"
#include "backends/cuda/device/wgmma.cuh"
#include "backends/cuda/launch.h"
#include "backends/cuda/probe.h"
#include "backends/cuda/tensor_map.h"
#include "backends/cuda/tiles.h"

namespace tendon::cuda {
namespace {

constexpr int kFeatures = 128, kColumns = 64, kWarps = 8, kThreads = kWarps * 32 + 32;
constexpr int kWeightBytes = kFeatures * kColumns * 2, kPitch = kFeatures + 4;
constexpr int kMaxStages = 8, kBarrierBytes = 2 * kMaxStages * 8;

struct Maps {
  CUtensorMap weight, x;
};

// Pixels of out in boxes of box_x by rows / box_x.
struct Boxes {
  int box_x = 0, tiles_x = 1, tiles_y = 1, width = 0, height = 0;  // box_x 0: plain rows
  int per_tap = 1, kernel_x = 1, stride = 1, top = 0, left = 0;    // pieces of 64 channels a tap
  int channels = 0;
};

struct Args {
  EpilogueArgs e;
  Boxes box;
  const float* up_bias = nullptr;
  int n = 0, pair = 0, rounds = 0;  // pair: rows of W between gate and up, or 0
  int iterations = 0;               // pieces of 64 columns
  int token_clusters = 1, stages = 4;
  int features = 1, tokens = 1, split = 1;  // the cluster
};

constexpr int stage_bytes(int rows) { return kWeightBytes + rows * kColumns * 2; }

#if TENDON_WGMMA

template <int N>
struct Cta {
  int f, t, z;         // place in the cluster
  int token, feature;  // first of the tile; feature of out
  int first, count;    // pieces
  unsigned char* memory;
  device::Barrier* full;
  device::Barrier* empty;

  __device__ Cta(const Args& a, unsigned char* at) : memory(at) {
    const int size = a.features * a.tokens * a.split;
    const int rank = static_cast<int>(blockIdx.x) % size, id = static_cast<int>(blockIdx.x) / size;
    f = rank % a.features, t = rank / a.features % a.tokens, z = rank / (a.features * a.tokens);
    token = (id % a.token_clusters * a.tokens + t) * N;
    feature = (id / a.token_clusters * a.features + f) * (a.pair ? kFeatures / 2 : kFeatures);
    const int each = (a.iterations + a.split - 1) / a.split;
    first = z * each;
    count = max(0, min(each, a.iterations - first));
    full = reinterpret_cast<device::Barrier*>(memory + a.stages * stage_bytes(N));
    empty = full + kMaxStages;
  }
  // The pixel of out of a row of the tile; -1: there is none.
  __device__ int row_of(const Args& a, int row) const {
    const Boxes& b = a.box;
    const int tile = token / N, x = tile % b.tiles_x * b.box_x + row % b.box_x;
    const int y = tile / b.tiles_x % b.tiles_y * (N / b.box_x) + row / b.box_x;
    const int image = tile / (b.tiles_x * b.tiles_y);
    const int at = (image * b.height + y) * b.width + x;
    return x < b.width && y < b.height && at < a.e.out.count ? at : -1;
  }
  // Where a piece of pixels starts in the picture.
  __device__ int4 place_of(const Args& a, int piece) const {
    const Boxes& b = a.box;
    const int tile = token / N, tap = piece / b.per_tap;
    return make_int4(
        piece % b.per_tap * kColumns,
        tile % b.tiles_x * b.box_x * b.stride + tap % b.kernel_x - b.left,
        tile / b.tiles_x % b.tiles_y * (N / b.box_x) * b.stride + tap / b.kernel_x - b.top,
        tile / (b.tiles_x * b.tiles_y));
  }
  __device__ int weight_column(const Args& a, int piece) const {
    if (!a.box.box_x) return piece * kColumns;
    return piece / a.box.per_tap * a.box.channels + piece % a.box.per_tap * kColumns;
  }
  __device__ int rank_of(const Args& a, int feature_place, int token_place) const {
    return feature_place + a.features * (token_place + a.tokens * z);
  }
  __device__ unsigned char* stage(int slot) const { return memory + slot * stage_bytes(N); }
};

// A place in the ring and how often it has gone round.
struct Turn {
  int slot = 0;
  uint32_t parity = 0;
  __device__ void advance(int stages) {
    if (++slot == stages) slot = 0, parity ^= 1;
  }
};

// What a producer brings next: places of boxes, kept without divisions.
struct Supply {
  int column = 0, weight_column = 0;  // of rows and of weights
  int tap_x = 0, channel = 0;         // pieces of a picture: place in the kernel, piece of channels
  int4 at{};
  int turn_f = 0, turn_t = 0;  // whose turn it is to bring what is shared
  uint16_t mask_f = 0, mask_t = 0;

  __device__ void advance(const Args& a) {
    column += kColumns;
    if (++turn_f == a.features) turn_f = 0;
    if (++turn_t == a.tokens) turn_t = 0;
    if (!a.box.box_x) {
      weight_column = column;
      return;
    }
    const Boxes& b = a.box;
    at.x += kColumns, weight_column += kColumns;
    if (++channel < b.per_tap) return;
    weight_column += b.channels - b.per_tap * kColumns;
    channel = 0, at.x = 0, ++at.y;
    if (++tap_x < b.kernel_x) return;
    tap_x = 0, at.y -= b.kernel_x, ++at.z;
  }
};

template <int N>
__device__ inline Supply supply(const Args& a, const Cta<N>& c) {
  Supply s;
  s.column = c.first * kColumns;
  s.weight_column = c.weight_column(a, c.first);
  if (a.box.box_x) {
    s.at = c.place_of(a, c.first);
    s.channel = c.first % a.box.per_tap;
    s.tap_x = c.first / a.box.per_tap % a.box.kernel_x;
  }
  for (int t = 0; t < a.tokens; ++t) s.mask_t |= 1u << c.rank_of(a, c.f, t);
  for (int f = 0; f < a.features; ++f) s.mask_f |= 1u << c.rank_of(a, f, c.t);
  return s;
}

template <int N>
__device__ inline void bring_weights(const Maps& m, const Args& a, const Cta<N>& c, const Supply& s,
                                     int slot) {
  if (s.turn_t != c.t) return;
  const int second = a.pair ? a.pair : kFeatures / 2;
  unsigned char* to = c.stage(slot);
  device::Barrier* full = c.full + slot;
  if (a.tokens > 1) {
    device::copy_box_to_many(to, &m.weight, full, s.weight_column, c.feature, s.mask_t);
    device::copy_box_to_many(to + kWeightBytes / 2, &m.weight, full, s.weight_column,
                             c.feature + second, s.mask_t);
  } else {
    device::copy_box(to, &m.weight, full, s.weight_column, c.feature);
    device::copy_box(to + kWeightBytes / 2, &m.weight, full, s.weight_column, c.feature + second);
  }
}

template <int N>
__device__ inline void bring_rows(const Maps& m, const Args& a, const Cta<N>& c, const Supply& s,
                                  int slot) {
  if (s.turn_f != c.f) return;
  unsigned char* to = c.stage(slot) + kWeightBytes;
  device::Barrier* full = c.full + slot;
  if (a.features > 1) {
    if (a.box.box_x) {
      device::copy_box_to_many(to, &m.x, full, s.at, s.mask_f);
    } else {
      device::copy_box_to_many(to, &m.x, full, s.column, c.token, s.mask_f);
    }
  } else if (a.box.box_x) {
    device::copy_box(to, &m.x, full, s.at.x, s.at.y, s.at.z, s.at.w);
  } else {
    device::copy_box(to, &m.x, full, s.column, c.token);
  }
}

template <int N>
__device__ void produce(const Maps& m, const Args& a, const Cta<N>& c) {
  device::prefetch_map(&m.weight);
  device::prefetch_map(&m.x);
  const int early = min(a.stages, c.count);
  const Supply first = supply(a, c);
  Supply s = first;
  for (int i = 0; i < early; ++i, s.advance(a)) {
    device::barrier_expect(c.full + i, stage_bytes(N));
    bring_weights(m, a, c, s, i);
  }
  device::wait_for_predecessors();
  s = first;
  for (int i = 0; i < early; ++i, s.advance(a)) bring_rows(m, a, c, s, i);
  Turn turn;
  for (int i = early; i < c.count; ++i, s.advance(a), turn.advance(a.stages)) {
    device::barrier_wait(c.empty + turn.slot, turn.parity);
    device::barrier_expect(c.full + turn.slot, stage_bytes(N));
    bring_weights(m, a, c, s, turn.slot);
    bring_rows(m, a, c, s, turn.slot);
  }
}

template <int N>
__device__ inline void release(const Args& a, const Cta<N>& c, int slot) {
  const int lane = threadIdx.x % 32, peers = a.tokens + a.features - 1;
  if (lane >= peers) return;
  if (peers == 1) {
    device::arrive(c.empty + slot);
    return;
  }
  int rank = c.rank_of(a, c.f, lane);
  if (lane >= a.tokens) {
    const int other = lane - a.tokens;
    rank = c.rank_of(a, other < c.f ? other : other + 1, c.t);
  }
  device::arrive_at(c.empty + slot, static_cast<uint32_t>(rank));
}

// One piece: d = (added ? d : 0) + its product.
template <int N>
__device__ inline void multiply_piece(const Cta<N>& c, const Turn& turn, int added,
                                      float (&d)[N / 2]) {
  device::barrier_wait(c.full + turn.slot, turn.parity);
  const uint32_t at = device::shared_address(c.memory) + turn.slot * stage_bytes(N);
  const uint64_t weights = device::tile_descriptor(at + threadIdx.x / 128 * (kWeightBytes / 2));
  const uint64_t rows = device::tile_descriptor(at + kWeightBytes);
  device::wgmma_fence();
#pragma unroll
  for (int k = 0; k < kColumns / 16; ++k) {  // 32 bytes on, in units of 16
    device::Wgmma<N>::run(d, weights + k * 2, rows + k * 2, k > 0 ? 1 : added);
  }
  device::wgmma_commit();
}

template <int N>
__device__ inline void multiply(const Args& a, const Cta<N>& c, float (&d)[N / 2]) {
  Turn turn;
  multiply_piece(c, turn, 0, d);
  for (int i = 1; i < c.count; ++i) {
    const int before = turn.slot;
    turn.advance(a.stages);
    multiply_piece(c, turn, 1, d);
    device::wgmma_wait<1>();
    release(a, c, before);
  }
  device::wgmma_wait<0>();
}

// Sums as [row of x][row of W] where the ring was.
template <int N>
__device__ void leave(const Cta<N>& c, const float (&d)[N / 2]) {
  float* sums = reinterpret_cast<float*>(c.memory);
  const int lane = threadIdx.x % 32, feature = static_cast<int>(threadIdx.x) / 32 * 16 + lane / 4;
#pragma unroll
  for (int i = 0; i < N / 2; ++i) {
    const int row = i / 4 * 8 + lane % 4 * 2 + i % 2;
    sums[row * kPitch + feature + i / 2 % 2 * 8] = c.count > 0 ? d[i] : 0.0f;
  }
}

__device__ inline void add(const float4& x, const float4& y, float (&v)[8]) {
  v[0] += x.x, v[1] += x.y, v[2] += x.z, v[3] += x.w;
  v[4] += y.x, v[5] += y.y, v[6] += y.z, v[7] += y.w;
}

// Eight sums from element `at` on, over all parts of the summed dimension.
template <int N>
__device__ inline void gather(const Args& a, const Cta<N>& c, int at, float (&v)[8]) {
  if (a.split == 1) {
    const float4* from = reinterpret_cast<const float4*>(c.memory + at * 4);
    add(from[0], from[1], v);
    return;
  }
  for (int z = 0; z < a.split; ++z) {
    const int rank = c.f + a.features * (c.t + a.tokens * z);
    const uint32_t from = device::peer_address(c.memory + at * 4, static_cast<uint32_t>(rank));
    add(device::load_peer(from), device::load_peer(from + 16), v);
  }
}

// What a thread adds to every row: its eight columns are the same in all of them.
struct Columns {
  int first;
  float bias[8], up_bias[8];

  __device__ Columns(const Args& a, int column) : first(column) {
#pragma unroll
    for (int j = 0; j < 8; ++j) bias[j] = up_bias[j] = 0;
    if (a.e.bias) device::load_vector<8>(a.e.bias, column, DType::f32, bias);
    if (a.up_bias) device::load_vector<8>(a.up_bias, column, DType::f32, up_bias);
  }
};

template <int N>
__device__ inline void pair(const Args& a, const Cta<N>& c, const Columns& k, int at,
                            float (&v)[8]) {
  float up[8];
#pragma unroll
  for (int j = 0; j < 8; ++j) up[j] = k.up_bias[j];
  gather(a, c, at + kFeatures / 2, up);
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    if (a.rounds) {
      v[j] = __bfloat162float(__float2bfloat16(v[j]));
      up[j] = __bfloat162float(__float2bfloat16(up[j]));
    }
    v[j] = device::fast_curve(a.e.curve, v[j]) * up[j];
  }
}

// One row of out, eight columns from element `at` of the sums on.
template <int N>
__device__ inline void finish(const Args& a, const Cta<N>& c, const Columns& k, int token, int at) {
  const EpilogueArgs& e = a.e;
  float v[8], other[8];
#pragma unroll
  for (int j = 0; j < 8; ++j) v[j] = k.bias[j];
  gather(a, c, at, v);
  if (a.pair) {
    pair(a, c, k, at, v);
  } else if (e.curve != device::Curve::none) {
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] = device::fast_curve(e.curve, v[j]);
  }
  if (e.gate.data) {
    device::load_vector<8>(e.gate.row(token), k.first, DType::f32, other);
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] *= other[j];
  }
  if (e.residual.data) {
    device::load_vector<8>(e.residual.data, e.residual.offset(token) + k.first, e.residual.dtype,
                           other);
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] += other[j];
  }
  device::store_vector<8>(e.out.data, e.out.offset(token) + k.first, e.out.dtype, v);
}

// This CTA's share of the rows; a thread keeps its columns.
template <int N>
__device__ void store(const Args& a, const Cta<N>& c) {
  const int chunks = (a.pair ? kFeatures / 2 : kFeatures) / 8;
  const int chunk = static_cast<int>(threadIdx.x) % chunks * 8, step = kWarps * 32 / chunks;
  const int each = (N + a.split - 1) / a.split, last = min(N, (c.z + 1) * each);
  if (c.feature + chunk >= a.n) return;
  const Columns k(a, c.feature + chunk);
  int row = c.z * each + static_cast<int>(threadIdx.x) / chunks;
  if (!a.box.box_x) {
#pragma unroll 4
    for (const int end = min(last, a.e.out.count - c.token); row < end; row += step) {
      finish(a, c, k, c.token + row, row * kPitch + chunk);
    }
    return;
  }
  for (; row < last; row += step) {
    const int token = c.row_of(a, row);
    if (token >= 0) finish(a, c, k, token, row * kPitch + chunk);
  }
}

#endif

template <int N>
__global__ void __launch_bounds__(kThreads, N <= 136 ? 2 : 1)
    tiles_kernel(const __grid_constant__ Maps m, const __grid_constant__ Args a) {
#if TENDON_WGMMA
  extern __shared__ unsigned char raw[];
  const Cta<N> c(a, raw + (1024 - device::shared_address(raw) % 1024) % 1024);
  const bool alone = a.features * a.tokens * a.split == 1;
  if (threadIdx.x == 0) {
    for (int i = 0; i < a.stages; ++i) {
      device::barrier_init(c.full + i, 1);
      device::barrier_init(c.empty + i,
                           static_cast<uint32_t>(kWarps * (a.tokens + a.features - 1)));
    }
    device::barrier_init_fence();
  }
  if (alone) {
    __syncthreads();
  } else {
    device::cluster_sync();
  }
  device::let_successors_start();
  if (threadIdx.x >= kWarps * 32) {
    if (threadIdx.x == kWarps * 32) produce(m, a, c);
    __syncwarp();
    if (!alone) {
      device::cluster_sync();
      device::cluster_sync();
    }
    return;
  }
  float d[N / 2];
  if (c.count > 0) multiply(a, c, d);
  asm volatile("bar.sync 1, %0;" ::"n"(kWarps * 32) : "memory");
  leave(c, d);
  if (alone) {
    asm volatile("bar.sync 1, %0;" ::"n"(kWarps * 32) : "memory");
  } else {
    device::cluster_sync();
  }
  device::wait_for_predecessors();
  store(a, c);
  if (!alone) device::cluster_sync();
#endif
}

int stages_of(const TileForm& form, int iterations) {
  const int room = (form.per_multiprocessor == 2 ? 113 : 226) * 1024 - 1024 - kBarrierBytes;
  const int fit = std::min(room / stage_bytes(form.rows), kMaxStages);
  const int sums = (form.rows * kPitch * 4 + stage_bytes(form.rows) - 1) / stage_bytes(form.rows);
  return std::max(std::min(fit, iterations), sums);
}

template <int N>
void run(const Maps& m, const Args& a, unsigned grid, cudaStream_t stream) {
  const std::size_t bytes =
      static_cast<std::size_t>(a.stages * stage_bytes(N) + kBarrierBytes + 1024);
  check(cudaFuncSetAttribute(tiles_kernel<N>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             227 * 1024),
        "shared memory of a product");
  const unsigned cluster = static_cast<unsigned>(a.features * a.tokens * a.split);
  launch(tiles_kernel<N>, {dim3(grid), kThreads, bytes, cluster}, stream, m, a);
}

MapShape matrix(std::int64_t rows, std::int64_t columns, std::int64_t stride, int box) {
  MapShape s;
  s.extent = {columns, rows};
  s.stride = {1, stride};
  s.box = {64, static_cast<std::uint32_t>(box)};
  return s;
}

// The width of the box of `rows` pixels that covers the picture with the least beyond it.
int box_width(const TileConv& v, int rows) {
  int best = 1;
  std::int64_t least = INT64_MAX;
  for (int x = 1; x <= std::min(rows, 256 / v.stride); ++x) {
    const int y = rows / x;
    if (rows % x || y * v.stride > 256) continue;
    const std::int64_t area = std::int64_t{blocks(v.out_width, x)} * blocks(v.out_height, y);
    if (area < least) least = area, best = x;
  }
  return best;
}

Boxes boxes_of(const TileConv& v, int rows) {
  Boxes b;
  b.box_x = box_width(v, rows);
  b.width = v.out_width, b.height = v.out_height;
  b.tiles_x = static_cast<int>(blocks(v.out_width, b.box_x));
  b.tiles_y = static_cast<int>(blocks(v.out_height, rows / b.box_x));
  b.per_tap = static_cast<int>(blocks(v.channels, kColumns));
  b.kernel_x = v.kernel_x, b.stride = v.stride, b.top = v.top, b.left = v.left;
  b.channels = v.channels;
  return b;
}

MapShape picture(const TileConv& v, int box_x, int rows) {
  MapShape s{.rank = 4};
  const auto step = static_cast<std::uint32_t>(v.stride);
  s.extent = {v.channels, v.width, v.height, v.batch};
  s.stride = {1, v.x.stride[2], v.x.stride[1], v.x.stride[0]};
  s.box = {64, static_cast<std::uint32_t>(box_x) * step,
           static_cast<std::uint32_t>(rows / box_x) * step, 1};
  s.step = {1, step, step, 1};
  return s;
}

MapShape rows_shape(const TileProduct& p, int box) {
  if (p.conv.kernel_x) return picture(p.conv, box_width(p.conv, box), box);
  return matrix(p.x.count, p.k, std::max<std::int64_t>(p.x.row_stride, p.k), box);
}

}  // namespace

int conv_tiles(const TileConv& conv, int rows) {
  const Boxes b = boxes_of(conv, rows);
  return b.tiles_x * b.tiles_y * conv.batch;
}

bool suits_tiles(const Device& device, const TileProduct& p) {
  static const bool code = has_warpgroup_code();
  if (device.properties.major != 9 || !code || p.n % 8 || p.k % 8) return false;
  const DType in = p.conv.kernel_x ? p.conv.x.dtype : p.x.dtype;
  if (in != DType::bf16 || p.x.count == 0 || (!p.conv.kernel_x && !p.x.even())) return false;
  if (p.conv.kernel_x && (p.conv.channels % 8 || p.conv.x.stride[3] != 1)) return false;
  const EpilogueArgs& e = p.epilogue;
  return suits_map(p.conv.kernel_x ? p.conv.x.data : p.x.data, rows_shape(p, 128)) &&
         vector_width({e.residual, e.out}) == 8 && vector_width(e.gate, p.n) == 8;
}

void launch_tiles(const TileProduct& p, const TileForm& form, cudaStream_t stream) {
  Args a;
  a.e = p.epilogue, a.up_bias = p.up_bias;
  if (!a.e.out.data) a.e.out.data = p.scratch_out.get();
  a.n = p.n, a.pair = p.paired ? p.n : 0, a.rounds = p.rounds;
  a.iterations = (p.k + kColumns - 1) / kColumns;
  int tiles = static_cast<int>(blocks(p.x.count, form.rows));
  const void* x = p.conv.x.data;
  if (!p.conv.kernel_x) {
    x = p.x.data ? p.x.data : p.scratch_x.get();
  } else {
    a.box = boxes_of(p.conv, form.rows);
    a.iterations = p.conv.kernel_y * p.conv.kernel_x * a.box.per_tap;
    tiles = a.box.tiles_x * a.box.tiles_y * p.conv.batch;
    x = p.conv.x.data;
  }
  a.features = form.features, a.tokens = form.tokens, a.split = form.split;
  a.stages = stages_of(form, (a.iterations + form.split - 1) / form.split);
  const int each = p.paired ? kFeatures / 2 : kFeatures;
  const unsigned features = blocks(p.n, each * form.features);
  a.token_clusters = static_cast<int>(blocks(tiles, form.tokens));
  const Maps m{make_map(p.weight, matrix(p.paired ? 2 * p.n : p.n, p.k, p.k, kFeatures / 2)),
               make_map(x, rows_shape(p, form.rows))};
  const unsigned grid =
      features * static_cast<unsigned>(a.token_clusters * form.features * form.tokens * form.split);
  switch (form.rows) {
    case 16:
      return run<16>(m, a, grid, stream);
    case 104:
      return run<104>(m, a, grid, stream);
    case 128:
      return run<128>(m, a, grid, stream);
    case 136:
      return run<136>(m, a, grid, stream);
    case 200:
      return run<200>(m, a, grid, stream);
    default:
      return run<256>(m, a, grid, stream);
  }
}

}  // namespace tendon::cuda
