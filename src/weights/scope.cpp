#include "weights/scope.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/parallel.h"
#include "base/text.h"

namespace tendon {
namespace {

constexpr std::size_t kListed = 24;  // names of each kind in a message

bool is_weight_type(DType t) { return t == DType::f32 || t == DType::bf16 || t == DType::f16; }

std::int64_t row_size(const Shape& shape) {
  std::int64_t n = 1;
  for (int i = 1; i < shape.rank(); ++i) n *= shape[i];
  return n;
}

// Stands where a tensor is missing; Binder::finish() throws before anybody reads it.
Weight absent(std::string name, const Shape& shape, Format format) {
  Weight w{.name = name, .shape = shape, .format = format};
  w.read = [name](std::int64_t, std::int64_t, float*) {
    fail("weight '{}' is missing from the checkpoint", name);
  };
  return w;
}

void append(std::string& text, std::string_view what, const std::vector<std::string>& names) {
  if (names.empty()) return;
  text += fmt::format("{}{} {}: {}", text.empty() ? "" : "; ", names.size(), what,
                      list_some(names, kListed));
}

}  // namespace

Scope Binder::root() { return {*this, ""}; }

const CheckpointTensor* Binder::take(const std::string& name, const Shape& shape) {
  if (!checkpoint_) {
    if (used_.insert(name).second) listed_.push_back({name, stored_, shape, {}});
    return nullptr;
  }
  const CheckpointTensor* t = checkpoint_->find(name);
  if (!t) {
    missing_.push_back(name);
    return nullptr;
  }
  used_.insert(t->name);
  if (!(t->shape == shape)) {
    misshapen_.push_back(
        fmt::format("{} {} instead of {}", t->stored_name, t->shape.str(), shape.str()));
    return nullptr;
  }
  if (!is_weight_type(t->dtype)) {
    mistyped_.push_back(fmt::format("{} {}", t->stored_name, safetensors_name(t->dtype)));
    return nullptr;
  }
  return t;
}

std::vector<std::string> Binder::unused() const {
  std::vector<std::string> names;
  for (const auto& t : checkpoint_->tensors()) {
    if (!t->hidden && !used_.count(t->name)) names.push_back(t->name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

void Binder::finish(std::span<const std::string> ignored) {
  std::vector<std::string> left_over = unused();
  std::erase_if(left_over, [&](const std::string& name) {
    return glob_match_any(ignored, name) || glob_match_any(ignored_, name);
  });
  std::string text;
  append(text, "missing", missing_);
  append(text, "of another shape", misshapen_);
  append(text, "not F32, BF16 or F16", mistyped_);
  append(text, "not known to the model", left_over);
  require(text.empty(),
          "{}: these tensors do not fit the model: {}; pass the checkpoint and the "
          "dimensions that belong together",
          checkpoint_->origin(), text);
  check_tables();
}

void Binder::check_tables() const {
  constexpr std::int64_t kPiece = 1 << 16;
  for (const CheckpointTensor* t : tables_) {
    if (!t->source->raw()) continue;  // will be read, and checked, element by element
    const std::int64_t n = t->shape.numel();
    parallel_for((n + kPiece - 1) / kPiece, 0, [&](std::int64_t i) {
      std::vector<float> piece(kPiece);
      t->source->read(i * kPiece, 1, std::min(kPiece, n - i * kPiece), piece.data());
    });
    t->source->release();
  }
}

Scope Scope::at(std::string_view name) const {
  return {*binder_, prefix_ + std::string(name) + "."};
}

Scope Scope::at(std::string_view name, std::int64_t index) const {
  return at(fmt::format("{}.{}", name, index));
}

bool Scope::has(std::string_view name) const {
  return binder_->checkpoint_ && binder_->checkpoint_->has(full(name));
}

void Scope::ignore(std::string_view glob) const { binder_->ignored_.push_back(full(glob)); }

void Scope::unread(std::string_view name, const Shape& shape) const {
  if (binder_->checkpoint_) {
    ignore(name);
  } else {
    binder_->take(full(name), shape);
  }
}

Weight Scope::tensor(std::string_view name, const Shape& shape, Format format) const {
  return view(name, TensorView(shape), shape, format);
}

Weight Scope::vector(std::string_view name, std::int64_t n, Format format) const {
  return tensor(name, {n}, format);
}

Weight Scope::matrix(std::string_view name, std::int64_t rows, std::int64_t columns,
                     Format format) const {
  return tensor(name, {rows, columns}, format);
}

Weight Scope::table(std::string_view name, std::int64_t rows, std::int64_t width,
                    Format format) const {
  Weight w = matrix(name, rows, width, format);
  if (w.raw) binder_->tables_.push_back(binder_->checkpoint_->find(full(name)));
  return w;
}

Weight Scope::view(std::string_view name, const TensorView& view, const Shape& shape,
                   Format format) const {
  require(view.shape().numel() == shape.numel(), "weight '{}': {} elements do not make {}",
          full(name), view.shape().numel(), shape.str());
  const CheckpointTensor* t = binder_->take(full(name), view.stored());
  if (!t) return absent(full(name), shape, format);
  Weight w{.name = t->name, .shape = shape, .format = format};
  const std::int64_t row = row_size(shape);
  w.read = [source = t->source.get(), view, row](std::int64_t first, std::int64_t count,
                                                 float* out) {
    view.read(*source, first * row, count * row, out);
  };
  w.release = [source = t->source.get()] { source->release(); };
  if (view.whole()) {
    w.raw = t->source->raw();
    w.raw_dtype = t->dtype;
  }
  return w;
}

Weight Scope::joined(std::initializer_list<Part> parts, std::int64_t columns, Format format) const {
  std::vector<Weight> weights;
  for (const Part& p : parts) {
    weights.push_back(columns ? matrix(p.name, p.rows, columns, format)
                              : vector(p.name, p.rows, format));
  }
  return join(std::move(weights));
}

std::vector<float> Scope::values(std::string_view name, const Shape& shape) const {
  std::vector<float> out(static_cast<std::size_t>(shape.numel()));
  const CheckpointTensor* t = binder_->take(full(name), shape);
  if (t) t->source->read(0, 1, shape.numel(), out.data());
  return out;
}

Weight join(std::vector<Weight> parts) {
  require(!parts.empty(), "join: no weights came");
  Weight w{.name = parts[0].name, .shape = parts[0].shape, .format = parts[0].format};
  for (std::size_t i = 1; i < parts.size(); ++i) {
    w.name += "|" + parts[i].name;
    w.shape[0] += parts[i].shape[0];
    Shape expected = parts[i].shape;
    expected[0] = w.shape[0];
    require(expected == w.shape && parts[i].format == w.format,
            "join: '{}' {} does not fit below '{}'", parts[i].name, parts[i].shape.str(),
            parts[0].name);
  }
  w.release = [parts] {
    for (const Weight& p : parts) {
      if (p.release) p.release();
    }
  };
  w.read = [parts = std::move(parts), row = row_size(w.shape)](std::int64_t first,
                                                               std::int64_t count, float* out) {
    for (const Weight& p : parts) {
      const std::int64_t rows = p.shape[0];
      const std::int64_t n = std::min(count, rows - first);
      if (n > 0) {
        p.read(first, n, out);
        out += n * row;
        count -= n;
      }
      first = std::max<std::int64_t>(0, first - rows);
    }
  };
  return w;
}

Weight mapped(Weight weight, std::function<void(std::int64_t first_row, std::span<float>)> change) {
  Weight w = weight;
  w.raw = nullptr;
  w.read = [read = std::move(weight.read), change = std::move(change), row = row_size(w.shape)](
               std::int64_t first, std::int64_t count, float* out) {
    read(first, count, out);
    change(first, {out, static_cast<std::size_t>(count * row)});
  };
  return w;
}

Weight padded(Weight weight, const Shape& shape) {
  if (weight.shape == shape) return weight;
  const Shape from = weight.shape;
  require(from.rank() == shape.rank() && from.rank() <= 2 && from[0] <= shape[0] &&
              row_size(from) <= row_size(shape),
          "weight '{}': {} cannot be padded to {}", weight.name, from.str(), shape.str());
  Weight w = weight;
  w.shape = shape;
  w.raw = nullptr;
  w.read = [read = std::move(weight.read), rows = from[0], row = row_size(from),
            wide = row_size(shape)](std::int64_t first, std::int64_t count, float* out) {
    std::fill_n(out, count * wide, 0.0f);
    const std::int64_t real = std::min(count, rows - first);
    if (real <= 0) return;
    read(first, real, out);
    for (std::int64_t r = real - 1; r > 0; --r) {  // the last row first: rows move to the right
      std::copy_backward(out + r * row, out + (r + 1) * row, out + r * wide + row);
      std::fill(out + r * wide + row, out + (r + 1) * wide, 0.0f);
    }
    std::fill(out + row, out + wide, 0.0f);
  };
  return w;
}

Weight computed(std::string name, const Shape& shape, Format format, std::vector<float> values) {
  require(static_cast<std::int64_t>(values.size()) == shape.numel(),
          "weight '{}': {} values do not make {}", name, values.size(), shape.str());
  Weight w{.name = std::move(name), .shape = shape, .format = format};
  w.read = [values = std::move(values), row = row_size(shape)](std::int64_t first,
                                                               std::int64_t count, float* out) {
    std::copy_n(values.begin() + first * row, count * row, out);
  };
  return w;
}

std::vector<float> read_all(const Weight& weight) {
  std::vector<float> values(static_cast<std::size_t>(weight.shape.numel()));
  weight.read(0, weight.shape.rank() ? weight.shape[0] : 1, values.data());
  return values;
}

}  // namespace tendon
