// The persistent step kernel: all repetitions of a step in one launch.
#include "backends/cuda/device/grid.cuh"
#include "backends/cuda/elements.cuh"
#include "backends/cuda/persistent_attention.cuh"
#include "backends/cuda/persistent_kernel.h"

namespace tendon::cuda::persistent {
namespace {

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#define TENDON_CLUSTERS 1
#endif

#ifdef TENDON_CLUSTERS

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
__device__ __noinline__ void run_short_product(const PlainProductPhase& p, const Where& w) {
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
__device__ __noinline__ void run_plain_product(const PlainProductPhase& p, const Where& w) {
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
__device__ __noinline__ void run_norm(const NormPhase& p, const Where& w, float* scratch) {
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

__device__ __noinline__ void run_items(const Phase& phase, const Where& w) {
  for (int64_t i = int64_t{w.cta} * kThreads + threadIdx.x; i < phase.items;
       i += int64_t{w.ctas} * kThreads) {
    if (phase.kind == Kind::rows) rows_item<1>(phase.rows, i);
    if (phase.kind == Kind::strided) strided_item<1>(phase.strided, i);
    if (phase.kind == Kind::gather) gather_item<1>(phase.gather, i);
  }
}

enum class Stage : uint8_t { prepare, prepared, whole };

__device__ void dispatch_attention(const AttentionArgs& a, const Where& w, std::byte* region,
                                   Stage stage, bool closes) {
  const bool half = a.piece[0].k_dtype == DType::f16, ready = stage == Stage::prepared;
  if (stage == Stage::prepare) {
    if (half) return prepare_attention<__half, 128>(a, w, region);
    if (a.width <= 128) return prepare_attention<__nv_bfloat16, 128>(a, w, region);
    return prepare_attention<__nv_bfloat16, 256>(a, w, region);
  }
  if (half) return run_attention<__half, 128>(a, w, region, ready, closes);
  if (a.width <= 128) return run_attention<__nv_bfloat16, 128>(a, w, region, ready, closes);
  run_attention<__nv_bfloat16, 256>(a, w, region, ready, closes);
}

struct Shared {
  std::byte* ring;
  Constants constants;
  Ready ready;
  Phase* phase;  // two
  std::byte* region;
  std::uint64_t* full;
  int32_t* now;  // the iteration, for phases that read it from memory
};

__device__ Shared layout(std::byte* memory) {
  Shared s;
  s.ring = memory;
  s.region = s.ring + kRingBytes;
  s.constants.factor = reinterpret_cast<float4*>(s.region + kRegionBytes);
  s.constants.addend = s.constants.factor + kMostInputs / 4;
  s.ready.operands = s.constants.addend + kMostInputs / 4;
  s.ready.residual = reinterpret_cast<float2*>(s.ready.operands + kEarly * kThreads);
  s.phase = reinterpret_cast<Phase*>(s.ready.residual + kEarly * kThreads);
  s.full =
      reinterpret_cast<std::uint64_t*>(reinterpret_cast<std::byte*>(s.phase) + 2 * kPhaseBytes);
  s.now = reinterpret_cast<int32_t*>(s.full + kWarps * kDepth);
  return s;
}

__device__ Phase& phase_slot(const Shared& s, int i) {
  return *reinterpret_cast<Phase*>(reinterpret_cast<std::byte*>(s.phase) + i % 2 * kPhaseBytes);
}

// In the background: complete after the next copy_async_wait<0>.
__device__ void fetch_phase(const StepArgs& a, const Shared& s, int slot, int phase) {
  const int i = threadIdx.x * 16;
  if (i < static_cast<int>(sizeof(Phase))) {
    device::copy_async(reinterpret_cast<std::byte*>(&phase_slot(s, slot)) + i,
                       reinterpret_cast<const std::byte*>(a.phases + phase) + i);
  }
  device::copy_async_commit();
}

__device__ void prepare(Phase& phase, const Where& w, const Shared& s) {
  if (threadIdx.x == 0) {
    if (phase.kind == Kind::rows && phase.rows.scale.index == w.iteration) {
      phase.rows.scale.index = s.now;
    }
    if (phase.kind == Kind::gather && phase.gather.index == w.iteration) phase.gather.index = s.now;
  }
  if (phase.kind == Kind::product) {
    stage_constants(phase.product, w, s.constants);
    stage_operands(phase.product, w, s.ready.operands);
  }
  if (phase.kind == Kind::attention && phase.prefetches) {
    dispatch_attention(phase.attention, w, s.region, Stage::prepare, false);
  }
}

template <int MT>
__device__ __forceinline__ void execute(const Phase& phase, const Where& w, Ring& ring,
                                        const Shared& s) {
  switch (phase.kind) {
    case Kind::product:
      run_product<MT>(phase.product, w, ring, s.constants, s.ready, s.region, phase.closes);
      break;
    case Kind::attention:
      dispatch_attention(phase.attention, w, s.region,
                         phase.prefetches ? Stage::prepared : Stage::whole, phase.closes);
      break;
    case Kind::plain_product:
      if (phase.plain.vectors && phase.plain.k <= 64) {
        run_short_product(phase.plain, w);
      } else {
        run_plain_product(phase.plain, w);
      }
      break;
    case Kind::norm:
      run_norm(phase.norm, w, reinterpret_cast<float*>(s.region));
      break;
    default:
      run_items(phase, w);
  }
}

__device__ Where position(const StepArgs& a) {
  namespace cg = cooperative_groups;
  const cg::cluster_group cluster = cg::this_cluster();
  Where w;
  w.cta = static_cast<int>(blockIdx.x), w.ctas = static_cast<int>(gridDim.x);
  w.rank = static_cast<int>(cluster.block_rank());
  w.cluster_size = static_cast<int>(cluster.num_blocks());
  w.cluster = w.cta / w.cluster_size, w.clusters = w.ctas / w.cluster_size;
  w.iteration = a.iteration;
  w.now = a.first;
  return w;
}

template <int MT>
__global__ void __launch_bounds__(kThreads, 1) step_kernel(StepArgs a) {
  extern __shared__ __align__(128) std::byte memory[];
  const Shared s = layout(memory);
  Where w = position(a);
  const int warp = threadIdx.x / 32;
  if (threadIdx.x < kWarps * kDepth) device::barrier_init(s.full + threadIdx.x, 1);
  device::barrier_init_fence();
  if (threadIdx.x == 0) *s.now = a.first;
  fetch_phase(a, s, 0, 0);
  device::copy_async_wait<0>();
  __syncthreads();
  const std::uint32_t* stream = a.stream_first + w.cta * kWarps + warp;
  Ring ring(s.ring + warp * kDepth * kPiece, s.full + warp * kDepth,
            a.stream + std::size_t{stream[0]} * kPiece, stream[1] - stream[0],
            static_cast<std::uint32_t>(a.repetitions));
  ring.start();
  prepare(phase_slot(s, 0), w, s);
  std::uint32_t target = a.barrier_base;
  cooperative_groups::this_cluster().sync();
  for (int repetition = 0, at = 0; repetition < a.repetitions; ++repetition) {
    for (int phase = 0; phase < a.count; ++phase, ++at) {
      if (a.clock && w.cta == 0 && threadIdx.x == 0) a.clock[phase] = clock64();
      const int next = phase + 1 < a.count ? phase + 1 : 0;
      fetch_phase(a, s, at + 1, next);
      execute<MT>(phase_slot(s, at), w, ring, s);
      if (next == 0) {
        ring.finish_step();
        w.now += 1;
      }
      device::copy_async_wait<0>();
      __syncthreads();
      if (next == 0 && threadIdx.x == 0) *s.now = w.now;
      if (next == 0 && repetition + 1 == a.repetitions) break;  // the kernel's end orders the rest
      Phase& following = phase_slot(s, at + 1);
      if (following.waits && threadIdx.x == 0) device::arrive(a.barrier);
      prepare(following, w, s);
      if (following.waits) {
        target += static_cast<std::uint32_t>(w.ctas);
        if (threadIdx.x == 0) device::wait_for(a.barrier, target);
      }
      __syncthreads();
    }
  }
  if (a.clock && w.cta == 0 && threadIdx.x == 0) a.clock[a.count] = clock64();
  cooperative_groups::this_cluster().sync();  // shared memory stays while others may read it
}

#else

template <int MT>
__global__ void step_kernel(StepArgs) {
  __trap();  // never launched: persistent steps are built for sm_90 and newer only
}

#endif

using Kernel = void (*)(StepArgs);

Kernel kernel_of(int rows) {
  return rows <= 16 ? step_kernel<1> : rows <= 32 ? step_kernel<2> : step_kernel<4>;
}

}  // namespace

int tiles_of(int rows) { return rows <= 16 ? 1 : rows <= 32 ? 2 : 4; }

cudaError_t launch_step(const StepArgs& args, const StepShape& shape, cudaStream_t stream) {
  cudaLaunchAttribute attributes[2];
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim = {static_cast<unsigned>(shape.cluster), 1, 1};
  attributes[1].id = cudaLaunchAttributeCooperative;
  attributes[1].val.cooperative = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(shape.ctas));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = kSharedBytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = 2;
  return cudaLaunchKernelEx(&config, kernel_of(shape.rows), args);
}

cudaError_t fit_step(StepShape& shape) {
  const Kernel kernel = kernel_of(shape.rows);
  cudaError_t status =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
  if (status != cudaSuccess) return status;
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {static_cast<unsigned>(shape.cluster), 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(shape.cluster));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = kSharedBytes;
  config.attrs = &attribute;
  config.numAttrs = 1;
  int clusters = 0;
  status = cudaOccupancyMaxActiveClusters(&clusters, kernel, &config);
  shape.ctas = clusters * shape.cluster;
  return status;
}

}  // namespace tendon::cuda::persistent
