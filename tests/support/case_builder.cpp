#include "support/case_builder.h"

#include <cmath>
#include <cstring>

#include "base/half.h"
#include "support/values.h"

namespace tendon::support {

using shapes::Layout;

CaseBuilder::CaseBuilder(std::string name, const CaseDtypes& dtypes, Fill fill)
    : name_(std::move(name)), dtypes_(dtypes), fill_(fill) {
  made_.program = std::make_unique<Program>();
  made_.program->traces.emplace_back("case", *made_.program);
}

std::string CaseBuilder::next_name() { return name_ + "." + std::to_string(names_++); }

BufferRef CaseBuilder::buffer(DType dtype, const Shape& shape, Role role) {
  const std::string name = next_name();
  made_.contents.emplace_back();
  if (role == Role::input && fill_ == Fill::make) {
    made_.contents.back() = encoded(dtype, units(name, shape.numel()));
  }
  return made_.program->add(BufferSpec{name, dtype, shape});
}

Value CaseBuilder::view(DType dtype, const Shape& shape, Role role) {
  Shape whole = shape;
  switch (layout_) {
    case Layout::dense:
      return trace().buffer(buffer(dtype, shape, role));
    case Layout::columns:
      whole[-1] += 16;
      return trace().columns(trace().buffer(buffer(dtype, whole, role)), 8, shape[-1]);
    case Layout::odd:
      whole[-1] += 5;
      return trace().columns(trace().buffer(buffer(dtype, whole, role)), 3, shape[-1]);
    case Layout::slab:
      whole[-2] += 3;
      return trace().rows(trace().buffer(buffer(dtype, whole, role)), 2, shape[-2]);
  }
  return {};
}

Value CaseBuilder::heads(DType dtype, const Shape& shape, Role role) {
  const std::int64_t width = shape[2] * shape[3];
  const auto among = [&](std::int64_t before, std::int64_t after) {
    const Value all =
        trace().buffer(buffer(dtype, {shape[0], shape[1], before + width + after}, role));
    return trace().split_last(trace().columns(all, before, width), shape[2]);
  };
  switch (layout_) {
    case Layout::dense:
      return trace().buffer(buffer(dtype, shape, role));
    case Layout::columns:
      return among(shape[3], 2 * shape[3]);
    case Layout::odd:
      return among(3, 2);
    case Layout::slab: {
      const Shape whole{shape[0], shape[1] + 3, shape[2], shape[3]};
      return trace().slice(trace().buffer(buffer(dtype, whole, role)), 1, 2, shape[1]);
    }
  }
  return {};
}

Value CaseBuilder::reals(const Shape& shape) {
  return trace().buffer(buffer(DType::f32, shape, Role::input));
}

Value CaseBuilder::integers(const Shape& shape,
                            const std::function<std::int64_t(std::int64_t)>& element) {
  const BufferRef ref = buffer(DType::i32, shape, Role::output);
  if (fill_ == Fill::make) {
    std::vector<std::int32_t> values;
    for (std::int64_t i = 0; i < shape.numel(); ++i) {
      values.push_back(static_cast<std::int32_t>(element(i)));
    }
    made_.contents.back().resize(values.size() * sizeof(std::int32_t));
    std::memcpy(made_.contents.back().data(), values.data(), made_.contents.back().size());
  }
  return trace().buffer(ref);
}

Value CaseBuilder::given(DType dtype, const Shape& shape,
                         const std::function<std::vector<float>()>& make) {
  const BufferRef ref = buffer(dtype, shape, Role::output);
  if (fill_ == Fill::make) made_.contents.back() = encoded(dtype, make());
  return trace().buffer(ref);
}

Value CaseBuilder::integers_out(const Shape& shape) {
  return trace().buffer(buffer(DType::i32, shape, Role::output));
}

RowTable CaseBuilder::table(std::int64_t width, Index index, std::int64_t B, std::int64_t S) {
  // Those by iteration lie at even places, as a step's do: kernels for whole steps want them so.
  const std::int64_t odd = index == Index::iteration ? 0 : 1;
  RowTable table{reals({kTableRows, 2 * width + 3 * odd}), Value{}, width + odd};
  const auto scattered = [](std::int64_t i) { return (3 * i + 2) % kTableRows; };
  if (index == Index::by_sample) table.rows = integers({B}, scattered);
  if (index == Index::by_row) table.rows = integers({B * S}, scattered);
  if (index == Index::iteration) table.rows = trace().iteration();
  return table;
}

namespace {

Weight generated(std::string name, const Shape& shape, float scale, float offset) {
  const std::int64_t width = shape.numel() / shape[0];
  Weight weight{.name = name, .shape = shape};
  weight.read = [name = std::move(name), width, scale, offset](std::int64_t first,
                                                               std::int64_t count, float* out) {
    const std::uint64_t hash = name_hash(name);
    for (std::int64_t i = 0; i < count * width; ++i) {
      out[i] = offset + scale * unit(hash, first * width + i);
    }
  };
  return weight;
}

}  // namespace

WeightRef CaseBuilder::matrix(const Shape& shape) {
  const float fan_in = static_cast<float>(shape.numel() / shape[0]);
  Weight weight = generated(next_name(), shape, std::sqrt(3.0f / fan_in), 0.0f);
  weight.format = dtypes_.weights;
  return made_.program->add(std::move(weight));
}

WeightRef CaseBuilder::bias(std::int64_t width) {
  Weight weight = generated(next_name(), {width}, 0.1f, 0.0f);
  weight.format = dtypes_.weights;
  return made_.program->add(std::move(weight));
}

WeightRef CaseBuilder::factor(std::int64_t width) {
  Weight weight = generated(next_name(), {width}, 0.1f, 1.0f);
  weight.format = dtypes_.weights;
  return made_.program->add(std::move(weight));
}

WeightRef CaseBuilder::embedding(const Shape& shape, DType raw_dtype) {
  Weight weight = generated(next_name(), shape, 1.0f, 0.0f);
  weight.format = dtypes_.weights;
  if (raw_dtype != DType::f64 && fill_ == Fill::make) {
    // What the file holds is what read() gives.
    std::vector<float> values = units(weight.name, shape.numel());
    if (raw_dtype == DType::bf16) {
      for (float& v : values) v = round_bf16(v);
    }
    made_.storage.push_back(encoded(raw_dtype, values));
    weight.raw = made_.storage.back().data();
    weight.raw_dtype = raw_dtype;
    weight.read = [values, width = shape[1]](std::int64_t first, std::int64_t count, float* out) {
      std::copy_n(values.begin() + first * width, count * width, out);
    };
  }
  return made_.program->add(std::move(weight));
}

}  // namespace tendon::support
