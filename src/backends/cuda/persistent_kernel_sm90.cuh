// The persistent step kernel: all repetitions of a step in one launch. An instance holds attention
// for one dtype and width of heads.
#pragma once

#include "backends/cuda/elements.cuh"
#include "backends/cuda/persistent_attention.cuh"
#include "backends/cuda/persistent_kernel.h"

namespace tendon::cuda::persistent {

__device__ inline void finish_plain(const PlainProductPhase& p, const Where& w, int r, int column,
                                    float v) {
  if (p.bias) v += p.bias[column];
  v = device::curve(p.curve, v);
  if (p.gate.data) v *= table_row(p.gate, r, w.iteration, w.now)[column];
  if (p.residual.data) {
    v += load_fresh(p.residual.data, p.residual.at(r) + column, p.residual.dtype);
  }
  device::store(p.out.data, p.out.at(r) + column, p.out.dtype, v);
}

__device__ inline float dot(float4 a, float4 b, float sum) {
  return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

constexpr int kPlainRows = 4;

// Few inputs: a lane computes a column of four rows.
static __device__ __noinline__ void run_short_product(const PlainProductPhase& p, const Where& w) {
  const int lane = threadIdx.x % 32, groups = (p.m + kPlainRows - 1) / kPlainRows;
  const int tasks = (p.n + 31) / 32 * groups;
  for (int t = threadIdx.x / 32 * w.ctas + w.cta; t < tasks; t += w.ctas * kWarps) {
    const int column = t / groups * 32 + lane, first = t % groups * kPlainRows;
    float sum[kPlainRows] = {};
#pragma unroll 8
    for (int k = 0; k < p.k; k += 4) {
      const float4 weight = column < p.n
                                ? *reinterpret_cast<const float4*>(p.weight + column * p.k + k)
                                : make_float4(0, 0, 0, 0);
#pragma unroll
      for (int i = 0; i < kPlainRows; ++i) {
        const int64_t at = p.x.at(min(first + i, p.m - 1)) + k;
        sum[i] =
            dot(weight,
                __ldcg(reinterpret_cast<const float4*>(static_cast<const float*>(p.x.data) + at)),
                sum[i]);
      }
    }
#pragma unroll
    for (int i = 0; i < kPlainRows; ++i) {
      if (column < p.n && first + i < p.m) finish_plain(p, w, first + i, column, sum[i]);
    }
  }
}

// A warp computes one column of four rows.
static __device__ __noinline__ void run_plain_product(const PlainProductPhase& p, const Where& w) {
  const int lane = threadIdx.x % 32, groups = (p.m + kPlainRows - 1) / kPlainRows;
  const int warps = w.ctas * kWarps, warp = threadIdx.x / 32 * w.ctas + w.cta;
  for (int task = warp; task < p.n * groups; task += warps) {
    const int column = task / groups, first = task % groups * kPlainRows;
    const float* weight = p.weight + int64_t{column} * p.k;
    float sum[kPlainRows] = {};
    if (p.vectors) {
#pragma unroll 4
      for (int k = lane * 4; k < p.k; k += 128) {
        const float4 v = *reinterpret_cast<const float4*>(weight + k);
#pragma unroll
        for (int i = 0; i < kPlainRows; ++i) {
          const int64_t at = p.x.at(min(first + i, p.m - 1)) + k;
          sum[i] = dot(
              v, __ldcg(reinterpret_cast<const float4*>(static_cast<const float*>(p.x.data) + at)),
              sum[i]);
        }
      }
    } else {
      for (int k = lane; k < p.k; k += 32) {
        for (int i = 0; i < kPlainRows; ++i) {
          const int64_t at = p.x.at(min(first + i, p.m - 1)) + k;
          sum[i] = fmaf(weight[k], load_fresh(p.x.data, at, p.x.dtype), sum[i]);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kPlainRows; ++i) sum[i] = device::warp_sum(sum[i]);
    if (lane >= kPlainRows || first + lane >= p.m) continue;
    const float v = lane == 0 ? sum[0] : lane == 1 ? sum[1] : lane == 2 ? sum[2] : sum[3];
    finish_plain(p, w, first + lane, column, v);
  }
}

__device__ inline float cta_sum(float v, float* scratch) {
  v = device::warp_sum(v);
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = v;
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kWarps; ++i) sum += scratch[i];
  return sum;
}

// A CTA a row of at most kHeld elements a thread.
static __device__ __noinline__ void run_norm(const NormPhase& p, const Where& w, float* scratch) {
  constexpr int kHeld = 12;
  const int width = p.x.width;
  for (int r = w.cta; r < p.x.count; r += w.ctas) {
    const int64_t at = p.x.at(r), to = p.out.at(r);
    float held[kHeld], sum = 0, squares = 0;
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      const int c = threadIdx.x + i * kThreads;
      held[i] = c < width ? load_fresh(p.x.data, at + c, p.x.dtype) : 0.0f;
      sum += held[i];
    }
    const float mean =
        p.kind == NormKind::layer ? cta_sum(sum, scratch) / static_cast<float>(width) : 0.0f;
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      const int c = threadIdx.x + i * kThreads;
      squares += c < width ? (held[i] - mean) * (held[i] - mean) : 0.0f;
    }
    const float deviation = rsqrtf(cta_sum(squares, scratch) / static_cast<float>(width) + p.eps);
    const float* scale = p.scale.data ? table_row(p.scale, r, w.iteration, w.now) : nullptr;
    const float* shift = p.shift.data ? table_row(p.shift, r, w.iteration, w.now) : nullptr;
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      const int c = threadIdx.x + i * kThreads;
      if (c >= width) break;
      float v = (held[i] - mean) * deviation;
      if (p.weight) v *= p.offset + p.weight[c];
      if (p.bias) v += p.bias[c];
      if (scale) v *= 1.0f + scale[c];
      if (shift) v += shift[c];
      device::store(p.out.data, to + c, p.out.dtype, v);
    }
  }
}

