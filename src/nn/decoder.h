// The layer that language stacks, their action experts and gated vision towers have in common, and
// the way in for actions.
#pragma once

#include <array>

#include "nn/recorder.h"

namespace tendon::nn {

// x + out(attention(norm1(x))), then + mlp(norm2(.)). Where qkv has no queries the layer ends with
// its keys and values.
struct DecoderLayer {
  Norm norm1, norm2;
  Qkv qkv;
  Linear out;
  GatedMlp mlp;
};

// What the layer is given at one place of a trace.
struct LayerCall {
  Rotation rotation;
  KeyValue to;                                // where its keys and values go
  std::array<ops::Attention::Keys, 2> keys;   // what its queries see
  std::vector<std::int32_t> visible;          // see ops::Attention
  std::array<Modulation, 2> modulation = {};  // of its norms
  std::array<RowTable, 2> gates = {};         // of its branches
};

// [B, S, D]; absent where the layer ends with its keys and values.
Value decoder_layer(const Recorder& r, Value x, const DecoderLayer& layer, const LayerCall& call);

// The MLP through which action rows and the time of a step meet: its first product is split over
// (action | time), so that the time's half is a table.
struct TimeMixer {
  Linear action, time, out;
};
// out(silu(action(u) + time)); u [B, H, D], `time` a row of a table f32 [R, D].
Value mix_time(const Recorder& r, Value u, const RowTable& time, const TimeMixer& w,
               const LinearOptions& out);

}  // namespace tendon::nn
