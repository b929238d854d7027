// Weights as the kernels want them: each packed once for each way it is used, then released.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "backends/cpu/kernels.h"
#include "backends/cpu/memory.h"
#include "backends/cpu/onednn.h"
#include "ops/trace.h"

namespace tendon::cpu {

// [N, K] in panels, see PanelType. A convolution's weight is [O, kh kw C].
struct PackedMatrix {
  PanelType type = PanelType::f32;
  std::int64_t n = 0, k = 0, panels = 0, panel_bytes = 0;
  const std::byte* data = nullptr;
};

// A table of rows, where it lies.
struct RowsOfWeight {
  DType dtype = DType::f32;
  const std::byte* data = nullptr;
};

// Lookups before pack() only record what is wanted, with null addresses; after it they are answers.
class Weights {
 public:
  Weights(const Program& program, const Kernels& kernels, Team& team);

  PackedMatrix matrix(WeightRef ref);
  RowsOfWeight table(WeightRef ref);
  const float* vector(WeightRef ref);  // null for an absent one
  // For products of `rows` rows.
  const onednn::Matrix* library_matrix(WeightRef ref, std::int64_t rows);

  // One tensor at a time, `done` in [0, 1]. Throws what reading throws.
  void pack(const std::function<void(std::string_view, double)>& progress);
  bool packed() const { return packed_; }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Entry {
    bool matrix = false, vector = false, table = false, in_place = false;
    std::vector<std::int64_t> library_rows;  // descending
    Memory panels, values, rows;
    onednn::Matrix library;
  };
  Entry& entry(WeightRef ref) { return entries_[static_cast<std::size_t>(ref.id)]; }
  PackedMatrix shape_of(const Weight& weight) const;
  void pack_one(const Weight& weight, Entry& entry);
  void pack_panels(const Weight& weight, Memory& to) const;
  void pack_rows(const Weight& weight, DType dtype, std::byte* to) const;

  const Program& program_;
  const Kernels& kernels_;
  Team& team_;
  std::vector<Entry> entries_;
  std::size_t bytes_ = 0;
  bool packed_ = false;
};

}  // namespace tendon::cpu
