// Weights into the order in which the persistent kernel's warps read them.
#include "backends/cuda/persistent_kernel.h"

namespace tendon::cuda::persistent {
namespace {

// One CTA a stream; a lane writes what it will load: inputs 8 (lane % 4) .. + 7 of a block for
// column lane / 4 of a unit.
__global__ void pack_kernel(PackArgs a) {
  const int cta = static_cast<int>(blockIdx.x), warp = static_cast<int>(blockIdx.y);
  const int lane = threadIdx.x % 32;
  const ProductPhase& p = a.phase;
  const Work w = work_of(p, cta, a.ctas / kCluster, warp);
  uint4* to =
      reinterpret_cast<uint4*>(a.stream) + std::size_t{a.first_tile[cta * kWarps + warp]} * 32;
  const uint16_t* from = static_cast<const uint16_t*>(a.weight);
  for (int g = 0; g < w.mine; g += a.group) {
    const int count = min(a.group, w.mine - g);
    for (int i = threadIdx.x / 32; i < count * w.blocks; i += blockDim.x / 32) {
      const int unit = w.first_unit + w.first_mine + g + i % count;
      const int k = (w.first_block + i / count) * kBlock + lane % 4 * 8;
      const int row = weight_row(p, unit, lane / 4);
      alignas(16) uint16_t v[8];
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        v[e] = row >= 0 && k + e < p.k ? from[int64_t{row} * p.k + k + e] : 0;
      }
      to[(std::size_t(g) * w.blocks + i) * 32 + lane] = *reinterpret_cast<uint4*>(v);
    }
  }
}

}  // namespace

void launch_pack(const PackArgs& a, cudaStream_t stream) {
  pack_kernel<<<dim3(static_cast<unsigned>(a.ctas), kWarps), 128, 0, stream>>>(a);
}

}  // namespace tendon::cuda::persistent
