// Products on a warpgroup's tensor cores with everything that follows in the same kernel (sm_90a):
// out = residual + gate * act(x W^T + bias), or act(x Wg^T + bg) * (x Wu^T + bu).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "backends/cuda/product.h"

namespace tendon::cuda {

// How a product is cut: the rows of x of a CTA (it takes 128 rows of W), and its cluster: CTAs that
// share rows of x, CTAs that share rows of W, CTAs that share the summed dimension.
struct TileForm {
  int rows = 128, features = 1, tokens = 1, split = 1;
  int per_multiprocessor = 1;  // CTAs that fit at once
  std::string str() const;
};
bool parse(const std::string& text, TileForm& form);

// A convolution over pixels, channels last; the rows of x are boxes of them.
struct TileConv {
  device::Strided x;  // [B, Y, X, C]
  int batch = 1, height = 0, width = 0, channels = 0, out_height = 0, out_width = 0;
  int kernel_y = 1, kernel_x = 0, stride = 1, top = 0, left = 0;  // kernel_x 0: no convolution
};

// How an op over pixels is cut and how it ends.
struct Convolution {
  TileConv boxes;
  EpilogueArgs end;
};

struct TileProduct {
  device::RowsView x;  // bf16, rows at one distance; data may be null: `scratch_x`
  Scratch scratch_x;
  const void* weight = nullptr;  // bf16 [n, k], or [2 n, k]: gate, then up
  int n = 0, k = 0;
  int paired = 0;
  TileConv conv;          // in place of x
  EpilogueArgs epilogue;  // out.data null: `scratch_out`
  Scratch scratch_out;
  const float* up_bias = nullptr;
  int rounds = 0;           // paired: gate and up are rounded to bf16 before they are multiplied
  std::string str() const;  // what decides its speed
};

// Whether this build, the device and the operands suit.
bool suits_tiles(const Device& device, const TileProduct& product);
// Tiles of `rows` pixels that cover a convolution's pictures.
int conv_tiles(const TileConv& conv, int rows);
std::vector<TileForm> tile_forms(const TileProduct& product, int multiprocessors);
// Plans the op by tiles or by what `otherwise` plans, whichever is faster in its place.
void plan_tiles(Planner& planner, const TileProduct& product,
                const std::function<void()>& otherwise);
void launch_tiles(const TileProduct& product, const TileForm& form, cudaStream_t stream);

}  // namespace tendon::cuda
