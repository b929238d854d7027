// Numbers on the device: loads and stores of any floating dtype as fp32, activations.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#include "backends/cuda/device/curve.h"
#include "base/dtype.h"

namespace tendon::cuda::device {

__device__ inline float load(const void* p, int64_t i, DType t) {
  switch (t) {
    case DType::bf16:
      return __bfloat162float(static_cast<const __nv_bfloat16*>(p)[i]);
    case DType::f16:
      return __half2float(static_cast<const __half*>(p)[i]);
    case DType::i32:
      return static_cast<float>(static_cast<const int32_t*>(p)[i]);
    case DType::u8:
      return static_cast<float>(static_cast<const uint8_t*>(p)[i]);
    default:
      return static_cast<const float*>(p)[i];
  }
}

__device__ inline void store(void* p, int64_t i, DType t, float v) {
  switch (t) {
    case DType::bf16:
      static_cast<__nv_bfloat16*>(p)[i] = __float2bfloat16(v);
      break;
    case DType::f16:
      static_cast<__half*>(p)[i] = __float2half(v);
      break;
    case DType::i32:
      static_cast<int32_t*>(p)[i] = static_cast<int32_t>(v);
      break;
    case DType::u8:
      static_cast<uint8_t*>(p)[i] = static_cast<uint8_t>(v);
      break;
    default:
      static_cast<float*>(p)[i] = v;
  }
}

__device__ inline uint32_t pack_bf16(float a, float b) {
  const __nv_bfloat162 v = __floats2bfloat162_rn(a, b);
  return *reinterpret_cast<const uint32_t*>(&v);
}

__device__ inline uint32_t pack_f16(float a, float b) {
  const __half2 v = __floats2half2_rn(a, b);
  return *reinterpret_cast<const uint32_t*>(&v);
}

__device__ inline float2 unpack_bf16(uint32_t v) {
  return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&v));
}

__device__ inline float2 unpack_f16(uint32_t v) {
  return __half22float2(*reinterpret_cast<const __half2*>(&v));
}

__device__ inline void unpack_words(const uint4& w, DType t, float (&out)[8]) {
  const uint32_t words[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const float2 f = t == DType::bf16 ? unpack_bf16(words[j]) : unpack_f16(words[j]);
    out[2 * j] = f.x;
    out[2 * j + 1] = f.y;
  }
}

// V consecutive elements from element i on. V = 8 wants 16-byte alignment (checked at plan time).
template <int V>
__device__ inline void load_vector(const void* p, int64_t i, DType t, float (&out)[V]) {
  if constexpr (V == 8) {
    if (t == DType::f32) {
      const float4* f = reinterpret_cast<const float4*>(static_cast<const float*>(p) + i);
      const float4 a = f[0], b = f[1];
      out[0] = a.x, out[1] = a.y, out[2] = a.z, out[3] = a.w;
      out[4] = b.x, out[5] = b.y, out[6] = b.z, out[7] = b.w;
      return;
    }
    unpack_words(*reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(p) + i), t, out);
  } else {
#pragma unroll
    for (int j = 0; j < V; ++j) out[j] = load(p, i + j, t);
  }
}

template <int V>
__device__ inline void store_vector(void* p, int64_t i, DType t, const float (&v)[V]) {
  if constexpr (V == 8) {
    if (t == DType::f32) {
      float4* f = reinterpret_cast<float4*>(static_cast<float*>(p) + i);
      f[0] = make_float4(v[0], v[1], v[2], v[3]);
      f[1] = make_float4(v[4], v[5], v[6], v[7]);
      return;
    }
    uint4 w;
    if (t == DType::bf16) {
      w = make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]),
                     pack_bf16(v[6], v[7]));
    } else {
      w = make_uint4(pack_f16(v[0], v[1]), pack_f16(v[2], v[3]), pack_f16(v[4], v[5]),
                     pack_f16(v[6], v[7]));
    }
    *reinterpret_cast<uint4*>(static_cast<uint16_t*>(p) + i) = w;
  } else {
#pragma unroll
    for (int j = 0; j < V; ++j) store(p, i + j, t, v[j]);
  }
}

// One copy: inlined where results are stored it would fill the instruction cache.
static __device__ __noinline__ float curve(Curve c, float x) {
  switch (c) {
    case Curve::gelu_tanh: {
      const float u = 0.7978845608028654f * (x + 0.044715f * x * x * x);
      return 0.5f * x * (1.0f + tanhf(u));
    }
    case Curve::gelu_erf:
      return 0.5f * x * (1.0f + erff(x * 0.7071067811865476f));
    case Curve::silu:
      return x / (1.0f + expf(-x));
    default:
      return x;
  }
}

__device__ inline float warp_sum(float v) {
#pragma unroll
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
  return v;
}

__device__ inline float warp_max(float v) {
#pragma unroll
  for (int o = 16; o; o >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, o));
  return v;
}

}  // namespace tendon::cuda::device
