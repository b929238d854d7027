#include "weights/file_source.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "base/text.h"

namespace tendon {
namespace {

// "[3,17]" of the row-major number `flat`.
std::string index_text(const Shape& shape, std::int64_t flat) {
  std::string text;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    text = std::to_string(flat % shape[i]) + (text.empty() ? "" : "," + text);
    flat /= shape[i];
  }
  return "[" + text + "]";
}

struct F32 {
  using Stored = std::uint32_t;
  static float value(Stored s) { return std::bit_cast<float>(s); }
  static bool finite(Stored s) { return (s & 0x7f800000u) != 0x7f800000u; }
};
struct Bf16 {
  using Stored = std::uint16_t;
  static float value(Stored s) { return bf16_to_f32(s); }
  static bool finite(Stored s) { return (s & 0x7f80u) != 0x7f80u; }
};
struct F16 {
  using Stored = std::uint16_t;
  static float value(Stored s) { return f16_to_f32(s); }
  static bool finite(Stored s) { return (s & 0x7c00u) != 0x7c00u; }
};

template <class Number>
struct Plain {
  using Stored = Number;
  static float value(Stored s) { return static_cast<float>(s); }
  static bool finite(Stored s) { return std::isfinite(static_cast<float>(s)); }
};

// Converts and says whether all were finite. The files' bytes may be unaligned, hence memcpy.
template <class T>
bool convert(const std::byte* from, std::int64_t stride, std::int64_t count, float* out) {
  using Stored = typename T::Stored;
  unsigned bad = 0;
  if (stride == 1) {
    for (std::int64_t i = 0; i < count; ++i) {
      Stored s;
      std::memcpy(&s, from + i * static_cast<std::int64_t>(sizeof(Stored)), sizeof(Stored));
      out[i] = T::value(s);
      bad |= T::finite(s) ? 0u : 1u;
    }
    return bad == 0;
  }
  const std::int64_t step = stride * static_cast<std::int64_t>(sizeof(Stored));
  for (std::int64_t i = 0; i < count; ++i, from += step) {
    Stored s;
    std::memcpy(&s, from, sizeof(Stored));
    out[i] = T::value(s);
    bad |= T::finite(s) ? 0u : 1u;
  }
  return bad == 0;
}

class FileSource : public TensorSource {
 public:
  FileSource(const Safetensors& files, const StoredTensor& tensor)
      : files_(files), tensor_(tensor) {}

  void read(std::int64_t first, std::int64_t stride, std::int64_t count,
            float* out) const override {
    const std::byte* from =
        tensor_.bytes.data() + first * static_cast<std::int64_t>(size_of(tensor_.dtype));
    if (first == 0 && stride == 1) files_.will_read(tensor_);  // the rest is about to be wanted
    bool finite = true;
    switch (tensor_.dtype) {
      case DType::f32:
        finite = convert<F32>(from, stride, count, out);
        break;
      case DType::bf16:
        finite = convert<Bf16>(from, stride, count, out);
        break;
      case DType::f16:
        finite = convert<F16>(from, stride, count, out);
        break;
      case DType::f64:
        finite = convert<Plain<double>>(from, stride, count, out);
        break;
      case DType::i32:
        finite = convert<Plain<std::int32_t>>(from, stride, count, out);
        break;
      case DType::i64:
        finite = convert<Plain<std::int64_t>>(from, stride, count, out);
        break;
      case DType::u8:
      case DType::boolean:
        finite = convert<Plain<std::uint8_t>>(from, stride, count, out);
        break;
    }
    if (finite) return;
    std::int64_t at = 0;
    while ((std::bit_cast<std::uint32_t>(out[at]) & 0x7f800000u) != 0x7f800000u) ++at;
    fail("{}: tensor '{}' holds NaN or infinity at {}; the checkpoint is damaged", file(),
         printable(tensor_.name), index_text(tensor_.shape, first + at * stride));
  }

  const void* raw() const override {
    const auto address = reinterpret_cast<std::uintptr_t>(tensor_.bytes.data());
    return address % size_of(tensor_.dtype) == 0 ? tensor_.bytes.data() : nullptr;
  }

  void release() const noexcept override { files_.drop(tensor_); }

 private:
  std::string file() const { return files_.files()[tensor_.file].path().string(); }

  const Safetensors& files_;
  const StoredTensor& tensor_;
};

}  // namespace

std::unique_ptr<TensorSource> make_file_source(const Safetensors& files,
                                               const StoredTensor& tensor) {
  return std::make_unique<FileSource>(files, tensor);
}

}  // namespace tendon
