#include "backends/cpu/memory.h"

#include <sys/mman.h>

#include "base/error.h"

namespace tendon::cpu {

Memory::Memory(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  require(p != MAP_FAILED, "cpu: {} MB of memory are wanted; use a smaller model or a bf16 recipe",
          bytes >> 20);
  data_ = static_cast<std::byte*>(p);
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  if (bytes >= kHugePage) madvise(p, bytes, MADV_HUGEPAGE);  // a hint: refusal costs only speed
}

Memory::~Memory() {
  if (data_) munmap(data_, bytes_);
}

}  // namespace tendon::cpu
