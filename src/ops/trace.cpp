#include "ops/trace.h"

#include "base/error.h"

namespace tendon {

Rows as_rows(const ValueInfo& v) {
  const int rank = v.shape.rank();
  Rows r;
  r.width = rank > 0 ? v.shape[-1] : 1;
  r.rows = rank > 1 ? v.shape[-2] : 1;
  r.row_stride = rank > 1 ? v.strides[rank - 2] : r.width;
  bool merged = true;  // so far every leading dimension continues the rows
  for (int i = rank - 3; i >= 0; --i) {
    if (v.shape[i] == 1) continue;
    if (merged && v.strides[i] == r.rows * r.row_stride) {
      r.rows *= v.shape[i];
    } else if (merged) {
      merged = false;
      r.batches = v.shape[i];
      r.batch_stride = v.strides[i];
    } else {
      require(v.strides[i] == r.batches * r.batch_stride,
              "view {}: rows at one constant distance within one batch stride are wanted",
              v.shape.str());
      r.batches *= v.shape[i];
    }
  }
  return r;
}

Trace::Trace(std::string name, Program& program) : name_(std::move(name)), program_(&program) {}

Value Trace::push(ValueInfo info) {
  const Value v{static_cast<std::int32_t>(values_.size())};
  if (info.root < 0) info.root = v.id;
  values_.push_back(std::move(info));
  return v;
}

Value Trace::make(DType dtype, const Shape& shape) {
  ValueInfo info;
  info.dtype = dtype;
  info.shape = shape;
  info.strides = dense_strides(shape);
  return push(info);
}

Value Trace::buffer(BufferRef ref) { return buffer(ref, program_->buffer(ref).shape); }

Value Trace::buffer(BufferRef ref, const Shape& shape) {
  const BufferSpec& spec = program_->buffer(ref);
  require(shape.numel() <= spec.shape.numel(), "buffer {}: {} elements exist, {} came", spec.name,
          spec.shape.str(), shape.str());
  if (buffer_values_.size() <= static_cast<std::size_t>(ref.id)) {
    buffer_values_.resize(static_cast<std::size_t>(ref.id) + 1, -1);
  }
  std::int32_t& root = buffer_values_[static_cast<std::size_t>(ref.id)];
  ValueInfo info;
  info.kind = ValueInfo::Kind::buffer;
  info.dtype = spec.dtype;
  info.buffer = ref;
  if (root < 0) {
    info.shape = spec.shape;
    info.strides = dense_strides(spec.shape);
    root = push(info).id;
  }
  if (shape == spec.shape) return Value{root};
  info.shape = shape;
  info.strides = dense_strides(shape);
  info.root = root;
  return push(info);
}

Value Trace::iteration() {
  if (!iteration_) {
    ValueInfo info;
    info.kind = ValueInfo::Kind::iteration;
    info.dtype = DType::i32;
    info.shape = {1};
    info.strides = {1};
    iteration_ = push(info);
  }
  return iteration_;
}

Value Trace::slice(Value v, int dimension, std::int64_t first, std::int64_t count) {
  ValueInfo info = this->info(v);
  const int rank = info.shape.rank();
  const int d = dimension < 0 ? rank + dimension : dimension;
  require(d >= 0 && d < rank && first >= 0 && count >= 0 && first + count <= info.shape[d],
          "{}: slice [{}, {}) of dimension {} of {}", name_, first, first + count, dimension,
          info.shape.str());
  info.offset += first * info.strides[static_cast<std::size_t>(d)];
  info.shape[d] = count;
  return push(info);
}

Value Trace::columns(Value v, std::int64_t first, std::int64_t count) {
  return slice(v, -1, first, count);
}

Value Trace::rows(Value v, std::int64_t first, std::int64_t count) {
  return slice(v, -2, first, count);
}

Value Trace::split_last(Value v, std::int64_t heads) {
  ValueInfo info = this->info(v);
  require(heads > 0 && info.shape[-1] % heads == 0, "{}: {} columns do not split into {} heads",
          name_, info.shape[-1], heads);
  const std::int64_t width = info.shape[-1] / heads;
  info.shape[-1] = heads;
  info.strides[info.shape.rank() - 1] = width;
  info.shape.push_back(width);
  info.strides[info.shape.rank() - 1] = 1;
  return push(info);
}

Value Trace::merge_last(Value v) {
  const ValueInfo& from = this->info(v);
  const int rank = from.shape.rank();
  require(rank >= 2 && from.strides[rank - 2] == from.shape[-1], "{}: heads of {} lie apart", name_,
          from.shape.str());
  ValueInfo info = from;
  info.shape = {};
  for (int i = 0; i < rank - 2; ++i) info.shape.push_back(from.shape[i]);
  info.shape.push_back(from.shape[-2] * from.shape[-1]);
  info.strides[rank - 2] = 1;
  return push(info);
}

Value Trace::reshape(Value v, const Shape& shape) {
  ValueInfo info = this->info(v);
  Tensor view(nullptr, info.dtype, info.shape);
  view.strides = info.strides;
  require(view.dense() && shape.numel() == info.shape.numel(), "{}: reshape of {} to {}", name_,
          info.shape.str(), shape.str());
  info.shape = shape;
  info.strides = dense_strides(shape);
  return push(info);
}

void Trace::add(Op op, std::string label) {
  if (label.empty()) label = tendon::name(op);
  try {
    check(op, *this);
  } catch (const Error& e) {
    fail("{}: {}: {}", name_, label, e.what());
  }
  ops_.push_back(std::move(op));
  labels_.push_back(std::move(label));
}

void Trace::tap(std::string_view name, Value v, TapRows rows) {
  if (program_->record_taps) taps_.push_back({std::string(name), v, rows});
}

Trace Trace::lowered(const std::function<bool(const Op&)>& keep) const {
  Trace to = *this;
  std::vector<Op> pending_ops = ops_;
  std::vector<std::string> pending_labels = labels_;
  bool changed = true;
  while (changed) {
    changed = false;
    to.ops_.clear();
    to.labels_.clear();
    for (std::size_t i = 0; i < pending_ops.size(); ++i) {
      if (keep(pending_ops[i])) {
        to.ops_.push_back(pending_ops[i]);
        to.labels_.push_back(pending_labels[i]);
      } else {
        require(lower(pending_ops[i], pending_labels[i], to),
                "{}: this backend has no {}, and it has no definition in other ops",
                pending_labels[i], tendon::name(pending_ops[i]));
        changed = true;
      }
    }
    pending_ops = to.ops_;
    pending_labels = to.labels_;
  }
  return to;
}

WeightRef Program::add(Weight weight) {
  weights.push_back(std::move(weight));
  return {static_cast<std::int32_t>(weights.size() - 1)};
}

BufferRef Program::add(BufferSpec spec) {
  buffers.push_back(std::move(spec));
  return {static_cast<std::int32_t>(buffers.size() - 1)};
}

}  // namespace tendon
