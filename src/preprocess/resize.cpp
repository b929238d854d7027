#include "preprocess/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "preprocess/resize_filter.h"
#include "preprocess/resize_kernels.h"

namespace tendon {

namespace {

// Filter of one axis, in both forms.
struct Filter {
  int inputs = 0, outputs = 0, width = 0;
  std::vector<std::int32_t> first, count, fixed, high, low;
  std::vector<float> weight;  // f32, `width` per output
  resize_detail::Taps taps() const {
    return {first.data(), count.data(), fixed.data(), high.data(),
            low.data(),   outputs,      width,        inputs};
  }
};

// Pillow's triangle filter; PyTorch's antialiased bilinear is the same with unrounded weights.
std::unique_ptr<Filter> make_filter(int inputs, int outputs) {
  auto filter = std::make_unique<Filter>();
  filter->inputs = inputs;
  filter->outputs = outputs;
  filter->width = (most_taps(inputs, outputs) + 4) & ~3;
  filter->first.resize(outputs);
  filter->count.resize(outputs);
  filter->fixed.assign(static_cast<std::size_t>(outputs) * filter->width, 0);
  filter->weight.assign(static_cast<std::size_t>(outputs) * filter->width, 0.0f);
  std::vector<double> w(filter->width);
  for (int i = 0; i < outputs; ++i) {
    const AxisTaps taps = triangle_taps(i, inputs, outputs, w.data());
    filter->first[i] = taps.first;
    filter->count[i] = taps.count;
    for (int j = 0; j < taps.count; ++j) {
      const std::size_t at = static_cast<std::size_t>(i) * filter->width + j;
      filter->fixed[at] = fixed_weight(w[j]);
      filter->weight[at] = static_cast<float>(w[j]);
    }
  }
  for (std::size_t i = 0; i < filter->fixed.size(); i += 2) {
    const std::int32_t a = filter->fixed[i], b = filter->fixed[i + 1];
    filter->high.push_back(a >> 11 | b >> 11 << 16);
    filter->low.push_back((a & 2047) | (b & 2047) << 16);
  }
  return filter;
}

bool has_avx2() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2");
#else
  return false;
#endif
}

}  // namespace

struct Resizer::State {
  std::vector<std::unique_ptr<Filter>> filters;
  std::vector<std::uint8_t> rows;
  std::vector<float> narrow;
  std::vector<Lerp> across;
  bool avx2 = has_avx2();

  const Filter& filter(int inputs, int outputs) {
    for (const auto& f : filters) {
      if (f->inputs == inputs && f->outputs == outputs) return *f;
    }
    filters.push_back(make_filter(inputs, outputs));
    return *filters.back();
  }
  void columns(const resize_detail::ColumnPass& pass, const Filter& f) const {
#if defined(__x86_64__)
    if (avx2) return resize_detail::columns_avx2(pass, f.taps());
#endif
    resize_detail::columns(pass, f.taps());
  }
  void row(const std::uint8_t* in, std::ptrdiff_t stride, const Filter& f, int i, int bytes,
           std::uint8_t* out) const {
#if defined(__x86_64__)
    if (avx2) return resize_detail::rows_avx2({in, stride, bytes}, f.taps(), i, out);
#endif
    resize_detail::rows({in, stride, bytes}, f.taps(), i, out);
  }
};

Resizer::Resizer() : state_(std::make_unique<State>()) {}
Resizer::~Resizer() = default;
Resizer::Resizer(Resizer&&) noexcept = default;
Resizer& Resizer::operator=(Resizer&&) noexcept = default;

