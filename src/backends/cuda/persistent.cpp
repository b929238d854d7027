#include "backends/cuda/persistent.h"
namespace tendon::cuda {
struct PersistentPool::State {};
PersistentPool::PersistentPool(WeightStore&, const Device&) {}
PersistentPool::~PersistentPool() = default;
std::unique_ptr<PersistentStep> PersistentPool::build(const Trace&, const Memory&, std::string& why) {
  why = "x";
  return nullptr;
}
std::size_t PersistentPool::bytes() const { return 0; }
}  // namespace tendon::cuda
