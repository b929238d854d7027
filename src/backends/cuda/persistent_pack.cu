// Weights into the order in which the persistent kernel's warps read them.
#include "backends/cuda/persistent_kernel.h"

namespace tendon::cuda::persistent {
namespace {

// One CTA a stream; a lane writes what it will load: rows lane / 4 of a unit, inputs 2 (lane % 4) +
// 0, 1 and + 8, 9 of either half of a block.
__global__ void pack_kernel(PackArgs a) {
  const int cta = blockIdx.x, warp = blockIdx.y, lane = threadIdx.x % 32;
  const ProductPhase& p = a.phase;
  const int parts = p.split ? a.cluster * kWarps : kWarps;
  const int part = (p.split ? cta % a.cluster * kWarps : 0) + warp;
  const int first = p.blocks * part / parts, last = p.blocks * (part + 1) / parts;
  const Share mine = p.split ? share(p.units, cta / a.cluster, a.ctas / a.cluster, p.rotate_share)
                             : share(p.units, cta, a.ctas, p.rotate_share);
  const int stream = cta * kWarps + warp;
  uint4* to = reinterpret_cast<uint4*>(a.stream + std::size_t{a.stream_first[stream]} * kPiece) +
              std::size_t{a.first_tile[stream]} * 32;
  const uint16_t* from = static_cast<const uint16_t*>(a.weight);
  const int tiles = (mine.last - mine.first) * (last - first);
  for (int tile = threadIdx.x / 32; tile < tiles; tile += blockDim.x / 32) {
    const int before = tile / (a.pass * (last - first)) * a.pass;  // units of earlier passes
    const int count = min(a.pass, mine.last - mine.first - before);
    const int rest = tile - before * (last - first);
    const int unit = mine.first + before + rest % count, block = first + rest / count;
    const int row = weight_row(p, unit, lane / 4);
    alignas(16) uint16_t v[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int k = block * kBlock + i / 4 * 16 + i / 2 % 2 * 8 + lane % 4 * 2 + i % 2;
      v[i] = row >= 0 && k < p.k ? from[int64_t{row} * p.k + k] : 0;
    }
    to[std::size_t(tile) * 32 + lane] = *reinterpret_cast<uint4*>(v);
  }
}

}  // namespace

void launch_pack(const PackArgs& a, cudaStream_t stream) {
  pack_kernel<<<dim3(static_cast<unsigned>(a.ctas), kWarps), 128, 0, stream>>>(a);
}

}  // namespace tendon::cuda::persistent
