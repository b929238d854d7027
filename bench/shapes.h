// The shapes every op is tested and timed at: first those the models use at their published sizes,
// then awkward ones. Rows named after a model are large mostly; tests run what is below
// kLargeFlops.
#pragma once

#include <cstdint>

#include "ops/ops.h"

namespace tendon::shapes {

// Above these an op is left to benchmarks and to machines that multiply quickly: multiply-adds of a
// product are cheap, elements of the other ops (a tanh in fp64, say) are not.
inline constexpr double kLargeFlops = 2e8, kLargeElements = 5e5;

// How operands lie in their buffers.
enum class Layout : std::uint8_t {
  dense,
  columns,  // some columns of wider rows, 8 from their beginning
  odd,      // the same, 3 from their beginning: rows aligned to one element only
  slab,     // some rows of each sample of a longer buffer: samples lie further apart
};

// What an op has besides the operands it must have; a sum of these.
inline constexpr unsigned kBias = 1, kGate = 2, kGateRows = 4, kResidual = 8, kInPlace = 16,
                          kWeight = 32, kScale = 64, kShift = 128, kShiftRows = 256, kNormQ = 512,
                          kNormK = 1024, kNoQ = 2048, kNoRotation = 4096, kIteration = 8192;

struct Linear {
  const char* name;
  std::int64_t B, S, K, N;
  unsigned parts = 0;
  Act act = Act::none;
  Layout layout = Layout::dense;
};
inline constexpr Linear kLinear[] = {
    {"pi05_vision_patch", 2, 256, 588, 1152, kBias | kResidual},
    {"pi05_vision_qkv", 2, 256, 1152, 3456, kBias},
    {"pi05_vision_out", 2, 256, 1152, 1152, kBias | kResidual | kInPlace},
    {"pi05_vision_fc1", 2, 256, 1152, 4304, kBias, Act::gelu_tanh},
    {"pi05_vision_fc2", 2, 256, 4304, 1152, kBias | kResidual | kInPlace},
    {"pi05_projector", 2, 256, 1152, 2048, kBias},
    {"pi05_prefix_o", 1, 560, 2048, 2048, kResidual | kInPlace},
    {"pi05_prefix_o_three_cameras", 1, 968, 2048, 2048, kResidual | kInPlace},
    {"pi05_prefix_down", 1, 560, 16384, 2048, kResidual | kInPlace},
    {"pi05_prefix_down_three_cameras", 1, 968, 16384, 2048, kResidual | kInPlace},
    {"pi05_expert_o", 1, 10, 2048, 1024, kGate | kResidual | kInPlace},
    {"pi05_expert_o_50", 1, 50, 2048, 1024, kGate | kResidual | kInPlace},
    {"pi05_expert_down", 1, 10, 4096, 1024, kGate | kIteration | kResidual | kInPlace},
    {"pi05_expert_down_50", 1, 50, 4096, 1024, kGate | kIteration | kResidual | kInPlace},
    {"pi05_action_in", 1, 10, 32, 1024, kBias},
    {"pi05_action_out", 1, 10, 1024, 32, kBias},
    {"lingbot_vision_out", 3, 256, 1280, 1280, kBias | kResidual | kInPlace},
    {"lingbot_vision_down", 3, 256, 3420, 1280, kBias | kResidual | kInPlace},
    {"lingbot_merger", 1, 192, 5120, 5120, kBias, Act::gelu_erf},
    {"lingbot_prefix_down", 1, 264, 11008, 2048, kResidual | kInPlace},
    {"lingbot_expert_o", 1, 51, 2048, 768, kResidual | kInPlace},
    {"lingbot_expert_down", 1, 51, 2752, 768, kResidual | kInPlace},
    {"lingbot_time_in", 1, 50, 1536, 768, kBias, Act::silu},
    {"lingbot_action_in", 1, 50, 75, 768, kBias},
    {"lingbot_action_out", 1, 50, 768, 75, kBias},
    {"fastwam_video_o", 1, 98, 3072, 3072, kBias | kGate | kResidual | kInPlace},
    {"fastwam_video_ffn_in", 1, 98, 3072, 14336, kBias, Act::gelu_tanh},
    {"fastwam_video_ffn_out", 1, 98, 14336, 3072, kBias | kGate | kResidual | kInPlace},
    {"fastwam_action_q", 1, 32, 1024, 3072, kBias},
    {"fastwam_action_o", 1, 32, 3072, 1024, kBias | kGate | kResidual | kInPlace},
    {"fastwam_text_kv", 1, 129, 3072, 3072, kBias},
    {"fastwam_proprio", 1, 1, 8, 4096, kBias},
    {"mini_vision_fc1", 2, 16, 48, 88, kBias, Act::gelu_tanh},
    {"mini_expert_down", 1, 7, 96, 48, kGate | kResidual},
    {"one_by_one", 1, 1, 1, 1},
    {"one_row", 1, 1, 64, 33, kBias, Act::silu},
    {"two_rows", 1, 2, 257, 31, kBias | kResidual},
    {"prime", 1, 13, 17, 19, kBias, Act::gelu_erf},
    {"odd_inputs", 1, 33, 63, 64},
    {"long_sum", 1, 5, 4099, 7, kBias},
    {"uneven_sum", 1, 37, 2072, 70, kBias | kResidual},
    {"wide", 1, 3, 12, 1025, kBias | kResidual},
    {"many_rows", 3, 67, 40, 24, kBias | kGate, Act::gelu_tanh},
    {"rows_past_blocks", 1, 98, 3112, 96, kBias | kResidual},
    {"gate_for_each_row", 2, 9, 32, 48, kGateRows | kBias | kResidual, Act::silu},
    {"gate_for_each_sample", 2, 9, 32, 48, kGate | kResidual},
    {"gate_by_iteration", 1, 9, 32, 48, kGate | kIteration | kResidual | kInPlace},
    {"gate_alone", 1, 6, 16, 16, kGate},
    {"residual_in_place", 2, 5, 24, 40, kBias | kResidual | kInPlace},
    {"columns", 2, 11, 48, 32, kBias | kResidual, Act::none, Layout::columns},
    {"odd_columns", 2, 7, 21, 10, kBias | kGate | kResidual, Act::silu, Layout::odd},
    {"slab", 3, 10, 64, 24, kBias | kResidual, Act::none, Layout::slab},
};

struct GatedLinear {
  const char* name;
  std::int64_t B, S, K, N;
  unsigned parts = 0;
  Act act = Act::silu;
  Layout layout = Layout::dense;
};
inline constexpr GatedLinear kGatedLinear[] = {
    {"pi05_prefix", 1, 560, 2048, 16384, 0, Act::gelu_tanh},
    {"pi05_prefix_three_cameras", 1, 968, 2048, 16384, 0, Act::gelu_tanh},
    {"pi05_expert", 1, 10, 1024, 4096, 0, Act::gelu_tanh},
    {"pi05_expert_50", 1, 50, 1024, 4096, 0, Act::gelu_tanh},
    {"lingbot_vision", 3, 256, 1280, 3420, kBias},
    {"lingbot_prefix", 1, 264, 2048, 11008},
    {"lingbot_expert", 1, 51, 768, 2752},
    {"mini_expert", 1, 7, 48, 96, 0, Act::gelu_tanh},
    {"one_row", 1, 1, 40, 24, kBias},
    {"prime", 1, 13, 17, 19, kBias, Act::gelu_erf},
    {"linear_gate", 2, 3, 16, 33, 0, Act::none},
    {"many_rows", 2, 45, 64, 56},
    {"columns", 2, 9, 32, 48, kBias, Act::silu, Layout::columns},
    {"odd_columns", 1, 5, 19, 11, 0, Act::gelu_tanh, Layout::odd},
    {"slab", 2, 6, 24, 16, 0, Act::silu, Layout::slab},
};

struct Conv2d {
  const char* name;
  std::int64_t B, Y, X, C, O, kernel, stride;
  std::int64_t top, left, bottom, right;
  unsigned parts = 0;
  Act act = Act::none;
};
inline constexpr Conv2d kConv2d[] = {
    {"pi05_patches", 2, 224, 224, 3, 1152, 14, 14, 0, 0, 0, 0, kBias},
    {"fastwam_vae_in", 1, 112, 224, 12, 160, 3, 1, 1, 1, 1, 1, kBias},
    {"fastwam_vae_160", 1, 112, 224, 160, 160, 3, 1, 1, 1, 1, 1, kBias | kResidual},
    {"fastwam_vae_down_160", 1, 112, 224, 160, 160, 3, 2, 0, 0, 1, 1, kBias},
    {"fastwam_vae_320", 1, 56, 112, 320, 320, 3, 1, 1, 1, 1, 1, kBias | kResidual},
    {"fastwam_vae_shortcut", 1, 56, 112, 160, 320, 1, 1, 0, 0, 0, 0, kBias},
    {"fastwam_vae_640", 1, 28, 56, 640, 640, 3, 1, 1, 1, 1, 1, kBias | kResidual},
    {"fastwam_vae_out", 1, 14, 28, 640, 48, 3, 1, 1, 1, 1, 1, kBias},
    {"mini_patches", 2, 56, 56, 3, 48, 14, 14, 0, 0, 0, 0, kBias},
    {"mini_vae", 1, 24, 12, 16, 32, 3, 1, 1, 1, 1, 1, kBias | kResidual},
    {"mini_vae_down", 1, 12, 24, 32, 32, 3, 2, 0, 0, 1, 1, kBias},
    {"wide_picture", 1, 65, 64, 32, 24, 3, 1, 1, 1, 1, 1, kBias | kResidual},
    {"one_pixel", 1, 1, 1, 5, 7, 3, 1, 1, 1, 1, 1, kBias, Act::silu},
    {"pointwise", 2, 3, 5, 9, 11, 1, 1, 0, 0, 0, 0, 0, Act::gelu_tanh},
    {"uneven_padding", 1, 7, 6, 3, 4, 3, 2, 2, 0, 1, 3, kBias | kResidual},
    {"five_taps", 3, 9, 8, 1, 2, 5, 3, 0, 2, 2, 0},
};

struct Attention {
  const char* name;
  std::int64_t B, S, H, Hk, Dh;
  std::int64_t Sk, Sk2 = 0;  // keys of the two pieces
  // Lengths of the samples for each piece; -1: no length is given. The last serves the rest.
  std::int64_t lengths[2][2] = {{-1, -1}, {-1, -1}};
  unsigned parts =
      0;  // kBias: of each key of the first piece; kGate: of the last; kResidual: score_bias
  enum class Visible : std::uint8_t {
    all,
    causal,
    first_row_less,
    none_at_first
  } visible = Visible::all;
  Layout layout = Layout::dense;
};
inline constexpr Attention kAttention[] = {
    {"pi05_vision", 2, 256, 16, 16, 72, 256},
    {"pi05_prefix", 1, 560, 8, 1, 256, 560, 0, {{532, 532}, {-1, -1}}},
    {"pi05_prefix_three_cameras", 1, 968, 8, 1, 256, 968, 0, {{800, 800}, {-1, -1}}},
    {"pi05_expert", 1, 10, 8, 1, 256, 560, 10, {{532, 532}, {-1, -1}}},
    {"pi05_expert_50", 1, 50, 8, 1, 256, 968, 50, {{800, 800}, {-1, -1}}},
    {"pi0_expert",
     1,
     51,
     8,
     1,
     256,
     816,
     51,
     {{530, 530}, {-1, -1}},
     0,
     Attention::Visible::first_row_less},
    {"lingbot_vision_window", 12, 64, 16, 16, 80, 64},
    {"lingbot_vision_full", 3, 256, 16, 16, 80, 256},
    {"lingbot_prefix", 1, 264, 16, 2, 128, 264, 0, {{230, 230}, {-1, -1}}},
    {"lingbot_expert",
     1,
     51,
     16,
     2,
     128,
     264,
     51,
     {{230, 230}, {-1, -1}},
     0,
     Attention::Visible::first_row_less},
    {"fastwam_video", 1, 98, 24, 24, 128, 98},
    {"fastwam_action", 1, 32, 24, 24, 128, 98, 32},
    {"fastwam_cross", 1, 32, 24, 24, 128, 129, 0, {{-1, -1}, {-1, -1}}, kBias},
    {"fastwam_vae", 1, 392, 1, 1, 640, 392},
    {"umt5", 1, 128, 64, 64, 64, 128, 0, {{40, 40}, {-1, -1}}, kResidual},
    {"mini_vision", 3, 16, 4, 4, 12, 16},
    {"mini_expert", 2, 7, 8, 1, 16, 64, 7, {{37, 53}, {-1, -1}}},
    {"mini_state_first",
     2,
     8,
     8,
     1,
     16,
     53,
     8,
     {{21, 53}, {-1, -1}},
     0,
     Attention::Visible::first_row_less},
    {"one_query_one_key", 1, 1, 1, 1, 8, 1},
    {"width_12", 1, 9, 3, 3, 12, 9},
    {"width_40", 1, 5, 4, 2, 40, 33},
    {"width_72", 2, 17, 2, 2, 72, 17},
    {"width_80", 1, 16, 2, 2, 80, 31},
    {"width_128", 1, 6, 4, 2, 128, 40, 6},
    {"width_256", 1, 11, 8, 1, 256, 29},
    {"width_odd", 1, 4, 2, 1, 15, 6},
    {"many_keys", 1, 3, 4, 1, 32, 1037, 5, {{1031, 1031}, {3, 3}}},
    {"lengths_differ", 2, 6, 4, 2, 16, 20, 9, {{20, 3}, {1, 9}}},
    {"first_piece_empty", 2, 4, 2, 1, 16, 8, 4, {{0, 5}, {-1, -1}}},
    {"second_piece_empty", 2, 4, 2, 1, 16, 8, 4, {{7, 5}, {0, 4}}},
    {"no_keys_at_all", 2, 3, 2, 2, 16, 8, 4, {{0, 6}, {0, 0}}},
    {"causal", 2, 13, 4, 2, 32, 13, 0, {{13, 9}, {-1, -1}}, 0, Attention::Visible::causal},
    {"causal_after_prefix",
     1,
     9,
     4,
     1,
     16,
     21,
     9,
     {{-1, -1}, {-1, -1}},
     0,
     Attention::Visible::causal},
    {"first_query_sees_nothing",
     1,
     5,
     2,
     2,
     16,
     5,
     0,
     {{-1, -1}, {-1, -1}},
     0,
     Attention::Visible::none_at_first},
    {"key_bias", 2, 5, 2, 1, 16, 12, 7, {{9, 12}, {-1, -1}}, kBias | kGate},
    {"score_bias", 1, 10, 3, 3, 16, 10, 0, {{7, 7}, {-1, -1}}, kResidual},
    {"all_biases",
     2,
     6,
     4,
     2,
     24,
     10,
     6,
     {{7, 10}, {6, 2}},
     kBias | kGate | kResidual,
     Attention::Visible::causal},
    {"columns",
     2,
     9,
     4,
     2,
     16,
     11,
     9,
     {{-1, -1}, {-1, -1}},
     0,
     Attention::Visible::all,
     Layout::columns},
    {"odd_columns",
     1,
     7,
     2,
     2,
     24,
     7,
     0,
     {{-1, -1}, {-1, -1}},
     0,
     Attention::Visible::all,
     Layout::odd},
    {"slab", 2, 6, 4, 1, 32, 18, 6, {{11, 18}, {-1, -1}}, 0, Attention::Visible::all, Layout::slab},
};

struct Norm {  // RmsNorm and LayerNorm
  const char* name;
  std::int64_t B, S, D;
  unsigned parts = 0;
  float offset = 0, eps = 1e-6f;
  Layout layout = Layout::dense;
};
inline constexpr Norm kRmsNorm[] = {
    {"pi05_prefix", 1, 560, 2048, kWeight, 1},
    {"pi05_expert", 1, 10, 1024, kScale | kShift},
    {"pi05_expert_50", 1, 50, 1024, kScale | kShift | kIteration},
    {"lingbot_vision", 3, 256, 1280, kWeight},
    {"lingbot_expert", 1, 51, 768, kWeight | kScale | kShift},
    {"fastwam_qk", 1, 98, 3072, kWeight},
    {"mini", 2, 7, 48, kScale | kShift},
    {"one_element", 1, 3, 1, kWeight, 1},
    {"bare", 1, 5, 37},
    {"large_eps", 1, 5, 64, kWeight, 0, 0.5f},
    {"modulated_by_row", 2, 6, 33, kWeight | kScale | kShiftRows, 1},
    {"columns", 2, 9, 48, kWeight, 1, 1e-6f, Layout::columns},
    {"odd_columns", 2, 5, 21, kScale | kShift, 0, 1e-6f, Layout::odd},
    {"slab", 3, 4, 32, kWeight | kScale, 1, 1e-6f, Layout::slab},
};
inline constexpr Norm kLayerNorm[] = {
    {"pi05_vision", 2, 256, 1152, kWeight | kBias},
    {"fastwam_video", 1, 98, 3072, kScale | kShift},
    {"fastwam_video_affine", 1, 98, 3072, kWeight | kBias},
    {"mini", 2, 16, 48, kWeight | kBias},
    {"two_elements", 1, 5, 2, kWeight | kBias},
    {"bare", 1, 5, 37},
    {"large_eps", 1, 5, 64, kWeight | kBias, 0, 0.5f},
    {"modulated_by_row", 2, 6, 33, kScale | kShift | kShiftRows},
    {"everything", 1, 4, 129, kWeight | kBias | kScale | kShift},
    {"columns", 2, 9, 48, kWeight | kBias, 0, 1e-6f, Layout::columns},
    {"odd_columns", 2, 5, 21, kScale | kShift, 0, 1e-6f, Layout::odd},
    {"slab", 3, 4, 32, kWeight | kBias, 0, 1e-6f, Layout::slab},
};

struct Rope {
  const char* name;
  std::int64_t B, S, H, Dh;
  ops::RopeStyle style = ops::RopeStyle::split_half;
  enum class Positions : std::uint8_t { shared, by_sample } positions = Positions::shared;
  Layout layout = Layout::dense;
};
inline constexpr Rope kRope[] = {
    {"lingbot_vision", 3, 256, 16, 80},
    {"fastwam_video", 1, 98, 24, 128, ops::RopeStyle::interleaved},
    {"one_token", 1, 1, 1, 2},
    {"split_half", 2, 7, 4, 16},
    {"interleaved", 2, 7, 4, 16, ops::RopeStyle::interleaved},
    {"by_sample", 3, 5, 2, 12, ops::RopeStyle::split_half, Rope::Positions::by_sample},
    {"columns", 2, 6, 4, 24, ops::RopeStyle::split_half, Rope::Positions::by_sample,
     Layout::columns},
    {"odd_columns", 1, 6, 2, 10, ops::RopeStyle::interleaved, Rope::Positions::shared, Layout::odd},
    {"slab", 2, 6, 2, 32, ops::RopeStyle::split_half, Rope::Positions::shared, Layout::slab},
};

struct QkvRope {
  const char* name;
  std::int64_t B, S, K, H, Hk, Dh;
  unsigned parts = 0;
  ops::RopeStyle style = ops::RopeStyle::split_half;
  Layout layout = Layout::dense;  // of q, k and v
};
inline constexpr QkvRope kQkvRope[] = {
    {"pi05_prefix", 1, 560, 2048, 8, 1, 256, 0, ops::RopeStyle::split_half, Layout::slab},
    {"pi05_prefix_three_cameras", 1, 968, 2048, 8, 1, 256},
    {"pi05_prefix_last", 1, 560, 2048, 8, 1, 256, kNoQ},
    {"pi05_expert", 1, 10, 1024, 8, 1, 256},
    {"pi05_expert_50", 1, 50, 1024, 8, 1, 256},
    {"pi05_vision", 2, 256, 1152, 16, 16, 72, kBias | kNoRotation},
    {"lingbot_vision", 3, 256, 1280, 16, 16, 80, kBias},
    {"lingbot_prefix", 1, 264, 2048, 16, 2, 128, kBias},
    {"lingbot_expert", 1, 51, 768, 16, 2, 128, kBias},
    {"fastwam_video", 1, 98, 3072, 24, 24, 128, kBias | kNormQ | kNormK,
     ops::RopeStyle::interleaved},
    {"fastwam_action", 1, 32, 1024, 24, 24, 128, kBias | kNormQ | kNormK,
     ops::RopeStyle::interleaved},
    {"mini_vision", 2, 16, 48, 4, 4, 12, kBias | kNoRotation},
    {"mini_expert", 2, 7, 48, 8, 1, 16},
    {"one_token", 1, 1, 8, 1, 1, 2, kBias},
    {"grouped", 2, 5, 33, 4, 2, 24, kBias},
    {"heads_across_panels", 1, 66, 520, 6, 3, 80, kBias},
    {"keys_across_panels", 1, 40, 520, 6, 6, 48, kNoQ | kBias},
    {"norms", 2, 6, 40, 3, 3, 16, kBias | kNormQ | kNormK, ops::RopeStyle::interleaved},
    {"norm_without_rotation", 1, 6, 24, 2, 2, 8, kNormQ | kNormK | kNoRotation},
    {"keys_only", 2, 5, 24, 4, 1, 16, kNoQ | kBias},
    {"keys_only_normed", 1, 5, 24, 2, 2, 16, kNoQ | kNormK},
    {"into_columns", 2, 6, 24, 4, 2, 16, kBias, ops::RopeStyle::split_half, Layout::columns},
    {"into_cache", 2, 6, 24, 4, 1, 16, 0, ops::RopeStyle::split_half, Layout::slab},
};

struct Plane {  // the ops that go by rows or elements
  const char* name;
  std::int64_t B, S, D;
  Act act = Act::silu;
  Layout layout = Layout::dense;
};
inline constexpr Plane kPlane[] = {
    {"pi05_prefix_hidden", 1, 560, 16384, Act::gelu_tanh},
    {"pi05_prefix_row", 1, 560, 2048},
    {"pi05_actions", 1, 10, 32},
    {"one_element", 1, 1, 1},
    {"one_row", 1, 1, 77, Act::gelu_erf},
    {"odd", 3, 7, 13, Act::gelu_tanh},
    {"no_act", 2, 3, 16, Act::none},
    {"even", 2, 16, 64},
    {"columns", 2, 5, 24, Act::gelu_tanh, Layout::columns},
    {"odd_columns", 2, 5, 11, Act::silu, Layout::odd},
    {"slab", 3, 4, 20, Act::gelu_erf, Layout::slab},
};

struct Picture {  // SpaceToDepth and AveragePool
  const char* name;
  std::int64_t B, Y, X, C;
  std::int64_t step = 1, offset = 0, O = 0;  // AveragePool; O 0: as many as C
};
inline constexpr Picture kPicture[] = {
    {"fastwam_input", 1, 224, 448, 3},
    {"fastwam_shortcut_160", 1, 112, 224, 160},
    {"fastwam_shortcut_320", 1, 56, 112, 160, 2, 1, 320},
    {"two_by_two", 1, 2, 2, 1},
    {"odd_channels", 3, 4, 6, 5, 2, 1, 10},
    {"spread", 2, 6, 2, 4, 3, 2, 17},
};

struct Resize {
  const char* name;
  int height, width;  // of the frames
  int Y, X;           // of the picture
  enum class Fit : std::uint8_t { letterbox, squash, crop, letterbox_float, squash_float } fit;
  int V = 1, K = 1;  // pictures; frames side by side in each
  enum class Turned : std::uint8_t { no, half } turned = Turned::no;
};
inline constexpr Resize kResize[] = {
    {"pi05_libero", 256, 256, 224, 224, Resize::Fit::letterbox, 2, 1, Resize::Turned::half},
    {"pi05_vga", 480, 640, 224, 224, Resize::Fit::letterbox, 3},
    {"lingbot_vga", 480, 640, 224, 224, Resize::Fit::squash, 3},
    {"fastwam_libero", 256, 256, 224, 448, Resize::Fit::crop, 1, 2},
    {"full_hd", 1080, 1920, 224, 224, Resize::Fit::letterbox},
    {"same_size", 24, 24, 24, 24, Resize::Fit::letterbox, 2},
    {"bars_above", 30, 97, 28, 28, Resize::Fit::letterbox},
    {"bars_beside", 97, 31, 28, 29, Resize::Fit::letterbox, 2, 2},
    {"larger", 11, 17, 56, 57, Resize::Fit::letterbox, 1, 1, Resize::Turned::half},
    {"one_axis", 56, 200, 56, 48, Resize::Fit::squash},
    {"squash_up_and_down", 13, 301, 40, 44, Resize::Fit::squash, 1, 3},
    {"one_pixel", 1, 1, 9, 7, Resize::Fit::squash},
    {"one_row", 1, 333, 16, 16, Resize::Fit::squash, 1, 1, Resize::Turned::half},
    {"thin", 3, 500, 20, 20, Resize::Fit::letterbox},
    {"crop_wide", 61, 143, 32, 32, Resize::Fit::crop},
    {"crop_tall_enlarged", 37, 19, 48, 40, Resize::Fit::crop, 2, 2, Resize::Turned::half},
    {"floats", 61, 143, 32, 40, Resize::Fit::letterbox_float},
    {"floats_enlarged", 19, 23, 56, 56, Resize::Fit::letterbox_float, 2, 1, Resize::Turned::half},
    {"floats_squash", 71, 53, 24, 33, Resize::Fit::squash_float, 1, 2},
    {"floats_squash_enlarged", 7, 9, 24, 33, Resize::Fit::squash_float},
};

}  // namespace tendon::shapes
