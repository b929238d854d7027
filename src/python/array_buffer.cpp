#include "python/array_buffer.h"

#include <optional>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace tendon::python {
namespace {

enum class Kind { unsigned_integer, signed_integer, floating, boolean };

std::optional<Kind> kind_of(char code) {
  constexpr std::string_view kUnsigned = "BHILQN", kSigned = "bhilqn", kFloating = "efd";
  if (code == '?') return Kind::boolean;
  if (kUnsigned.find(code) != std::string_view::npos) return Kind::unsigned_integer;
  if (kSigned.find(code) != std::string_view::npos) return Kind::signed_integer;
  if (kFloating.find(code) != std::string_view::npos) return Kind::floating;
  return std::nullopt;
}

// Sizes of C types differ between machines; the exporter states the size of an item.
std::optional<ArrayType> type_of(Kind kind, Py_ssize_t bytes) {
  constexpr ArrayType kRows[4][4] = {
      {ArrayType::u8, ArrayType::u16, ArrayType::u32, ArrayType::u64},
      {ArrayType::i8, ArrayType::i16, ArrayType::i32, ArrayType::i64},
      {ArrayType::u8, ArrayType::f16, ArrayType::f32, ArrayType::f64},
      {ArrayType::boolean, ArrayType::u8, ArrayType::u8, ArrayType::u8}};
  const int column = bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : bytes == 8 ? 3 : -1;
  if (column < 0 || (kind == Kind::floating && column == 0)) return std::nullopt;
  if (kind == Kind::boolean && column != 0) return std::nullopt;
  return kRows[static_cast<int>(kind)][column];
}

}  // namespace

ArrayBuffer::ArrayBuffer(std::string_view key, PyObject* object) {
  if (PyObject_GetBuffer(object, &buffer_, PyBUF_STRIDES | PyBUF_FORMAT) != 0) {
    PyErr_Clear();
    fail("{}: an array of numbers is wanted, {} came", printable(key), Py_TYPE(object)->tp_name);
  }
  const std::string_view format = buffer_.format == nullptr ? "B" : buffer_.format;
  const std::string_view marks = "@=<>!";
  const bool marked = !format.empty() && marks.find(format[0]) != std::string_view::npos;
  const std::string_view code = format.substr(marked ? 1 : 0);
  const auto kind = code.size() == 1 ? kind_of(code[0]) : std::nullopt;
  const auto type = kind ? type_of(*kind, buffer_.itemsize) : std::nullopt;
  if (!type) {
    const std::string came(format);
    PyBuffer_Release(&buffer_);
    fail(
        "{}: elements of format \"{}\" came; booleans, integers and floats of at most 64 bits are "
        "taken",
        printable(key), printable(came));
  }
  type_ = *type;
  order_ = format[0] == '>' || format[0] == '!' ? ByteOrder::big : ByteOrder::little;
  shape_.assign(buffer_.shape, buffer_.shape + buffer_.ndim);
  strides_.assign(buffer_.strides, buffer_.strides + buffer_.ndim);
}

ArrayBuffer::~ArrayBuffer() {
  if (buffer_.obj != nullptr) PyBuffer_Release(&buffer_);
}

ArrayBuffer::ArrayBuffer(ArrayBuffer&& other) noexcept
    : buffer_(std::exchange(other.buffer_, {})),
      type_(other.type_),
      order_(other.order_),
      shape_(std::move(other.shape_)),
      strides_(std::move(other.strides_)) {}

ArrayView ArrayBuffer::view() const {
  return {
      .data = buffer_.buf, .type = type_, .shape = shape_, .strides = strides_, .order = order_};
}

}  // namespace tendon::python
