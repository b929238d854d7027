// Chooses who multiplies: our kernels or oneDNN.
#pragma once

#include <array>

#include "backends/cpu/product.h"

namespace tendon::cpu {

// The step for weights[0], and weights[1] as `up` where it is given.
std::unique_ptr<Step> make_product(Planner& planner, const View& x,
                                   std::array<WeightRef, 2> weights, Epilogue epilogue);

// Whether that multiplies rows of x in tiles, so that it could have a placer, and that step.
bool multiplied_in_tiles(const Planner& planner, const View& x, WeightRef weight);
std::unique_ptr<Step> make_tile_product(Planner& planner, ProductSpec spec);

}  // namespace tendon::cpu
