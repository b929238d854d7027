// How many keys a query sees.
#pragma once

#include "backends/cuda/attention.h"

namespace tendon::cuda {

__device__ inline int key_count(const AttentionArgs& a, int which, int b) {
  const KeyPiece& p = a.piece[which];
  return p.count == 0 ? 0 : p.length ? min(max(p.length[b], 0), p.count) : p.count;
}

// Of the concatenation of `first` and `last` keys, those that query s sees.
__device__ inline int seen_keys(const AttentionArgs& a, int s, int first, int last) {
  if (!a.visible) return first + last;
  return a.piece[1].count ? first + min(a.visible[s], last) : min(a.visible[s], first);
}

}  // namespace tendon::cuda
