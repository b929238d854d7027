// Recording blocks that several models share. Every function appends ops to a trace and returns the
// value they produce, in the working type unless told otherwise.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ops/trace.h"

namespace tendon::nn {

struct Linear {
  WeightRef weight, bias;  // [N, K], [N]; bias may be absent
};

struct Norm {
  WeightRef weight, bias;  // absent: 1 and 0
  float offset = 0.0f;     // RMS norms that store the factor minus 1 set it to 1
  float eps = 1e-6f;
};

struct Modulation {
  RowTable scale, shift;
};

struct GatedMlp {
  Linear gate, up, down;
  Act act = Act::silu;
};

struct LinearOptions {
  Act act = Act::none;
  RowTable gate;
  Value residual;
  Value into;                  // where the result goes; absent: a new value
  std::optional<DType> dtype;  // of a new value; absent: the working type
};

// Tables of a rotation and the positions to look up.
struct Rotation {
  Value cos, sin, positions;
  ops::RopeStyle style = ops::RopeStyle::split_half;
};

struct Qkv {
  Linear weights;  // q | k | v, or k | v where only keys are wanted
  WeightRef norm_q, norm_k;
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
};

// Where keys and values go; absent: new values.
struct KeyValue {
  Value k, v;  // [B, S, Hk, Dh]
};

struct AttentionOptions {
  float scale = 1.0f;
  std::vector<std::int32_t> visible;
  Value score_bias;
};

class Recorder {
 public:
  // `label` starts every op's label: "prefix.3.".
  Recorder(Trace& trace, DType working, std::string label = {})
      : trace_(trace), working_(working), label_(std::move(label)) {}

  Trace& trace() const { return trace_; }
  DType working() const { return working_; }
  Recorder at(std::string_view part) const {
    return Recorder(trace_, working_, label_ + std::string(part) + ".");
  }
  std::string name(std::string_view op) const { return label_ + std::string(op); }

  Value linear(std::string_view op, Value x, const Linear& w, const LinearOptions& o = {}) const;
  Value rms_norm(std::string_view op, Value x, const Norm& w, const Modulation& m = {}) const;
  Value layer_norm(std::string_view op, Value x, const Norm& w, const Modulation& m = {}) const;
  // q [B,S,H,Dh] of k's dtype (absent where the weights hold no q); k and v into `to` or new
  // values.
  struct Projected {
    Value q, k, v;
  };
  Projected qkv(std::string_view op, Value x, const Qkv& w, const Rotation& rotation,
                const KeyValue& to = {}) const;
  // [B, S, H * Dh]
  Value attention(std::string_view op, Value q, const std::array<ops::Attention::Keys, 2>& keys,
                  const AttentionOptions& o) const;
  // x in the working type.
  Value cast(std::string_view op, Value x) const;
  // Each product of x to columns of its own in `table`, side by side. `op` has a # for the number.
  void linear_columns(std::string_view op, Value x, std::span<const Linear> weights,
                      Value table) const;
  // down(act(gate(x)) * up(x)) with the options of the last product.
  Value gated_mlp(Value x, const GatedMlp& w, const LinearOptions& o = {}) const;

 private:
  template <class Op>
  Value normalise(std::string_view name, Op op, const Norm& w, const Modulation& m) const;

  Trace& trace_;
  DType working_;
  std::string label_;
};

}  // namespace tendon::nn
