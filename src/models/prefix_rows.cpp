#include "models/prefix_rows.h"

#include <algorithm>

#include "models/pictures.h"
#include "nn/tables.h"

namespace tendon {
namespace {

// After softmax in fp32 the probability is exactly 0.
constexpr float kHidden = -2.3819763e38f;

}  // namespace

PrefixRows::PrefixRows(const Layout& layout, const ModelOptions& options)
    : layout_(layout), options_(options) {
  const auto batch = static_cast<std::size_t>(options.batch);
  const auto rows = batch * static_cast<std::size_t>(max_rows());
  host_ids_.resize(batch * static_cast<std::size_t>(options.token_buckets.back()));
  host_packing_.resize(rows);
  host_positions_.resize(rows);
  host_bias_.resize(rows);
  host_lengths_.resize(batch);
  valid_.resize(batch);
}

int PrefixRows::rows(const PrefixKey& key) const {
  const std::int64_t cameras = options_.savings.drop_masked ? key.cameras : layout_.slots;
  return static_cast<int>(layout_.image_rows * cameras) + key.tokens;
}

int PrefixRows::max_rows() const {
  return rows({options_.camera_counts.back(), options_.token_buckets.back()});
}

void PrefixRows::add_buffers(Program& program) {
  const std::int64_t batch = options_.batch, tokens = options_.token_buckets.back();
  const std::int64_t cameras = batch * options_.camera_counts.back(), rows = max_rows();
  parts_ = program.add(
      {"parts", options_.working, {cameras * layout_.image_rows + batch * tokens, layout_.width}});
  ids_ = program.add({"ids", DType::i32, {batch, tokens}});
  packing_ = program.add({"packing", DType::i32, {batch, rows}});
  positions_ = program.add({"prefix_positions", DType::i32, {batch, rows}});
  lengths_ = program.add({"lengths", DType::i32, {batch}});
  if (!options_.savings.drop_masked) bias_ = program.add({"hidden", DType::f32, {batch, rows}});
}

Value PrefixRows::image_tokens(Trace& trace, int cameras) const {
  return trace.buffer(parts_, {cameras, layout_.image_rows, layout_.width});
}

Value PrefixRows::record(const nn::Recorder& r, const PrefixKey& key, WeightRef table,
                         float scale) const {
  Trace& t = r.trace();
  const std::int64_t batch = options_.batch, text = batch * key.tokens;
  const Value parts = t.buffer(parts_);
  const std::int64_t images = t.shape(parts)[0] - batch * options_.token_buckets.back();
  t.add(ops::Embed{.ids = t.buffer(ids_, {text}),
                   .table = table,
                   .scale = scale,
                   .out = t.rows(parts, images, text)},
        r.name("embed"));
  const Value x = t.make(options_.working, {batch, rows(key), layout_.width});
  t.add(ops::GatherRows{.x = parts, .index = t.buffer(packing_, {batch * rows(key)}), .out = x},
        r.name("pack"));
  return x;
}

Value PrefixRows::positions(Trace& trace, const PrefixKey& key) const {
  return trace.buffer(positions_, {options_.batch, rows(key)});
}

ops::Attention::Keys PrefixRows::keys(Trace& trace, Value k, Value v, const PrefixKey& key) const {
  ops::Attention::Keys keys{.k = k, .v = v, .length = trace.buffer(lengths_)};
  if (bias_) keys.bias = trace.buffer(bias_, {options_.batch, rows(key)});
  return keys;
}

Status PrefixRows::fit(const ModelInput& input, PrefixKey& key) const noexcept {
  if (input.samples.size() != static_cast<std::size_t>(options_.batch)) {
    return Status("the number of samples is not the batch the policy was loaded for");
  }
  PrefixKey needed;
  for (const ModelSample& s : input.samples) {
    if (camera_slots(s) > static_cast<std::size_t>(layout_.slots)) {
      return Status("more cameras than the model has slots");
    }
    needed.cameras = std::max(needed.cameras, present_cameras(s));
    needed.tokens = std::max(needed.tokens, static_cast<int>(s.tokens.size()));
  }
  if (!options_.savings.drop_masked) needed.tokens = options_.token_buckets.back();
  const int camera = nn::bucket_index(options_.camera_counts, needed.cameras);
  const int tokens = nn::bucket_index(options_.token_buckets, needed.tokens);
  if (camera < 0) return Status("more cameras than the policy was loaded for");
  if (tokens < 0) return Status("the prompt has more tokens than the contract's capacity");
  key = {options_.camera_counts[static_cast<std::size_t>(camera)],
         options_.token_buckets[static_cast<std::size_t>(tokens)]};
  return {};
}

std::size_t PrefixRows::index(const PrefixKey& key) const noexcept {
  const int camera = nn::bucket_index(options_.camera_counts, key.cameras);
  const int tokens = nn::bucket_index(options_.token_buckets, key.tokens);
  return static_cast<std::size_t>(camera) * options_.token_buckets.size() +
         static_cast<std::size_t>(tokens);
}

void PrefixRows::pack(const ModelInput& input, std::size_t sample, const PrefixKey& key,
                      int& camera) noexcept {
  const ModelSample& s = input.samples[sample];
  const int n = static_cast<int>(layout_.image_rows), per_sample = rows(key);
  const int images = options_.batch * options_.camera_counts.back() * n;
  const std::size_t base = sample * static_cast<std::size_t>(per_sample);
  int row = 0, position = 0;
  auto put = [&](int part) {
    const std::size_t at = base + static_cast<std::size_t>(row++);
    host_packing_[at] = part;
    host_bias_[at] = part < 0 ? kHidden : 0.0f;
    host_positions_[at] = part < 0 ? std::max(position - 1, 0) : position++;
  };
  const bool keep = !options_.savings.drop_masked;
  const std::size_t slots = keep ? static_cast<std::size_t>(layout_.slots) : camera_slots(s);
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const bool here = has_camera(s, slot);
    if (!here && !keep) continue;
    for (int p = 0; p < n; ++p) put(here ? camera * n + p : -1);
    if (here) ++camera;
  }
  const int text = static_cast<int>(sample) * key.tokens;
  for (std::size_t i = 0; i < s.tokens.size(); ++i) {
    host_ids_[static_cast<std::size_t>(text) + i] = s.tokens[i];
    put(images + text + static_cast<int>(i));
  }
  valid_[sample] = position;
  host_lengths_[sample] = keep ? per_sample : position;
  while (row < per_sample) put(-1);
}

void PrefixRows::write(const ModelInput& input, const PrefixKey& key,
                       StageRunner& runner) noexcept {
  std::fill(host_ids_.begin(), host_ids_.end(), 0);
  int camera = 0;
  for (std::size_t b = 0; b < input.samples.size(); ++b) pack(input, b, key, camera);
  const std::size_t used = input.samples.size() * static_cast<std::size_t>(rows(key));
  runner.write<std::int32_t>(ids_, host_ids_);
  runner.write<std::int32_t>(packing_, std::span(host_packing_).first(used));
  runner.write<std::int32_t>(positions_, std::span(host_positions_).first(used));
  runner.write<std::int32_t>(lengths_, host_lengths_);
  if (bias_) runner.write<float>(bias_, std::span(host_bias_).first(used));
}

}  // namespace tendon
