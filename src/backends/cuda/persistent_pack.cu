// Weights into the order in which the persistent kernel's CTAs read them.
#include "backends/cuda/persistent_kernel.h"

namespace tendon::cuda::persistent {
namespace {

// One CTA a stream; a thread writes eight inputs of a column, swizzled as warpgroups read them.
__global__ void pack_kernel(PackArgs a) {
  const int cta = static_cast<int>(blockIdx.x);
  const ProductPhase& p = a.phase;
  const Work w = work_of(p, cta, a.ctas, a.slot);
  std::byte* to = a.stream + a.first[cta];
  const uint16_t* from = static_cast<const uint16_t*>(a.weight);
  const int pieces = w.side[0].pieces + w.side[1].pieces;
  for (int number = 0; number < pieces; ++number) {
    const Piece piece = piece_of(w, number);
    const Side& s = w.side[piece.side];
    const int columns = s.units * kColumns;
    for (int i = threadIdx.x; i < piece.blocks * columns * 8; i += blockDim.x) {
      const int chunk = i % 8, n = i / 8 % columns, b = i / 8 / columns;
      const int unit = w.first_unit + s.first_unit + n / kColumns;
      const int block = w.first_block + s.first_block + piece.first_block + b;
      const int row = weight_row(p, unit, n % kColumns), k = block * kBlock + chunk * 8;
      alignas(16) uint16_t v[8];
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        v[e] = row >= 0 && k + e < p.k ? from[int64_t{row} * p.k + k + e] : 0;
      }
      *reinterpret_cast<uint4*>(to + (b * columns + n) * kRowBytes + (chunk ^ n % 8) * 16) =
          *reinterpret_cast<uint4*>(v);
    }
    to += piece.blocks * columns * kRowBytes;
  }
}

}  // namespace

void launch_pack(const PackArgs& a, cudaStream_t stream) {
  pack_kernel<<<static_cast<unsigned>(a.ctas), 256, 0, stream>>>(a);
}

}  // namespace tendon::cuda::persistent
