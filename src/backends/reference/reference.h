// The oracle: every op computed as its definition in ops/ops.h reads. Exact, not quick.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "ops/backend.h"

namespace tendon {

// The type sums are formed in, in the order of the definition: f64 is the oracle.
enum class Accumulate : std::uint8_t { f32, f64 };

struct ReferenceOptions {
  Accumulate accumulate = Accumulate::f64;
  // Matrices are kept as fp32 up to this many bytes; those beyond it are read anew in every run.
  std::size_t cache_bytes = std::size_t{4} << 30;
  int threads = 0;  // where CompileOptions says nothing; 0: all the machine offers
};

// Unlike the other backends' its runs allocate, and they check every index, length and position:
// one out of range fails the run.
std::unique_ptr<Backend> make_reference(const ReferenceOptions& options = {});

}  // namespace tendon
