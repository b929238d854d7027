// What the attention kernels of this backend take.
#pragma once

#include "backends/cuda/device/rows.cuh"
#include "backends/cuda/planner.h"

namespace tendon::cuda {

struct KeyPiece {
  const void* k = nullptr;
  const void* v = nullptr;
  int64_t k_batch = 0, k_row = 0, k_head = 0;  // strides in elements
  int64_t v_batch = 0, v_row = 0, v_head = 0;
  DType k_dtype = DType::bf16, v_dtype = DType::bf16;
  int count = 0;                    // 0: no such piece
  const int32_t* length = nullptr;  // [B]
  const float* bias = nullptr;      // [B, count]
};

struct AttentionArgs {
  const void* q = nullptr;
  void* out = nullptr;
  int64_t q_batch = 0, q_row = 0, q_head = 0, out_batch = 0, out_row = 0, out_head = 0;
  DType q_dtype = DType::bf16, out_dtype = DType::bf16;
  KeyPiece piece[2];
  const float* score_bias = nullptr;  // [H, S, count of piece 0]
  const int32_t* visible = nullptr;   // [S]
  int batch = 1, rows = 0, heads = 1, key_heads = 1, width = 0;
  float scale = 1.0f;
};

AttentionArgs attention_args(Planner& planner, const ops::Attention& op);

// Tensor-core kernel for 16-bit q, k and v of one dtype and head widths up to 256; false where the
// operands do not suit.
bool suits_tensor_cores(const AttentionArgs& args);
void launch_attention_mma(const AttentionArgs& args, cudaStream_t stream);
// The same on sm_90, fp16 up to a width of 128 (only where has_warpgroup_code()), keys without
// limits by query.
bool suits_warpgroups(const AttentionArgs& args);
void launch_attention_sm90(const AttentionArgs& args, int multiprocessors, cudaStream_t stream);
// Heads wider than 256, bf16; one piece of keys, no biases or limits by query. `scores`: fp32
// [batch, heads, rows, keys of the piece], both rounded up to 64.
bool suits_wide(const AttentionArgs& args);
void launch_attention_wide(const AttentionArgs& args, float* scores, cudaStream_t stream);
// Any dtype, head widths up to 1024.
void launch_attention_plain(const AttentionArgs& args, cudaStream_t stream);

}  // namespace tendon::cuda
