#include "backends/cuda/weights.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "base/parallel.h"

namespace tendon::cuda {
namespace {

// The driver rounds an allocation up to a page. A pool holds several of the matrices that are no
// whole pages (pi0.5's and LingBot-VLA's vision: 3 to 18 MB), so that little is left over in it.
constexpr std::size_t kStaging = 64u << 20, kPool = 40u << 20, kPage = 2u << 20;

std::size_t bytes_of(const Weight& weight, DType dtype) {
  return static_cast<std::size_t>(weight.shape.numel()) * size_of(dtype);
}

// Copies stored bf16 values; refuses NaN and infinity, as Weight::read does.
void copy_finite(const Weight& weight, const std::uint16_t* from, std::int64_t n, std::byte* out) {
  std::memcpy(out, from, static_cast<std::size_t>(n) * 2);
  std::uint32_t bad = 0;
  for (std::int64_t i = 0; i < n; ++i) bad |= (from[i] & 0x7f80u) == 0x7f80u;
  require(bad == 0, "weight {}: it holds NaN or infinity", weight.name);
}

}  // namespace

WeightStore::WeightStore(const Program& program, int threads)
    : program_(&program), threads_(threads) {
  check(cudaStreamCreateWithFlags(stream_.put(), cudaStreamNonBlocking), "creating a stream");
  std::size_t largest = 0;
  for (const Weight& w : program.weights) largest = std::max(largest, bytes_of(w, DType::f32));
  for (int i = 0; i < 2; ++i) {
    staging_[i] = PinnedMemory(std::min(kStaging, largest));
    check(cudaEventCreateWithFlags(sent_[i].put(), cudaEventDisableTiming), "creating an event");
  }
}

std::byte* WeightStore::allocate(std::size_t bytes) {
  bytes = (bytes + 255) / 256 * 256;
  auto pool = std::find_if(pools_.begin(), pools_.end(),
                           [&](const Pool& p) { return p.used + bytes <= p.memory.size(); });
  if (pool == pools_.end()) {
    pools_.push_back({DeviceMemory(std::max(kPool, bytes), "the weights"), 0});
    pool = pools_.end() - 1;
  }
  std::byte* at = pool->memory.data() + pool->used;
  pool->used += bytes;
  bytes_ += bytes;
  return at;
}

void WeightStore::fill(const Weight& weight, DType dtype, std::int64_t first, std::int64_t count,
                       std::byte* out) const {
  const std::int64_t width = weight.shape.numel() / weight.shape[0];
  const bool rounded = weight.format == Format::bf16;
  if (weight.raw && weight.raw_dtype == DType::bf16 && dtype == DType::bf16) {
    copy_finite(weight, static_cast<const std::uint16_t*>(weight.raw) + first * width,
                count * width, out);
    return;
  }
  std::vector<float> values(static_cast<std::size_t>(count * width));
  weight.read(first, count, values.data());
  if (dtype == DType::bf16) {
    std::uint16_t* to = reinterpret_cast<std::uint16_t*>(out);
    for (std::size_t i = 0; i < values.size(); ++i) to[i] = f32_to_bf16(values[i]);
    return;
  }
  if (rounded) {
    for (float& v : values) v = round_bf16(v);
  }
  std::memcpy(out, values.data(), values.size() * sizeof(float));
}

void WeightStore::upload(WeightRef ref, DType dtype, std::byte* to) {
  const Weight& weight = program_->weight(ref);
  require(static_cast<bool>(weight.read) || weight.raw, "weight {}: it has no reader", weight.name);
  read_.insert(ref.id);
  const std::int64_t rows = weight.shape[0];
  const std::size_t row = bytes_of(weight, dtype) / static_cast<std::size_t>(rows);
  require(row <= staging_[0].size(), "weight {}: a row of {} bytes is too wide", weight.name, row);
  const std::int64_t chunk = static_cast<std::int64_t>(staging_[0].size() / row);
  const std::int64_t block = std::max<std::int64_t>(1, static_cast<std::int64_t>((1u << 20) / row));
  for (std::int64_t first = 0; first < rows; first += chunk) {
    const std::int64_t count = std::min(chunk, rows - first);
    const int slot = next_;
    next_ ^= 1;
    check(cudaEventSynchronize(sent_[slot].get()), "uploading weights");
    std::byte* host = staging_[slot].data();
    parallel_for((count + block - 1) / block, threads_, [&](std::int64_t b) {
      const std::int64_t at = b * block, n = std::min(block, count - at);
      fill(weight, dtype, first + at, n, host + static_cast<std::size_t>(at) * row);
    });
    check(cudaMemcpyAsync(to + static_cast<std::size_t>(first) * row, host,
                          static_cast<std::size_t>(count) * row, cudaMemcpyHostToDevice,
                          stream_.get()),
          "uploading weights");
    check(cudaEventRecord(sent_[slot].get(), stream_.get()), "uploading weights");
  }
  check(cudaStreamSynchronize(stream_.get()), "uploading weights");
}

const void* WeightStore::place(const Key& key, Stay stay) {
  if (const auto it = placed_.find(key); it != placed_.end()) return it->second;
  const std::size_t one = bytes_of(program_->weight({key.a}), key.dtype);
  const std::size_t bytes = key.b < 0 ? one : 2 * one;
  std::byte* to = nullptr;
  const bool whole_pages = bytes % kPage == 0;
  if (whole_pages || (stay == Stay::until_given_back && bytes >= kPage)) {
    DeviceMemory memory(bytes, "the weights");
    to = memory.data();
    large_.emplace(key, std::move(memory));
    bytes_ += bytes;
  } else {
    to = allocate(bytes);
  }
  upload({key.a}, key.dtype, to);
  if (key.b >= 0) upload({key.b}, key.dtype, to + one);
  return placed_[key] = to;
}

const void* WeightStore::matrix(WeightRef ref, DType dtype) {
  const Key key{ref.id, -1, dtype};
  kept_.insert(key);
  return place(key, Stay::always);
}

const void* WeightStore::joined(WeightRef a, WeightRef b, DType dtype) {
  const Key key{a.id, b.id, dtype};
  kept_.insert(key);
  return place(key, Stay::always);
}

const void* WeightStore::borrow(WeightRef a, WeightRef b, DType dtype) {
  return place({a.id, b.id, dtype}, Stay::until_given_back);
}

void WeightStore::give_back(WeightRef a, WeightRef b, DType dtype) {
  const Key key{a.id, b.id, dtype};
  const auto it = large_.find(key);
  if (it == large_.end() || kept_.count(key)) return;
  bytes_ -= it->second.size();
  large_.erase(it);
  placed_.erase(key);
}

const float* WeightStore::vector(WeightRef ref) {
  return ref ? static_cast<const float*>(matrix(ref, DType::f32)) : nullptr;
}

const void* WeightStore::vector_bf16(WeightRef ref) {
  return ref ? matrix(ref, DType::bf16) : nullptr;
}

void WeightStore::release() {
  for (const std::int32_t id : read_) {
    const Weight& weight = program_->weight({id});
    if (weight.release) weight.release();
  }
  for (PinnedMemory& staging : staging_) staging = PinnedMemory();
}

}  // namespace tendon::cuda