static __device__ __noinline__ void run_items(const Phase& phase, const Where& w) {
  for (int64_t i = int64_t{w.cta} * kThreads + threadIdx.x; i < phase.items;
       i += int64_t{w.ctas} * kThreads) {
    if (phase.kind == Kind::rows) rows_item<1>(phase.rows, i);
    if (phase.kind == Kind::strided) strided_item<1>(phase.strided, i);
    if (phase.kind == Kind::gather) gather_item<1>(phase.gather, i);
  }
}

struct Memory {
  std::byte* ring;
  std::byte* region;
  Phase* phase;  // two
  Work* work;    // [2][warps]
  std::uint64_t* full;
  float2* row_sums;
  RingState* rings;    // of the warps
  int32_t* positions;  // of the rows of a product with a rotation
  int32_t* now;        // the iteration, for phases that read it from memory
};

__device__ inline Memory layout(const StepArgs& a, std::byte* memory) {
  Memory m;
  m.ring = memory;
  m.region = m.ring + kWarps * a.depth * kSlotBytes;
  std::byte* rest = m.region + a.region;
  m.phase = reinterpret_cast<Phase*>(rest);
  m.work = reinterpret_cast<Work*>(rest + 2 * kPhaseBytes);
  m.row_sums = reinterpret_cast<float2*>(m.work + 2 * kWarps);
  m.full = reinterpret_cast<std::uint64_t*>(m.row_sums + kCluster * kMostRows);
  m.rings = reinterpret_cast<RingState*>(m.full + kWarps * kMostDepth);
  m.positions = reinterpret_cast<int32_t*>(m.rings + kWarps);
  m.now = m.positions + kMostRows;
  return m;
}

__device__ inline Phase& phase_slot(const Memory& s, int i) {
  return *reinterpret_cast<Phase*>(reinterpret_cast<std::byte*>(s.phase) + i % 2 * kPhaseBytes);
}

// In the background: complete after the next copy_async_wait<0>.
__device__ inline void fetch_phase(const StepArgs& a, const Memory& s, int slot, int phase) {
  const int i = threadIdx.x * 16;
  if (i < static_cast<int>(sizeof(Phase))) {
    device::copy_async(reinterpret_cast<std::byte*>(&phase_slot(s, slot)) + i,
                       reinterpret_cast<const std::byte*>(a.phases + phase) + i);
  } else if (threadIdx.x >= kThreads - 2 * kWarps) {
    const int at = (threadIdx.x - (kThreads - 2 * kWarps)) * 16;
    const Work* from = a.work + (std::size_t(phase) * gridDim.x + blockIdx.x) * kWarps;
    device::copy_async(reinterpret_cast<std::byte*>(s.work + slot % 2 * kWarps) + at,
                       reinterpret_cast<const std::byte*>(from) + at);
  }
  device::copy_async_commit();
}

