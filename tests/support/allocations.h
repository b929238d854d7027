// Counts what a program takes from the heap, by replacing operator new. One file of a program
// includes it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace tendon::support {

inline std::atomic<std::size_t> allocations{0};  // of all threads, since the program began

// Out of line: inlined, the compiler would see malloc() beside operator delete.
__attribute__((noinline)) inline void* try_take(std::size_t size, std::size_t alignment) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (alignment <= alignof(std::max_align_t)) return std::malloc(size ? size : 1);
  return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
inline void* take(std::size_t size, std::size_t alignment = 1) {
  if (void* p = try_take(size, alignment)) return p;
  throw std::bad_alloc();
}
__attribute__((noinline)) inline void give_back(void* p) noexcept { std::free(p); }

}  // namespace tendon::support

// All other forms, of arrays and of sizes, end in these.
void* operator new(std::size_t size) { return tendon::support::take(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return tendon::support::try_take(size, 1);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return tendon::support::take(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* p) noexcept { tendon::support::give_back(p); }
void operator delete(void* p, std::size_t) noexcept { tendon::support::give_back(p); }
void operator delete(void* p, std::align_val_t) noexcept { tendon::support::give_back(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  tendon::support::give_back(p);
}
