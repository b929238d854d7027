#include "backends/cpu/kernels.h"

namespace tendon::cpu {

const Kernels& kernels(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::avx512:
      return kernels_avx512();
    case Isa::avx2:
      return kernels_avx2();
#endif
    default:
      return kernels_baseline();
  }
}

}  // namespace tendon::cpu
