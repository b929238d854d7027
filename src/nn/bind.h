// Binds the weights of blocks that several models share: asks a scope for them by the names that
// Hugging Face layouts use and adds them to a program.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "nn/decoder.h"
#include "nn/recorder.h"
#include "weights/scope.h"

namespace tendon::nn {

// Width and shape of an attention whose queries, keys and values are stored apart.
struct HeadShape {
  std::int64_t width = 0, heads = 0, kv_heads = 0, head_dim = 0;  // heads 0: keys and values only
};

class Bind {
 public:
  // `body`: what matrices become where a call names no format.
  Bind(Program& program, DType working)
      : program_(program), body_(working == DType::f32 ? Format::f32 : Format::bf16) {}

  Format body() const { return body_; }
  Program& program() const { return program_; }
  WeightRef add(Weight w) const { return program_.add(std::move(w)); }

  struct Size {
    std::int64_t n, k;
  };
  // NAME.weight [n, k] and NAME.bias [n]; the weight alone.
  Linear linear(const Scope& at, std::string_view name, Size size, Format format) const;
  Linear linear(const Scope& at, std::string_view name, Size size) const {
    return linear(at, name, size, body_);
  }
  Linear product(const Scope& at, std::string_view name, Size size) const;
  // NAME.weight [width]; with NAME.bias.
  Norm norm(const Scope& at, std::string_view name, std::int64_t width, float offset = 0) const;
  Norm affine_norm(const Scope& at, std::string_view name, std::int64_t width) const;

  enum class Biases : std::uint8_t { none, all };
  // q, k and v (or k and v) one below the other, from tensors called q + `ending` and so on.
  Qkv qkv(const Scope& at, std::string_view ending, const HeadShape& shape, Biases biases) const;
  // What the decoder layers of a network have in common.
  struct LayerStyle {
    Biases qkv_biases = Biases::none;
    Act act = Act::silu;
    float norm_offset = 0.0f;  // see Norm
  };
  struct Stack {
    HeadShape shape;
    std::int64_t mlp = 0, layers = 0;
    LayerStyle style;
    enum class Norms : std::uint8_t { stored, others } norms = Norms::stored;
    // What the last layer makes.
    enum class End : std::uint8_t { rows, keys_and_values } end = End::rows;
  };
  // layers.0, layers.1, .. below `at`: self_attn.{q,k,v,o}_proj, mlp.{gate,up,down}_proj and, where
  // norms are stored with their weights, input_layernorm and post_attention_layernorm.
  std::vector<DecoderLayer> decoder_stack(const Scope& at, const Stack& stack) const;
  // NAME + "in" [width, 2 width] with columns for the action, then the time; NAME + "out".
  TimeMixer mixer(const Scope& at, const std::string& name, std::int64_t width,
                  Format format) const;
  // gate_proj, up_proj and down_proj.
  GatedMlp gated_mlp(const Scope& at, Size hidden_width, Biases biases) const;

 private:
  DecoderLayer decoder_layer(const Scope& at, const Stack& stack) const;

  Program& program_;
  Format body_;
};

}  // namespace tendon::nn
