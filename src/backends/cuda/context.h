// The device, its library handles and how their errors become ours.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <string>
#include <utility>

namespace tendon::cuda {

// Throw Error "what: the library's words".
void check(cudaError_t status, const char* what);
void check(cublasStatus_t status, const char* what);

// Sole owner of a C handle.
template <class T, auto destroy>
class Handle {
 public:
  Handle() = default;
  explicit Handle(T value) : value_(value) {}
  Handle(Handle&& o) noexcept : value_(std::exchange(o.value_, T{})) {}
  Handle& operator=(Handle&& o) noexcept {
    std::swap(value_, o.value_);
    return *this;
  }
  ~Handle() {
    if (value_) destroy(value_);
  }
  T get() const { return value_; }
  T* put() { return &value_; }
  explicit operator bool() const { return value_ != T{}; }

 private:
  T value_{};
};

using Stream = Handle<cudaStream_t, cudaStreamDestroy>;
using Event = Handle<cudaEvent_t, cudaEventDestroy>;
using GraphExec = Handle<cudaGraphExec_t, cudaGraphExecDestroy>;
using BlasLt = Handle<cublasLtHandle_t, cublasLtDestroy>;
using MatmulDesc = Handle<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using MatrixLayout = Handle<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using MatmulPreference = Handle<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

// Memory of the device; zeroed. Throws Error with the sizes where there is too little.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(std::size_t bytes, const char* what);
  std::byte* data() const { return static_cast<std::byte*>(memory_.get()); }
  std::size_t size() const { return bytes_; }

 private:
  Handle<void*, cudaFree> memory_;
  std::size_t bytes_ = 0;
};

// Page-locked host memory.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  explicit PinnedMemory(std::size_t bytes);
  std::byte* data() const { return static_cast<std::byte*>(memory_.get()); }
  std::size_t size() const { return bytes_; }

 private:
  Handle<void*, cudaFreeHost> memory_;
  std::size_t bytes_ = 0;
};

struct Device {
  int index = 0;
  cudaDeviceProp properties{};
  int driver = 0, runtime = 0;
};

// The device made current on the calling thread. Throws Error: no driver, no such device, an
// architecture without code in this build.
Device open_device(int index);

}  // namespace tendon::cuda
