#include "engine/backends.h"

#include "backends/cpu/cpu.h"
#include "backends/reference/reference.h"
#include "base/error.h"
#ifdef TENDON_CUDA
#include "backends/cuda/cuda.h"
#endif

namespace tendon {

std::unique_ptr<Backend> make_backend(std::string_view device) {
  if (device == "cpu") return make_cpu({});
  if (device == "reference") return make_reference({});
#ifdef TENDON_CUDA
  if (device == "cuda" || device.starts_with("cuda:")) {
    CudaOptions options;
    if (device.size() > 5) options.device = std::atoi(std::string(device.substr(5)).c_str());
    return make_cuda(options);
  }
  constexpr std::string_view kKnown = "cpu, cuda and reference";
#else
  constexpr std::string_view kKnown = "cpu and reference";
#endif
  fail("device \"{}\" is unknown to this build, which has {}", device, kKnown);
}

}  // namespace tendon