// Phases read the iteration from shared memory: the counter in memory may lag behind.
__device__ inline void localise(Phase& phase, const Where& w, const Memory& s) {
  if (phase.kind == Kind::rows && phase.rows.scale.index == w.iteration) {
    phase.rows.scale.index = s.now;
  }
  if (phase.kind == Kind::gather && phase.gather.index == w.iteration) phase.gather.index = s.now;
}

// The same, but what is computed from it is not kept in registers from phase to phase.
__device__ inline Memory afresh(const Memory& s) {
  Memory m = s;
  asm volatile("" : "+l"(m.region), "+l"(m.rings));
  return m;
}

template <int MT, class T, int D>
__device__ __forceinline__ void execute(const Phase& phase, const Work& work, const Where& w,
                                        const Gate& gate, const Memory& s) {
  if (phase.kind == Kind::product) {
    run_product<MT>(phase.product, work, w, gate,
                    {s.region, s.row_sums, s.positions, s.rings + w.warp()});
    if (phase.closes) cluster_sync();
    return;
  }
  if (phase.kind == Kind::attention) {
    return run_attention<T, D>(phase.attention, w, gate, s.region, phase.closes);
  }
  gate.wait();
  if (phase.kind == Kind::plain_product) {
    if (phase.plain.vectors && phase.plain.k <= 64) {
      run_short_product(phase.plain, w);
    } else {
      run_plain_product(phase.plain, w);
    }
  } else if (phase.kind == Kind::norm) {
    run_norm(phase.norm, w, reinterpret_cast<float*>(s.region));
  } else {
    run_items(phase, w);
  }
}

__device__ inline Where position(const StepArgs& a) {
  Where w;
  w.cta = static_cast<int>(blockIdx.x), w.ctas = static_cast<int>(gridDim.x);
  w.rank = w.cta % kCluster;
  w.cluster = w.cta / kCluster, w.clusters = w.ctas / kCluster;
  w.iteration = a.iteration;
  w.now = a.first;
  w.thread = read_thread();
  return w;
}

template <int MT, class T, int D>
__global__ void __launch_bounds__(kThreads, 1) step_kernel(const __grid_constant__ StepArgs a) {
  extern __shared__ __align__(128) std::byte memory[];
  const Memory s = layout(a, memory);
  Where w = position(a);
  const int warp = threadIdx.x / 32;
  if (threadIdx.x < kWarps * kMostDepth) device::barrier_init(s.full + threadIdx.x, 1);
  device::barrier_init_fence();
  if (threadIdx.x == 0) *s.now = a.first;
  fetch_phase(a, s, 0, 0);
  device::copy_async_wait<0>();
  __syncthreads();
  if (threadIdx.x == 0) localise(phase_slot(s, 0), w, s);
  {
    const RingState begun = Ring::begin(a, s.ring + warp * a.depth * kSlotBytes,
                                        s.full + warp * kMostDepth, w.cta * kWarps + warp);
    Ring ring(begun, w.lane());
    ring.start();
    ring.save(s.rings[warp]);
  }
  Gate gate{a.barrier, a.barrier_base, false, nullptr};
  long long* clock = w.cta == 0 && threadIdx.x == 0 ? a.clock : nullptr;
  cluster_sync();
  for (int repetition = 0, at = 0; repetition < a.repetitions; ++repetition) {
    for (int phase = 0; phase < a.count; ++phase, ++at) {
      gate.marks = clock ? clock + phase * kMarks : nullptr;
      gate.mark(0);
      const int next = phase + 1 < a.count ? phase + 1 : 0;
      fetch_phase(a, s, at + 1, next);
      w.thread = read_thread();
      execute<MT, T, D>(phase_slot(s, at), s.work[at % 2 * kWarps + w.warp()], w, gate, afresh(s));
      if (next == 0) w.now += 1;
      device::copy_async_wait<0>();
      __syncthreads();
      gate.mark(5);
      if (next == 0 && repetition + 1 == a.repetitions) break;  // the kernel's end orders the rest
      Phase& following = phase_slot(s, at + 1);
      gate.waits = following.waits;
      if (gate.waits) {
        if (threadIdx.x == 0) device::arrive(a.barrier);
        gate.target += static_cast<std::uint32_t>(w.ctas);
      }
      if (threadIdx.x == 0) {
        if (next == 0) *s.now = w.now;
        localise(following, w, s);
      }
      if (following.kind != Kind::product && following.kind != Kind::attention) __syncthreads();
    }
  }
  cluster_sync();  // shared memory stays while others may read it
}

}  // namespace tendon::cuda::persistent
