#include "backends/cuda/tensor_map.h"

#include "backends/cuda/launch.h"
#include "base/error.h"

namespace tendon::cuda {
namespace {

constexpr std::int64_t kElement = 2;

using Encode = decltype(&cuTensorMapEncodeTiled);

Encode encoder() {
  static const Encode found = [] {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult result{};
    const cudaError_t status = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry,
                                                                12000, cudaEnableDefault, &result);
    const bool there = status == cudaSuccess && result == cudaDriverEntryPointSuccess;
    return there ? reinterpret_cast<Encode>(entry) : nullptr;
  }();
  return found;
}

}  // namespace

bool overlapping_launches() {
  int device = 0, major = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return false;
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess) {
    return false;
  }
  return major >= 9;
}

bool suits_map(const void* data, const MapShape& s) {
  bool fits = encoder() && reinterpret_cast<std::uintptr_t>(data) % 16 == 0;
  for (std::size_t d = 1; d < static_cast<std::size_t>(s.rank); ++d) {
    fits &= s.extent[d] == 1 || (s.stride[d] > 0 && s.stride[d] * kElement % 16 == 0);
  }
  return fits;
}

CUtensorMap make_map(const void* data, const MapShape& s) {
  CUtensorMap map;
  cuuint64_t extent[4], stride[3];
  for (std::size_t d = 0; d < static_cast<std::size_t>(s.rank); ++d) {
    extent[d] = static_cast<cuuint64_t>(s.extent[d]);
    if (d == 0) continue;
    const std::int64_t bytes = s.extent[d] == 1 ? 16 : s.stride[d] * kElement;
    stride[d - 1] = static_cast<cuuint64_t>(bytes);
  }
  require(encoder() != nullptr, "cuda: the driver is too old for tensor copies");
  const CUresult status =
      encoder()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, static_cast<cuuint32_t>(s.rank),
                const_cast<void*>(data), extent, stride, s.box.data(), s.step.data(),
                CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  require(status == CUDA_SUCCESS, "cuda: describing a tensor: error {}", static_cast<int>(status));
  return map;
}

}  // namespace tendon::cuda
