#include "engine/backends.h"

#include "backends/cpu/cpu.h"
#include "backends/reference/reference.h"
#include "base/error.h"
#ifdef TENDON_CUDA
#include <fmt/core.h>
#include <unistd.h>

#include <filesystem>

#include "backends/cuda/cuda.h"
#endif

namespace tendon {
#ifdef TENDON_CUDA
namespace {

// Where the measured choices of a device are kept between loads; empty where there is no place.
std::filesystem::path choices_file(int device) {
  std::error_code failed;
  const auto folder = std::filesystem::temp_directory_path(failed);
  if (failed) return {};
  return folder / fmt::format("tendon-{}-products-{}", ::getuid(), device);
}

}  // namespace
#endif

std::unique_ptr<Backend> make_backend(std::string_view device) {
  if (device == "cpu") return make_cpu({});
  if (device == "reference") return make_reference({});
#ifdef TENDON_CUDA
  if (device == "cuda" || device.starts_with("cuda:")) {
    CudaOptions options;
    if (device.size() > 5) options.device = std::atoi(std::string(device.substr(5)).c_str());
    options.cache = choices_file(options.device);
    return make_cuda(options);
  }
  constexpr std::string_view kKnown = "cpu, cuda and reference";
#else
  constexpr std::string_view kKnown = "cpu and reference";
#endif
  fail("device \"{}\" is unknown to this build, which has {}", device, kKnown);
}

}  // namespace tendon
