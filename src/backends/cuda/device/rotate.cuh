// Rotary positions on head rows.
#pragma once

#include "backends/cuda/device/numeric.cuh"
#include "backends/cuda/device/rotate.h"

namespace tendon::cuda::device {

// Elements [i, i + V) of the first half of a head and their partners, in registers: a, b.
template <int V>
__device__ inline void rotate(const Rotation& r, int token, int half, int i, float (&a)[V],
                              float (&b)[V]) {
  float c[V], s[V];
  const int64_t at = int64_t{r.positions[token % r.position_count]} * half + i;
  load_vector<V>(r.cos, at, DType::f32, c);
  load_vector<V>(r.sin, at, DType::f32, s);
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const float x = a[j], y = b[j];
    a[j] = x * c[j] - y * s[j];
    b[j] = y * c[j] + x * s[j];
  }
}

// One chunk of a head: 2 V elements. Split-half: [i, i + V) and [half + i, half + i + V).
// Interleaved: [2 i, 2 i + 2 V), whose even elements pair with the odd ones.
template <int V>
__device__ inline void load_pairs(const void* p, int64_t at, DType t, int half, int i,
                                  int interleaved, float (&a)[V], float (&b)[V]) {
  if (!interleaved) {
    load_vector<V>(p, at + i, t, a);
    load_vector<V>(p, at + half + i, t, b);
    return;
  }
  float x[V], y[V];
  load_vector<V>(p, at + 2 * i, t, x);
  load_vector<V>(p, at + 2 * i + V, t, y);
  if constexpr (V == 1) {
    a[0] = x[0], b[0] = y[0];
  } else {
#pragma unroll
    for (int j = 0; j < V / 2; ++j) {
      a[j] = x[2 * j], b[j] = x[2 * j + 1];
      a[V / 2 + j] = y[2 * j], b[V / 2 + j] = y[2 * j + 1];
    }
  }
}

template <int V>
__device__ inline void store_pairs(void* p, int64_t at, DType t, int half, int i, int interleaved,
                                   const float (&a)[V], const float (&b)[V]) {
  if (!interleaved) {
    store_vector<V>(p, at + i, t, a);
    store_vector<V>(p, at + half + i, t, b);
    return;
  }
  float x[V], y[V];
  if constexpr (V == 1) {
    x[0] = a[0], y[0] = b[0];
  } else {
#pragma unroll
    for (int j = 0; j < V / 2; ++j) {
      x[2 * j] = a[j], x[2 * j + 1] = b[j];
      y[2 * j] = a[V / 2 + j], y[2 * j + 1] = b[V / 2 + j];
    }
  }
  store_vector<V>(p, at + 2 * i, t, x);
  store_vector<V>(p, at + 2 * i + V, t, y);
}

}  // namespace tendon::cuda::device
