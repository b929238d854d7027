// Weights on the device: read by threads, rounded, sent through page-locked staging, kept in the
// form that kernels ask for. Uploads happen on first demand, while planning.
#pragma once

#include <compare>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "backends/cuda/context.h"
#include "ops/trace.h"

namespace tendon::cuda {

class WeightStore {
 public:
  // `program` must outlive it. `threads` read the source (0: all).
  WeightStore(const Program& program, int threads);

  // Row-major, as f32 or bf16 (values rounded to the weight's own format first).
  const void* matrix(WeightRef ref, DType dtype);
  // Two matrices of equal shape, b's rows right after a's.
  const void* joined(WeightRef a, WeightRef b, DType dtype);
  // A vector in fp32, or in bf16 for a library's epilogue; null where ref is absent.
  const float* vector(WeightRef ref);
  const void* vector_bf16(WeightRef ref);
  // The same for someone who makes a packed copy: until give_back, which frees what nobody else
  // uses.
  const void* borrow(WeightRef a, WeightRef b, DType dtype);  // b absent: a alone
  void give_back(WeightRef a, WeightRef b, DType dtype);
  // Memory counted as weights that someone else packed.
  void add_bytes(std::size_t bytes) { bytes_ += bytes; }

  std::size_t bytes() const { return bytes_; }
  // Lets the sources go: no more uploads follow.
  void release();

 private:
  struct Key {
    std::int32_t a, b;  // b: joined with a, or -1
    DType dtype;
    auto operator<=>(const Key&) const = default;
  };
  // Memory of its own, which can be freed, or a place in a pool, where nothing is lost to rounding.
  enum class Stay { always, until_given_back };
  struct Pool {
    DeviceMemory memory;
    std::size_t used;
  };
  const void* place(const Key& key, Stay stay);
  std::byte* allocate(std::size_t bytes);
  void upload(WeightRef ref, DType dtype, std::byte* to);
  void fill(const Weight& weight, DType dtype, std::int64_t first, std::int64_t count,
            std::byte* out) const;

  const Program* program_;
  int threads_;
  std::map<Key, std::byte*> placed_;
  std::map<Key, DeviceMemory> large_;
  std::set<Key> kept_;  // used by launches: not to be freed
  std::vector<Pool> pools_;
  std::size_t bytes_ = 0;
  PinnedMemory staging_[2];
  Event sent_[2];
  Stream stream_;
  int next_ = 0;
  std::set<std::int32_t> read_;
};

}  // namespace tendon::cuda
