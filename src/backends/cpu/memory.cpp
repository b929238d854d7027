#include "backends/cpu/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#include "base/error.h"

namespace tendon::cpu {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t round_up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }

}  // namespace

// Where it would be left to the system, up to a huge page at the beginning would be small ones: a
// tile's rows, each in a page of its own, then want more pages than a processor keeps at hand.
Memory::Memory(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  const std::size_t size = round_up(bytes, static_cast<std::size_t>(sysconf(_SC_PAGESIZE)));
  const std::size_t spare = bytes < kHugePage ? 0 : kHugePage;
  void* p = mmap(nullptr, size + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  require(p != MAP_FAILED, "cpu: {} MB of memory are wanted; use a smaller model or a bf16 recipe",
          bytes >> 20);
  data_ = static_cast<std::byte*>(p);
  if (spare == 0) return;
  const auto at = reinterpret_cast<std::uintptr_t>(p);
  const std::size_t before = round_up(at, kHugePage) - at;
  if (before > 0) munmap(p, before);
  data_ += before;
  munmap(data_ + size, spare - before);
  madvise(data_, size, MADV_HUGEPAGE);  // a hint: refusal costs only speed
}

Memory::~Memory() {
  if (data_) munmap(data_, bytes_);
}

}  // namespace tendon::cpu
