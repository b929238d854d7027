// Arrays of Python, read in place through the buffer protocol.
#pragma once

#include <Python.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "tendon/arrays.h"

namespace tendon::python {

// Keeps an exporter's memory where it is. Made and destroyed with the interpreter's lock held;
// view() needs no lock.
class ArrayBuffer {
 public:
  // Throws Error naming `key` where `object` shows no array of numbers.
  ArrayBuffer(std::string_view key, PyObject* object);
  ~ArrayBuffer();
  ArrayBuffer(ArrayBuffer&& other) noexcept;
  ArrayBuffer& operator=(ArrayBuffer&&) = delete;

  ArrayView view() const;  // valid while this lives, also after it has moved

 private:
  Py_buffer buffer_{};
  ArrayType type_ = ArrayType::u8;
  ByteOrder order_ = ByteOrder::little;
  std::vector<std::int64_t> shape_, strides_;
};

}  // namespace tendon::python
