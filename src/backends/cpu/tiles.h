// Products of bf16 in the tile registers of AMX.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tendon::cpu {

// Rows and columns of the sums that the registers hold, and what one pass takes of K.
constexpr std::int64_t kTileRows = 32, kTileColumns = 32, kTileDepth = 32;

// c[rows, 32] = a b over some of K, added to what c holds unless `fresh`.
struct TileBlock {
  const std::byte* a = nullptr;  // bf16 rows
  std::int64_t a_row = 0;        // bytes between them
  std::int64_t k = 0;            // a multiple of the depth
  const std::byte* b = nullptr;  // [k / 2][32][2], as PanelType::bf16
  float* c = nullptr;
  std::int64_t c_row = 0;  // elements between rows
  bool fresh = false;
  // What is wanted next and may lie in memory, in parts at one distance: each of the first passes
  // asks for so many bytes of every part.
  const std::byte* next = nullptr;
  std::int64_t next_parts = 0, next_part = 0, next_bytes = 0, next_passes = 0;
};

// The calling thread's tile registers. Whatever ran on them before is lost; other users set them up
// themselves. Only where tiles_available().
class Tiles {
 public:
  Tiles() = default;
  ~Tiles();
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  // Of the blocks that follow: 1 to kTileRows, and what a pass takes of K, even, up to kTileDepth.
  void set_shape(std::int64_t rows, std::int64_t depth = kTileDepth) noexcept;
  void multiply(const TileBlock& block) const noexcept;

 private:
  std::int64_t rows_ = 0, depth_ = 0;
};

// Whether the processor has such registers and the system lets this process use them, which the
// first call asks for.
bool tiles_available() noexcept;

}  // namespace tendon::cpu
