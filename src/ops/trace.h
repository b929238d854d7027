// What a model records: values, and ops on them in order. And a Program: the traces of one policy
// with the weights and buffers they share.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/tensor.h"
#include "ops/ops.h"

namespace tendon {

// Memory that outlives a run and is shared by the traces of a Program: inputs, outputs, caches,
// tables. Zero before the first write.
struct BufferSpec {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
};

struct BufferRef {
  std::int32_t id = -1;
  explicit operator bool() const { return id >= 0; }
  bool operator==(const BufferRef&) const = default;
};

// What a Value is. Strides and offset count elements.
struct ValueInfo {
  enum class Kind : std::uint8_t { intermediate, buffer, iteration };
  Kind kind = Kind::intermediate;
  DType dtype = DType::f32;
  Shape shape;
  std::array<std::int64_t, Shape::kMaxRank> strides{};
  std::int64_t offset = 0;
  std::int32_t root = -1;  // the value whose memory this views; its own id where it is no view
  BufferRef buffer;        // kind buffer
};

// A value taken as rows of equal width at a constant distance: what most kernels want.
struct Rows {
  std::int64_t batches = 1, rows = 0, width = 0;  // batches * rows rows in all
  std::int64_t batch_stride = 0, row_stride = 0;
  std::int64_t count() const { return batches * rows; }
};
// [.., S, D] with leading dimensions merged as far as strides allow. Throws Error where more than
// one batch stride remains.
Rows as_rows(const ValueInfo& value);

struct Program;

class Trace {
 public:
  // A trace of `program`, which must outlive it.
  Trace(std::string name, Program& program);

  const std::string& name() const { return name_; }
  const std::vector<Op>& ops() const { return ops_; }
  const std::vector<ValueInfo>& values() const { return values_; }
  const ValueInfo& info(Value v) const { return values_.at(static_cast<std::size_t>(v.id)); }
  const Shape& shape(Value v) const { return info(v).shape; }
  DType dtype(Value v) const { return info(v).dtype; }

  // A new intermediate; its memory exists between its first write and its last read.
  Value make(DType dtype, const Shape& shape);
  // A dense view of the first elements of a buffer, as `shape` (default: the buffer's own).
  Value buffer(BufferRef ref);
  Value buffer(BufferRef ref, const Shape& shape);
  // i32 [1]: the number of the current repetition in Executable::run.
  Value iteration();

  // Views: no computation. [first, first + count) of a dimension (negative: from the back); columns
  // are of the last dimension, rows of the second to last.
  Value slice(Value v, int dimension, std::int64_t first, std::int64_t count);
  Value columns(Value v, std::int64_t first, std::int64_t count);
  Value rows(Value v, std::int64_t first, std::int64_t count);
  Value split_last(Value v, std::int64_t heads);  // [.., H * Dh] -> [.., H, Dh]
  Value merge_last(Value v);                      // [.., H, Dh] -> [.., H * Dh]
  Value reshape(Value v, const Shape& shape);     // dense values only

  // Checks the op's shapes and dtypes (throws Error naming it) and appends it. `label` names it in
  // profiles and messages ("prefix.3.o_proj").
  void add(Op op, std::string label = {});
  const std::string& label(std::size_t op) const { return labels_.at(op); }

  // Names a value for comparison with a recording; kept until the end of the run where the program
  // records taps, ignored otherwise. In a name, {slot} says that the first dimension counts the
  // cameras present, {row} that it counts time steps, {step} stands for the iteration, and a
  // trailing [] that the values of all iterations are stacked.
  // Which rows (dimension 1) of the recording a value holds: all; the valid prefix rows, packed to
  // the front; its first; its last.
  enum class TapRows : std::uint8_t { plain, packed_prefix, first, last };
  void tap(std::string_view name, Value v, TapRows rows = TapRows::plain);
  struct Tap {
    std::string name;
    Value value;
    TapRows rows = TapRows::plain;
  };
  const std::vector<Tap>& taps() const { return taps_; }

  Program& program() const { return *program_; }

  // The same trace with every op for which `keep` is false replaced by its definition, until only
  // kept ops remain. Throws Error where an op that is not kept has no definition. Value numbers
  // stay valid.
  Trace lowered(const std::function<bool(const Op&)>& keep) const;

 private:
  Value push(ValueInfo info);

  std::string name_;
  Program* program_;
  std::vector<ValueInfo> values_;
  std::vector<Op> ops_;
  std::vector<std::string> labels_;
  std::vector<Tap> taps_;
  std::vector<std::int32_t> buffer_values_;
  Value iteration_;
};

// One policy's traces with all they share. Not copyable or movable: traces point to it.
struct Program {
  Program() = default;
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  std::vector<Weight> weights;
  std::vector<BufferSpec> buffers;
  std::vector<Trace> traces;
  bool record_taps = false;
  // Contents that buffers start with (tables, constant indices); Backend::compile() writes and
  // drops them.
  std::vector<std::pair<BufferRef, std::vector<std::byte>>> initial;

  WeightRef add(Weight weight);
  BufferRef add(BufferSpec spec);
  // A buffer that starts with `values`, as many as `shape` has elements of `dtype`.
  template <class T>
  BufferRef constant(std::string name, DType dtype, const Shape& shape,
                     const std::vector<T>& values) {
    const BufferRef ref = add(BufferSpec{std::move(name), dtype, shape});
    const std::byte* first = reinterpret_cast<const std::byte*>(values.data());
    initial.emplace_back(ref, std::vector<std::byte>(first, first + values.size() * sizeof(T)));
    return ref;
  }
  const Weight& weight(WeightRef ref) const { return weights.at(static_cast<std::size_t>(ref.id)); }
  const BufferSpec& buffer(BufferRef ref) const {
    return buffers.at(static_cast<std::size_t>(ref.id));
  }
};

// "linear", "attention", ...: the stem of the op's struct, files, kernel, test and bench row.
std::string_view name(const Op& op);

// Values an op reads and writes, in declaration order, absent ones left out.
struct Operands {
  std::vector<Value> inputs, outputs;
  std::vector<WeightRef> weights;
};
Operands operands(const Op& op);

// Throws Error "op: what was wanted, what came".
void check(const Op& op, const Trace& trace);

// Work of one op: multiply-adds count two; bytes are those of operands and weights, each once.
struct Cost {
  double flops = 0, bytes = 0;
};
Cost cost(const Op& op, const Trace& trace);

// Appends the definition of a fused op to `to` in basic ops; false where `op` is basic.
bool lower(const Op& op, const std::string& label, Trace& to);

}  // namespace tendon
