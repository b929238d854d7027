#include "python/policy.h"

#include <span>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "python/array_buffer.h"

namespace nb = nanobind;

namespace tendon::python {
namespace {

Policy load_unlocked(const std::string& path, const LoadOptions& options) {
  const nb::gil_scoped_release release;
  return load(path, options);
}

std::string_view text_of(nb::handle value) {
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(value.ptr(), &size);
  if (text == nullptr) throw nb::python_error();
  return {text, static_cast<std::size_t>(size)};
}

// Dense fp32 numbers of an optional array; `keep` holds them.
std::span<const float> numbers(std::string_view what, const nb::object& array,
                               std::vector<ArrayBuffer>& keep) {
  if (array.is_none()) return {};
  const ArrayView view = keep.emplace_back(what, array.ptr()).view();
  std::size_t count = 1;
  auto dense = static_cast<std::int64_t>(sizeof(float));
  for (std::size_t i = view.shape.size(); i-- > 0;) {
    require(view.shape[i] == 1 || view.strides[i] == dense, "{}: a dense array is wanted", what);
    dense *= view.shape[i];
    count *= static_cast<std::size_t>(view.shape[i]);
  }
  require(view.type == ArrayType::f32, "{}: float32 is wanted, {} came", what, name(view.type));
  return {static_cast<const float*>(view.data), count};
}

}  // namespace

// What a call refers to, with everything of Python's already looked up. `texts` live in objects
// that the caller holds.
struct SharedPolicy::Parsed {
  std::vector<std::pair<std::string_view, std::string_view>> texts;
  std::vector<std::pair<std::string_view, ArrayBuffer>> arrays;
  std::vector<std::string_view> others;

  explicit Parsed(const nb::list& items) {
    arrays.reserve(items.size());
    for (nb::handle item : items) {
      const nb::tuple pair = nb::cast<nb::tuple>(item);
      const std::string_view key = text_of(pair[0]);
      const nb::handle value = pair[1];
      if (PyUnicode_Check(value.ptr())) {
        texts.emplace_back(key, text_of(value));
      } else if (PyBytes_Check(value.ptr())) {
        texts.emplace_back(
            key, std::string_view(PyBytes_AS_STRING(value.ptr()),
                                  static_cast<std::size_t>(PyBytes_GET_SIZE(value.ptr()))));
      } else if (value.is_none()) {
        others.push_back(key);
      } else {
        arrays.emplace_back(key, ArrayBuffer(key, value.ptr()));
      }
    }
  }
};

SharedPolicy::SharedPolicy(const std::string& path, const LoadOptions& options,
                           SessionOptions session)
    : policy_(load_unlocked(path, options)),
      builder_(policy_.info()),
      seed_(session.seed),
      strict_(session.strict) {}

Chunk SharedPolicy::infer(const nb::list& items, const Call& call) {
  const Parsed parsed(items);
  std::vector<ArrayBuffer> kept;
  kept.reserve(2);
  InferOptions options;
  options.noise = numbers("noise", call.noise, kept);
  options.pinned = numbers("pinned", call.pinned, kept);
  options.steps = call.steps;
  options.shift = call.shift;
  options.pin_rule = call.pin_rule;
  require(call.steps >= 0, "steps: {} came, a positive number is wanted", call.steps);
  const nb::gil_scoped_release release;
  const std::lock_guard lock(mutex_);
  builder_.clear();
  for (const auto& [key, text] : parsed.texts) builder_.add_text(key, text);
  for (const auto& [key, array] : parsed.arrays) builder_.add(key, array.view());
  for (const std::string_view key : parsed.others) builder_.add_other(key);
  const Observation& seen = builder_.observation();
  if (strict_ && !builder_.unknown().empty()) {
    fail("{}: this policy takes no such input, and strict=True was asked for",
         list_some(builder_.unknown(), 12));
  }
  options.seed = call.seed ? *call.seed : request_seed(seed_, request_);
  Chunk chunk;
  const Status status = policy_.infer(seen, options, chunk);
  require(status.ok(), "{}", status.message());
  if (call.counts == Counts::as_request) ++request_;
  return chunk;
}

void SharedPolicy::reset(std::optional<std::uint64_t> seed) {
  const nb::gil_scoped_release release;
  const std::lock_guard lock(mutex_);
  if (seed) seed_ = *seed;
  request_ = 0;
}

}  // namespace tendon::python
