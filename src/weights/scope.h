// How a model binds the tensors of a checkpoint: by name, each with the shape it must have.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ops/weight.h"
#include "weights/checkpoint.h"
#include "weights/tensor_view.h"

namespace tendon {

class Scope;

// Keeps account of what one model asked of one checkpoint, which outlives it and every Weight made.
// A missing or misshapen tensor is noted, not thrown, so that finish() can list them all at once.
class Binder {
 public:
  explicit Binder(const Checkpoint& checkpoint) : checkpoint_(&checkpoint) {}
  // Of no checkpoint: what is asked for makes the list of what one holds, in the type `stored`.
  explicit Binder(DType stored) : stored_(stored) {}
  Binder(const Binder&) = delete;
  Binder& operator=(const Binder&) = delete;

  Scope root();

  // After everything was asked for, before anything else reads a Weight: throws one Error with
  // every name that is missing, has another shape or type, or is left over and matches none of the
  // globs `ignored`. Then reads the tables through once and throws Error on NaN or infinity.
  void finish(std::span<const std::string> ignored = {});

  // Names never asked for, sorted.
  std::vector<std::string> unused() const;
  // All that was asked for of no checkpoint, in order, each name once.
  std::vector<TensorSpec> listed() const { return listed_; }

 private:
  friend class Scope;
  // The tensor, marked as used; null after noting why not.
  const CheckpointTensor* take(const std::string& name, const Shape& shape);
  void check_tables() const;

  const Checkpoint* checkpoint_ = nullptr;
  DType stored_ = DType::f32;
  std::vector<TensorSpec> listed_;
  std::set<std::string> used_;
  std::vector<std::string> ignored_;
  std::vector<std::string> missing_, misshapen_, mistyped_;
  std::vector<const CheckpointTensor*> tables_;
};

// A place in the tree of names. Cheap to copy; valid as long as its Binder.
class Scope {
 public:
  // The scope of `name` (may hold dots) below this one; of entry `index` of a list.
  Scope at(std::string_view name) const;
  Scope at(std::string_view name, std::int64_t index) const;

  bool has(std::string_view name) const;
  // A tensor of the published layout that is never read, and may be missing; all that a glob
  // matches and that is not asked for.
  void unread(std::string_view name, const Shape& shape) const;
  void ignore(std::string_view glob) const;
  const std::string& prefix() const { return prefix_; }
  std::string full(std::string_view name) const { return prefix_ + std::string(name); }

  // A tensor as it is stored: any shape; [n]; [rows, columns].
  Weight tensor(std::string_view name, const Shape& shape, Format format) const;
  Weight vector(std::string_view name, std::int64_t n, Format format) const;
  Weight matrix(std::string_view name, std::int64_t rows, std::int64_t columns,
                Format format) const;
  // A matrix for ops::Embed, used in place where it lies in a file; finish() checks its values.
  Weight table(std::string_view name, std::int64_t rows, std::int64_t width, Format format) const;

  // The elements a view selects, in its order, taken as `shape`.
  Weight view(std::string_view name, const TensorView& view, const Shape& shape,
              Format format) const;

  struct Part {
    std::string_view name;
    std::int64_t rows;
  };
  // Tensors one below the other: matrices [rows, columns], or vectors [rows] where columns is 0.
  Weight joined(std::initializer_list<Part> parts, std::int64_t columns, Format format) const;

  // All values, now. Zeros where the tensor is missing (finish() will say so).
  std::vector<float> values(std::string_view name, const Shape& shape) const;

 private:
  friend class Binder;
  Scope(Binder& binder, std::string prefix) : binder_(&binder), prefix_(std::move(prefix)) {}

  Binder* binder_;
  std::string prefix_;  // with its final dot, or empty
};

// Weights one below the other; all but the first dimension and the format are equal.
Weight join(std::vector<Weight> parts);

// `change` is called on whole rows after they were read, from any thread.
Weight mapped(Weight weight, std::function<void(std::int64_t first_row, std::span<float>)> change);

// The weight in the corner of a larger one, zeros elsewhere; for an aligned width that changes no
// result. Rank 1 or 2.
Weight padded(Weight weight, const Shape& shape);

// Values a model has computed itself.
Weight computed(std::string name, const Shape& shape, Format format, std::vector<float> values);

// Reads it all through `weight.read`, which throws on NaN and infinity.
std::vector<float> read_all(const Weight& weight);

}  // namespace tendon
