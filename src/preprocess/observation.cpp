#include "preprocess/observation.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "preprocess/pixels.h"
#include "preprocess/robot.h"

namespace tendon {

namespace {

bool names_slot(const Picture& picture, std::string_view key) {
  if (picture.cameras.size() != 1 || key.empty()) return false;
  const std::string_view slot = picture.slot;
  return slot == key || (slot.starts_with(key) && slot.substr(key.size()).starts_with('_'));
}

// Index of the camera among all cameras, -1 where there is none.
int find_camera(const ImageRules& rules, std::string_view key) {
  int index = 0, by_slot = -1;
  for (const Picture& p : rules.pictures) {
    for (const Camera& c : p.cameras) {
      if (std::find(c.keys.begin(), c.keys.end(), key) != c.keys.end()) return index;
      if (by_slot < 0 && names_slot(p, key)) by_slot = index;
      ++index;
    }
  }
  return by_slot;
}

bool is_ignored(const ImageRules& rules, std::string_view key) {
  return std::find(rules.ignored.begin(), rules.ignored.end(), key) != rules.ignored.end();
}

}  // namespace

bool takes_image(const ImageRules& rules, std::string_view key) {
  return is_ignored(rules, key) || find_camera(rules, key) >= 0;
}

std::string camera_names(const ImageRules& rules) {
  std::string out;
  for (const Picture& p : rules.pictures) {
    for (const Camera& c : p.cameras) out += (out.empty() ? "" : ", ") + c.keys[0];
  }
  return out;
}

void assign_cameras(const ImageRules& rules, std::span<const ImageInput> images,
                    std::vector<const ImageInput*>& cameras) {
  cameras.clear();
  for (const Picture& p : rules.pictures)
    cameras.resize(cameras.size() + p.cameras.size(), nullptr);
  for (const ImageInput& image : images) {
    const int at = find_camera(rules, image.key);
    if (at < 0 && is_ignored(rules, image.key)) continue;
    if (at < 0)
      fail("camera \"{}\" is unknown; this contract takes {}", printable(image.key),
           camera_names(rules));
    if (cameras[at] != nullptr) fail("camera \"{}\" was given twice", printable(image.key));
    cameras[at] = &image;
  }
  std::size_t index = 0;
  for (const Picture& p : rules.pictures) {
    for (const Camera& c : p.cameras) {
      if (cameras[index] == nullptr && c.required)
        fail("camera {} is missing; this contract takes {}", c.keys[0], camera_names(rules));
      ++index;
    }
  }
}

namespace {

const VectorInput* find_vector(std::span<const VectorInput> vectors, std::string_view key) {
  const auto at = std::find_if(vectors.begin(), vectors.end(),
                               [&](const VectorInput& v) { return v.key == key; });
  return at == vectors.end() ? nullptr : &*at;
}

void append_part(const StatePart& part, const VectorInput& in, std::vector<double>& state) {
  const std::size_t wanted = part.form == StateForm::values ? part.width : 4;
  require(in.values.size() == wanted, "{}: {} numbers came, this contract takes {}", part.key,
          in.values.size(), wanted);
  if (part.form == StateForm::values) {
    state.insert(state.end(), in.values.begin(), in.values.end());
    return;
  }
  const std::span<const double, 4> q(in.values.data(), 4);
  const auto v = part.form == StateForm::quaternion ? rotation_vector(q) : rotation_vector_f32(q);
  state.insert(state.end(), v.begin(), v.end());
}

std::string source_names(const Contract& contract) {
  std::string out;
  for (const auto& source : contract.robot_rules.state_sources) {
    if (!out.empty()) out += ", or ";
    for (std::size_t i = 0; i < source.size(); ++i) {
      out += fmt::format("{}{} ({})", i ? " + " : "", source[i].key,
                         source[i].form == StateForm::values ? source[i].width : 4);
    }
  }
  return out;
}

// Parts of the first source that is there whole, or false.
bool collect_source(const std::vector<StatePart>& source, std::span<const VectorInput> vectors,
                    std::vector<double>& state) {
  for (const StatePart& part : source) {
    if (find_vector(vectors, part.key) == nullptr) return false;
  }
  for (const StatePart& part : source) append_part(part, *find_vector(vectors, part.key), state);
  return true;
}

}  // namespace

bool takes_vector(const Contract& contract, std::string_view key) {
  if (key == "state") return contract.state_dim > 0;
  for (const auto& source : contract.robot_rules.state_sources) {
    for (const StatePart& part : source) {
      if (part.key == key) return true;
    }
  }
  return false;
}

void collect_state(const Contract& contract, std::span<const VectorInput> vectors,
                   std::vector<double>& state) {
  state.clear();
  for (const VectorInput& v : vectors) {
    if (!takes_vector(contract, v.key))
      fail("state vector \"{}\" is unknown; this contract takes {}", printable(v.key),
           source_names(contract));
  }
  if (contract.state_dim == 0) return;
  bool found = false;
  for (const auto& source : contract.robot_rules.state_sources) {
    found = collect_source(source, vectors, state);
    if (found) break;
  }
  if (const VectorInput* whole = find_vector(vectors, "state"); !found && whole != nullptr) {
    state.assign(whole->values.begin(), whole->values.end());
    found = true;
  }
  if (!found) fail("the state is missing; this contract takes {}", source_names(contract));
  if (static_cast<int>(state.size()) != contract.state_dim)
    fail("the state has {} numbers, this contract takes {}: {}", state.size(), contract.state_dim,
         source_names(contract));
  for (std::size_t i = 0; i < state.size(); ++i) {
    require(std::isfinite(state[i]), "entry {} of the state is not finite", i);
  }
}

namespace {

std::size_t element_count(const ImageInput& input) {
  std::int64_t n = 1;
  for (const int d : input.shape) {
    if (d <= 0 || d > 16384) fail("image {}: a side of {} pixels", printable(input.key), d);
    n *= d;
  }
  if (n > std::int64_t{3} << 26 || input.data == nullptr)
    fail("image {}: no picture of {} numbers", printable(input.key), n);
  return static_cast<std::size_t>(n);
}

bool stands_first(const ImageInput& input, ChannelOrder contract) {
  const ChannelOrder order = input.channels == ChannelOrder::either ? contract : input.channels;
  return channels_at(input.shape, order, input.key) == ChannelsAt::first;
}

}  // namespace

ImageView ImageReader::bytes(const ImageInput& input, ChannelOrder order) {
  const std::size_t count = element_count(input);
  const bool first = stands_first(input, order);
  const int height = input.shape[first ? 1 : 0], width = input.shape[first ? 2 : 1];
  const auto* bytes = static_cast<const std::uint8_t*>(input.data);
  std::ptrdiff_t stride = input.row_bytes != 0 ? input.row_bytes : std::ptrdiff_t{width} * 3;
  if (input.dtype != DType::u8) {
    converted_.resize(count);
    if (input.dtype == DType::f32) {
      floats_to_bytes(static_cast<const float*>(input.data), count, converted_.data(), input.key);
    } else {
      if (input.dtype != DType::f64)
        fail("image {}: elements are {}; u8, f32 and f64 are taken", printable(input.key),
             name(input.dtype));
      floats_to_bytes(static_cast<const double*>(input.data), count, converted_.data(), input.key);
    }
    bytes = converted_.data();
    stride = std::ptrdiff_t{width} * 3;
  }
  if (first) {
    rows_.resize(count);
    planes_to_rows(bytes, height, width, rows_.data());
    return {rows_.data(), height, width, std::ptrdiff_t{width} * 3};
  }
  return {bytes, height, width, stride};
}

FloatView ImageReader::floats(const ImageInput& input, ChannelOrder order) {
  const std::size_t count = element_count(input);
  const bool first = stands_first(input, order);
  const int height = input.shape[first ? 1 : 0], width = input.shape[first ? 2 : 1];
  values_.resize(count);
  if (input.dtype == DType::u8) {
    const ImageView view = bytes(input, order);
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width * 3; ++x) {
        values_[static_cast<std::size_t>(y) * width * 3 + x] =
            static_cast<float>(view.row(y)[x]) / 255.0f;
      }
    }
    return {values_.data(), height, width};
  }
  if (input.dtype != DType::f32 && input.dtype != DType::f64)
    fail("image {}: elements are {}; u8, f32 and f64 are taken", printable(input.key),
         name(input.dtype));
  const std::size_t plane = static_cast<std::size_t>(height) * width;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t from = first ? (i % 3) * plane + i / 3 : i;
    const float v = input.dtype == DType::f32
                        ? static_cast<const float*>(input.data)[from]
                        : static_cast<float>(static_cast<const double*>(input.data)[from]);
    if (!std::isfinite(v)) fail("image {}: value {} is not finite", printable(input.key), from);
    values_[i] = v;
  }
  return {values_.data(), height, width};
}

void apply_pixel_rule(const ImageRules& rules, std::span<float> values) {
  const std::array<float, 3> mean{float(rules.mean[0]), float(rules.mean[1]), float(rules.mean[2])};
  const std::array<float, 3> std{float(rules.std[0]), float(rules.std[1]), float(rules.std[2])};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float v = values[i];
    values[i] =
        rules.pixels == PixelRule::standardised ? (v - mean[i % 3]) / std[i % 3] : v * 2.0f - 1.0f;
  }
}

}  // namespace tendon
