// Binds the weights of blocks that several models share: asks a scope for them by the names that
// Hugging Face layouts use and adds them to a program.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

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
  Norm norm(const Scope& at, std::string_view name, std::int64_t width) const;
  Norm affine_norm(const Scope& at, std::string_view name, std::int64_t width) const;

  enum class Biases : std::uint8_t { none, all };
  // q, k and v (or k and v) one below the other, from tensors called q + `ending` and so on.
  Qkv qkv(const Scope& at, std::string_view ending, const HeadShape& shape, Biases biases) const;
  // A decoder layer without its norms: self_attn.{q,k,v,o}_proj, mlp.{gate,up,down}_proj. Where
  // shape.heads is 0, keys and values only.
  DecoderLayer decoder_layer(const Scope& at, const HeadShape& shape, std::int64_t mlp,
                             Biases qkv_biases) const;
  // NAME + "in" [width, 2 width] with columns for the action, then the time; NAME + "out".
  TimeMixer mixer(const Scope& at, const std::string& name, std::int64_t width,
                  Format format) const;
  // gate_proj, up_proj and down_proj.
  GatedMlp gated_mlp(const Scope& at, Size hidden_width, Biases biases) const;

 private:
  Program& program_;
  Format body_;
};

}  // namespace tendon::nn
