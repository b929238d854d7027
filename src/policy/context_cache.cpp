#include "policy/context_cache.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/hash.h"
#include "base/npy.h"
#include "weights/checkpoint.h"
#include "weights/safetensors.h"

namespace tendon {
namespace {

struct Rows {
  Shape shape;
  std::vector<float> values;
};

Rows read_tensor(const Checkpoint& file, const std::string& name) {
  const CheckpointTensor* t = file.find(name);
  require(t != nullptr, "{}: no tensor \"{}\" is in it", file.origin(), name);
  Rows rows{t->shape, std::vector<float>(static_cast<std::size_t>(t->shape.numel()))};
  t->source->read(0, 1, t->shape.numel(), rows.values.data());
  return rows;
}

// How many rows count, from a mask of any integer type.
std::int64_t counted(const StoredTensor& mask, const std::string& file) {
  const std::size_t size = size_of(mask.dtype), n = mask.bytes.size() / size;
  auto set = [&](std::size_t i) {
    const auto bytes = mask.bytes.subspan(i * size, size);
    return std::any_of(bytes.begin(), bytes.end(), [](std::byte b) { return b != std::byte{0}; });
  };
  std::size_t count = 0;
  while (count < n && set(count)) ++count;
  for (std::size_t i = count; i < n; ++i) {
    require(!set(i), "{}: the rows that \"mask\" counts do not come first", file);
  }
  return static_cast<std::int64_t>(count);
}

Rows read_safetensors(const std::filesystem::path& file) {
  Safetensors tensors = Safetensors::open(file);
  const StoredTensor* mask = tensors.find("mask");
  const std::int64_t valid = mask ? counted(*mask, file.string()) : -1;
  Rows rows = read_tensor(Checkpoint(std::move(tensors)), "context");
  if (rows.shape.rank() == 3 && rows.shape[0] == 1) rows.shape = {rows.shape[1], rows.shape[2]};
  if (valid >= 0 && rows.shape.rank() == 2) {
    require(valid <= rows.shape[0], "{}: \"mask\" has more rows than \"context\"", file.string());
    rows.shape[0] = valid;
    rows.values.resize(static_cast<std::size_t>(rows.shape.numel()));
  }
  return rows;
}

Rows read_rows(const std::filesystem::path& file) {
  if (file.extension() == ".safetensors") return read_safetensors(file);
  require(file.extension() == ".npy", "{}: text rows are read from .npy and .safetensors files",
          file.string());
  const NpyArray array = read_npy(file);
  return {array.shape, array.to_f32()};
}

}  // namespace

ContextCache::ContextCache(std::filesystem::path folder, std::string encoder, int width)
    : folder_(std::move(folder)), encoder_(std::move(encoder)), width_(width) {}

std::filesystem::path ContextCache::file_of(std::span<const std::int32_t> ids) const {
  Sha256 hash;
  hash.update(encoder_ + "\n");
  hash.update(std::as_bytes(ids));
  return folder_ / (hash.hex() + ".safetensors");
}

std::optional<std::vector<float>> ContextCache::find(std::span<const std::int32_t> ids) const {
  const std::filesystem::path path = file_of(ids);
  if (!std::filesystem::exists(path)) return std::nullopt;
  const Checkpoint file(Safetensors::open(path));
  Rows rows = read_tensor(file, "context");
  const auto encoder = file.metadata().find("encoder");
  require(encoder != file.metadata().end() && encoder->second == encoder_ &&
              rows.shape == Shape({static_cast<std::int64_t>(ids.size()), width_}),
          "{}: these are not the text rows that its name says; remove the file", path.string());
  return std::move(rows.values);
}

void ContextCache::store(std::span<const std::int32_t> ids, std::span<const float> rows) const {
  const auto count = static_cast<std::int64_t>(ids.size());
  require(rows.size() == ids.size() * static_cast<std::size_t>(width_),
          "text rows: {} numbers for {} tokens of width {}", rows.size(), ids.size(), width_);
  std::filesystem::create_directories(folder_);
  const std::vector<TensorSpec> specs = {{"context", DType::f32, {count, width_}, {}}};
  SafetensorsWriter writer(file_of(ids), specs, {{"encoder", encoder_}});
  writer.write(0, 0, std::as_bytes(rows));
  writer.finish();
}

std::vector<float> read_context(const std::filesystem::path& file, int width) {
  Rows rows = read_rows(file);
  require(rows.shape.rank() == 2 && rows.shape[1] == width,
          "{}: text rows [T, {}] are wanted, {} came", file.string(), width, rows.shape.str());
  require(
      std::all_of(rows.values.begin(), rows.values.end(), [](float v) { return std::isfinite(v); }),
      "{}: a number is not finite", file.string());
  auto last =
      std::find_if(rows.values.rbegin(), rows.values.rend(), [](float v) { return v != 0; });
  const auto used = static_cast<std::size_t>(rows.values.rend() - last);
  const auto wide = static_cast<std::size_t>(width);
  rows.values.resize((used + wide - 1) / wide * wide);
  require(!rows.values.empty(), "{}: there are no text rows but padding in it", file.string());
  return std::move(rows.values);
}

}  // namespace tendon
