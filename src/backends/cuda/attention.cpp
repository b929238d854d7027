#include "backends/cuda/attention.h"

#include "backends/cuda/probe.h"
#include "base/error.h"

namespace tendon::cuda {
namespace {

KeyPiece piece(const Planner& planner, const ops::Attention::Keys& keys) {
  KeyPiece p;
  if (!keys.k) return p;
  const Planner::Operand k = planner.at(keys.k), v = planner.at(keys.v);
  p.k = k.data, p.v = v.data;
  p.k_batch = k.info->strides[0], p.k_row = k.info->strides[1], p.k_head = k.info->strides[2];
  p.v_batch = v.info->strides[0], p.v_row = v.info->strides[1], p.v_head = v.info->strides[2];
  p.k_dtype = k.info->dtype, p.v_dtype = v.info->dtype;
  p.count = static_cast<int>(k.info->shape[1]);
  if (keys.length) p.length = planner.data<const std::int32_t>(keys.length);
  if (keys.bias) p.bias = planner.data<const float>(keys.bias);
  return p;
}

}  // namespace

AttentionArgs attention_args(Planner& planner, const ops::Attention& op) {
  const Planner::Operand q = planner.at(op.q), out = planner.at(op.out);
  AttentionArgs a;
  a.q = q.data, a.out = out.data;
  a.q_batch = q.info->strides[0], a.q_row = q.info->strides[1], a.q_head = q.info->strides[2];
  a.out_batch = out.info->strides[0], a.out_row = out.info->strides[1];
  a.out_head = out.info->strides[2];
  a.q_dtype = q.info->dtype, a.out_dtype = out.info->dtype;
  for (std::size_t i = 0; i < 2; ++i) a.piece[i] = piece(planner, op.keys[i]);
  if (op.score_bias) a.score_bias = planner.data<const float>(op.score_bias);
  if (!op.visible.empty()) {
    a.visible = static_cast<const std::int32_t*>(
        planner.constant(op.visible.data(), op.visible.size() * sizeof(std::int32_t)));
  }
  a.batch = static_cast<int>(q.info->shape[0]), a.rows = static_cast<int>(q.info->shape[1]);
  a.heads = static_cast<int>(q.info->shape[2]), a.width = static_cast<int>(q.info->shape[3]);
  a.key_heads = static_cast<int>(planner.trace().shape(op.keys[0].k)[2]);
  a.scale = op.scale;
  return a;
}

void plan(Planner& planner, const ops::Attention& op) {
  const AttentionArgs a = attention_args(planner, op);
  require(a.width <= 1024, "attention: head width {} of at most 1024", a.width);
  const cudaDeviceProp& device = planner.shared().device.properties;
  if (device.major == 9 && suits_warpgroups(a) && has_warpgroup_code()) {
    planner.launch([a, count = device.multiProcessorCount](cudaStream_t stream) {
      launch_attention_sm90(a, count, stream);
    });
  } else if (suits_tensor_cores(a)) {
    planner.launch([a](cudaStream_t stream) { launch_attention_mma(a, stream); });
  } else if (suits_wide(a)) {
    const auto padded = [](int n) { return static_cast<std::size_t>((n + 63) / 64 * 64); };
    const Scratch scores =
        planner.scratch(static_cast<std::size_t>(a.batch * a.heads) * padded(a.rows) *
                        padded(a.piece[0].count) * sizeof(float));
    planner.launch([a, scores](cudaStream_t stream) {
      launch_attention_wide(a, static_cast<float*>(scores.get()), stream);
    });
  } else {
    planner.launch([a](cudaStream_t stream) { launch_attention_plain(a, stream); });
  }
}

}  // namespace tendon::cuda
