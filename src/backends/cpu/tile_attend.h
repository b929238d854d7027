// The products of attention in tile registers: bf16 queries, keys and values, sums and softmax in
// fp32, weights of values rounded to bf16.
#pragma once

#include "backends/cpu/kernels.h"
#include "backends/cpu/planner.h"

namespace tendon::cpu {

// What one thread multiplies. Letters: L lanes of a panel; D the head width, filled up with zeros
// to whole passes of the registers.
class TileAttend {
 public:
  static constexpr std::int64_t kKeys = 128;  // at once, at most: 64 KB of values at D = 256

  // Whether head width and types suit, on this machine.
  static bool suits(const Planner& planner, const ops::Attention& op);

  // Memory for `lanes` queries on each thread.
  TileAttend() = default;
  TileAttend(Planner& planner, std::int64_t width, std::int64_t lanes);
  std::int64_t deep() const { return deep_; }  // D: rows of a panel's sums

  // L rows of queries in fp32, `pitch` apart.
  void load_queries(int thread, std::int64_t panel, const float* rows, std::int64_t pitch) const;
  // Rows of keys and values as they lie.
  struct Keys {
    const std::byte *k = nullptr, *v = nullptr;
    std::int64_t k_row = 0, v_row = 0;  // bytes
    std::int64_t count = 0;
  };
  void load_keys(int thread, const Keys& keys) const;
  // As Kernels::attend with these operands, of tile.head_width = D; tile.q, .k and .v are not used.
  void attend(int thread, const AttentionTile& tile, float scale) const;

 private:
  const Kernels* kernels_ = nullptr;
  std::int64_t width_ = 0, deep_ = 0;
  std::int64_t k_row_ = 0, v_row_ = 0;  // bytes
  Own<std::byte> q_;                    // panels of [D / 2][L][2]
  Own<std::byte> k_, v_;                // [keys, D]; [D, keys]
  Own<std::byte> weights_;              // [keys / 2][L][2]
  Own<float> turned_;                   // of queries: [Dh, L]
};

}  // namespace tendon::cpu
