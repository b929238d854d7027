#include "backends/cuda/context.h"

#include "backends/cuda/probe.h"
#include "base/error.h"

namespace tendon::cuda {

void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) fail("cuda: {}: {}", what, cudaGetErrorString(status));
}

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    fail("cublasLt: {}: {}", what, cublasLtGetStatusString(status));
}

DeviceMemory::DeviceMemory(std::size_t bytes, const char* what) : bytes_(bytes) {
  if (bytes == 0) return;
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for free memory");
  require(bytes <= free, "cuda: {} need {} MB of device memory, {} of {} MB are free", what,
          bytes >> 20, free >> 20, total >> 20);
  check(cudaMalloc(memory_.put(), bytes), what);
  check(cudaMemset(memory_.get(), 0, bytes), what);
  // Streams of ours do not wait for the default one: on a busy device zeros could follow contents.
  check(cudaStreamSynchronize(cudaStreamLegacy), what);
}

PinnedMemory::PinnedMemory(std::size_t bytes) : bytes_(bytes) {
  if (bytes) check(cudaMallocHost(memory_.put(), bytes), "page-locked host memory");
}

Device open_device(int index) {
  Device device;
  device.index = index;
  int count = 0;
  if (cudaDriverGetVersion(&device.driver) != cudaSuccess || device.driver == 0) {
    fail("cuda: no NVIDIA driver is installed; run on the cpu backend or install one");
  }
  const cudaError_t found = cudaGetDeviceCount(&count);
  require(found == cudaSuccess && count > 0, "cuda: no usable GPU: {}", cudaGetErrorString(found));
  require(index >= 0 && index < count, "cuda: device {} of {}", index, count);
  check(cudaSetDevice(index), "choosing the device");
  check(cudaGetDeviceProperties(&device.properties, index), "reading its properties");
  check(cudaRuntimeGetVersion(&device.runtime), "reading the runtime's version");
  const int major = device.properties.major, minor = device.properties.minor;
  require(major >= 8, "cuda: {} is sm_{}{}, sm_80 or newer is wanted", device.properties.name,
          major, minor);
  require(has_device_code(),
          "cuda: this build has no code for {} (sm_{}{}); build with "
          "TENDON_CUDA_ARCHITECTURES={}{}",
          device.properties.name, major, minor, major, minor);
  return device;
}

}  // namespace tendon::cuda