void Resizer::resize(const ImageView& in, int height, int width, std::uint8_t* out,
                     std::ptrdiff_t out_stride) {
  require(in.height > 0 && in.width > 0 && height > 0 && width > 0,
          "resize: {}x{} to {}x{}: every side must be at least 1", in.height, in.width, height,
          width);
  const std::ptrdiff_t bytes = std::ptrdiff_t{width} * 3;
  ImageView narrow = in;
  if (in.width != width) {
    const Filter& filter = state_->filter(in.width, width);
    state_->rows.resize(static_cast<std::size_t>(in.height) * bytes);
    state_->columns({in.data, in.stride, state_->rows.data(), bytes, in.height}, filter);
    narrow = {state_->rows.data(), in.height, width, bytes};
  }
  if (in.height == height) {
    for (int y = 0; y < height; ++y) std::memcpy(out + y * out_stride, narrow.row(y), bytes);
    return;
  }
  const Filter& filter = state_->filter(in.height, height);
  for (int y = 0; y < height; ++y) {
    state_->row(narrow.data, narrow.stride, filter, y, static_cast<int>(bytes),
                out + y * out_stride);
  }
}

void Resizer::resize_floats(const FloatView& in, const FloatSpan& out) {
  std::vector<Lerp>& across = state_->across;
  across.resize(out.width);
  for (int x = 0; x < out.width; ++x) across[x] = lerp_at(x, in.width, out.width);
  float* to = out.data;
  for (int y = 0; y < out.height; ++y) {
    const Lerp v = lerp_at(y, in.height, out.height);
    const float* a = in.data + std::ptrdiff_t{v.i0} * in.width * 3;
    const float* b = in.data + std::ptrdiff_t{v.i1} * in.width * 3;
    for (const Lerp& h : across) {
      for (int c = 0; c < 3; ++c) {
        const float top = (1 - h.f) * a[3 * h.i0 + c] + h.f * a[3 * h.i1 + c];
        const float bottom = (1 - h.f) * b[3 * h.i0 + c] + h.f * b[3 * h.i1 + c];
        *to++ = (1 - v.f) * top + v.f * bottom;
      }
    }
  }
}

namespace {

// Sum of `count` values `step` apart.
float weighted(const float* p, std::ptrdiff_t step, const float* w, int count) {
  float sum = 0;
  for (int k = 0; k < count; ++k) sum += p[k * step] * w[k];
  return sum;
}

}  // namespace

void Resizer::resize_floats_antialiased(const FloatView& in, const FloatSpan& out) {
  const Filter& across = state_->filter(in.width, out.width);
  const Filter& down = state_->filter(in.height, out.height);
  const std::ptrdiff_t row = std::ptrdiff_t{out.width} * 3;
  std::vector<float>& narrow = state_->narrow;
  narrow.resize(static_cast<std::size_t>(in.height * row));
  for (int y = 0; y < in.height; ++y) {
    const float* from = in.data + std::ptrdiff_t{y} * in.width * 3;
    for (int x = 0; x < row; ++x) {
      const float* w = &across.weight[std::size_t(x / 3) * across.width];
      narrow[y * row + x] =
          weighted(from + 3 * across.first[x / 3] + x % 3, 3, w, across.count[x / 3]);
    }
  }
  float* to = out.data;
  for (int y = 0; y < out.height; ++y) {
    const float* top = narrow.data() + down.first[y] * row;
    const float* w = &down.weight[std::size_t(y) * down.width];
    for (int x = 0; x < row; ++x) *to++ = weighted(top + x, row, w, down.count[y]);
  }
}

Letterbox letterbox(int in_height, int in_width, int height, int width) {
  if (in_height == height && in_width == width) return {height, width, 0, 0};
  const double ratio =
      std::max(static_cast<double>(in_width) / width, static_cast<double>(in_height) / height);
  // A picture thinner than the ratio would vanish: Pillow refuses a side of 0, one pixel is kept
  // here.
  const int h = std::max(1, static_cast<int>(in_height / ratio));
  const int w = std::max(1, static_cast<int>(in_width / ratio));
  return {h, w, (height - h) / 2, (width - w) / 2};
}

CoverCrop cover_crop(int in_height, int in_width, int height, int width) {
  const double s =
      std::max(static_cast<double>(width) / in_width, static_cast<double>(height) / in_height);
  const int h = static_cast<int>(std::nearbyint(in_height * s));
  const int w = static_cast<int>(std::nearbyint(in_width * s));
  return {h, w, std::max((h - height) / 2, 0), std::max((w - width) / 2, 0)};
}

}  // namespace tendon
