#include "weights/synthetic.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "base/error.h"
#include "base/half.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "base/text.h"
#include "weights/safetensors.h"

namespace tendon {
namespace {

// value = multiply * (offset + amplitude * u), rounded to `stored`.
struct Recipe {
  std::uint64_t hash = 0;
  bool fp64 = false;  // the laws' generator and arithmetic
  double offset = 0, amplitude = 0;
  float multiply = 1;
  DType stored = DType::f32;
};

const std::string& rule_name(const TensorSpec& t) {
  return t.rule_name.empty() ? t.name : t.rule_name;
}

double fan_in_scale(const Shape& shape) {
  double fan_in = 1;
  for (int i = 1; i < shape.rank(); ++i) fan_in *= static_cast<double>(shape[i]);
  return std::sqrt(3.0 / fan_in);
}

void set_by_law(const SyntheticRule& rule, const TensorSpec& t, Recipe& recipe) {
  recipe.fp64 = true;
  for (const SyntheticRule::Law& law : rule.laws) {
    if (law.rank && law.rank != t.shape.rank()) continue;
    if (!glob_match(law.glob, rule_name(t))) continue;
    recipe.offset = law.offset;
    recipe.amplitude = law.amplitude != 0 ? law.amplitude : fan_in_scale(t.shape);
    return;
  }
  fail("synthetic: no law fits the name '{}'", rule_name(t));
}

void set_by_scale(const SyntheticRule& rule, const TensorSpec& t, Recipe& recipe) {
  const bool matrix = t.shape.rank() >= 2;
  if (glob_match_any(rule.factors, rule_name(t))) {
    recipe.offset = 1;
    recipe.amplitude = 0.1f;
  } else if (rule.scale == SyntheticRule::Scale::tiny) {
    recipe.amplitude = matrix ? 0.125 : 0.25;
  } else {
    recipe.amplitude = matrix ? static_cast<float>(fan_in_scale(t.shape)) : 0.1f;
  }
}

bool names(const std::string& glob, const std::string& name) {
  return glob_match(glob, name) || glob_match("*." + glob, name);
}

Recipe make_recipe(const SyntheticRule& rule, const TensorSpec& t) {
  Recipe recipe;
  recipe.hash = fnv1a64(rule_name(t), fnv1a64(rule.prefix));
  recipe.stored = rule.stored_as.value_or(t.dtype);
  require(
      recipe.stored == DType::f32 || recipe.stored == DType::bf16 || recipe.stored == DType::f16,
      "synthetic: '{}' cannot be stored as {}", t.name, name(recipe.stored));
  if (rule.laws.empty()) {
    set_by_scale(rule, t, recipe);
  } else {
    set_by_law(rule, t, recipe);
  }
  for (const auto& [glob, factor] : rule.multiply) {
    if (names(glob, rule_name(t))) recipe.multiply *= factor;
  }
  return recipe;
}

void generate_fp32(const Recipe& recipe, std::uint64_t first, std::uint64_t stride,
                   std::span<float> out) {
  const std::uint64_t step = stride * kGoldenGamma;
  const float amplitude = static_cast<float>(recipe.amplitude);
  const float offset = static_cast<float>(recipe.offset), multiply = recipe.multiply;
  std::uint64_t z = recipe.hash + (first + 1) * kGoldenGamma;
  for (float& value : out) {
    value = (unit_from_bits(mix64(z)) * amplitude + offset) * multiply;
    z += step;
  }
}

void generate_fp64(const Recipe& recipe, std::uint64_t first, std::uint64_t stride,
                   std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double u = unit_from_bits(vector_bits(recipe.hash, first + i * stride));
    out[i] = static_cast<float>(recipe.offset + recipe.amplitude * u) * recipe.multiply;
  }
}

void generate(const Recipe& recipe, std::uint64_t first, std::uint64_t stride,
              std::span<float> out) {
  if (recipe.fp64) {
    generate_fp64(recipe, first, stride, out);
  } else {
    generate_fp32(recipe, first, stride, out);
  }
  if (recipe.stored == DType::bf16) {
    for (float& v : out) v = round_bf16(v);
  } else if (recipe.stored == DType::f16) {
    for (float& v : out) v = f16_to_f32(f32_to_f16(v));
  }
}

class SyntheticSource : public TensorSource {
 public:
  explicit SyntheticSource(const Recipe& recipe) : recipe_(recipe) {}

  void read(std::int64_t first, std::int64_t stride, std::int64_t count,
            float* out) const override {
    constexpr std::int64_t kBlock = 4096;  // stays in the first cache between the two passes
    for (std::int64_t at = 0; at < count; at += kBlock) {
      const std::int64_t n = std::min(kBlock, count - at);
      generate(recipe_, static_cast<std::uint64_t>(first + at * stride),
               static_cast<std::uint64_t>(stride), {out + at, static_cast<std::size_t>(n)});
    }
  }

 private:
  Recipe recipe_;
};

std::string describe(const Recipe& recipe, const TensorSpec& t) {
  return fmt::format("{}{}{:x};{};{};{};{}\n", t.name, t.shape.str(), recipe.hash, recipe.fp64,
                     recipe.offset, recipe.amplitude, recipe.multiply) +
         std::string(safetensors_name(recipe.stored));
}

// Values as they stand in a file.
std::span<const std::byte> encode(std::span<float> values, DType dtype,
                                  std::vector<std::uint16_t>& halves) {
  if (dtype == DType::f32) return std::as_bytes(values);
  halves.resize(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    halves[i] = dtype == DType::bf16 ? f32_to_bf16(values[i]) : f32_to_f16(values[i]);
  }
  return std::as_bytes(std::span(halves));
}

}  // namespace

SyntheticRule::Scale parse_synthetic_scale(std::string_view name) {
  if (name == "unit") return SyntheticRule::Scale::unit;
  if (name == "tiny") return SyntheticRule::Scale::tiny;
  fail("synthetic: rule '{}' is neither unit nor tiny", name);
}

Checkpoint synthetic_checkpoint(std::span<const TensorSpec> tensors, const SyntheticRule& rule) {
  Checkpoint checkpoint;
  checkpoint.set_origin("generated weights");
  Sha256 hash;
  for (const TensorSpec& t : tensors) {
    const Recipe recipe = make_recipe(rule, t);
    hash.update(describe(recipe, t));
    checkpoint.add(
        {t.name, t.name, recipe.stored, t.shape, std::make_unique<SyntheticSource>(recipe)});
  }
  checkpoint.set_fingerprint("generated-sha256:" + hash.hex());
  return checkpoint;
}

void fill_synthetic_input(std::string_view name, float scale, std::span<float> out) {
  Recipe recipe;
  recipe.hash = fnv1a64(name);
  recipe.amplitude = scale;
  generate_fp32(recipe, 0, 1, out);
}

void write_synthetic(const std::filesystem::path& path, const SyntheticFile& file,
                     const SyntheticRule& rule) {
  constexpr std::int64_t kPiece = 1 << 20;
  struct Job {
    std::size_t tensor;
    std::int64_t first, count;
  };
  std::vector<TensorSpec> specs = file.tensors;
  std::vector<Recipe> recipes;
  std::vector<Job> jobs;
  for (std::size_t t = 0; t < specs.size(); ++t) {
    recipes.push_back(make_recipe(rule, specs[t]));
    specs[t].dtype = recipes.back().stored;
    const std::int64_t n = specs[t].shape.numel();
    for (std::int64_t at = 0; at < n; at += kPiece)
      jobs.push_back({t, at, std::min(kPiece, n - at)});
  }
  SafetensorsWriter writer(path, specs, file.metadata);
  std::mutex mutex;
  std::size_t done = 0;
  parallel_for(static_cast<std::int64_t>(jobs.size()), file.threads, [&](std::int64_t j) {
    const Job& job = jobs[static_cast<std::size_t>(j)];
    const DType dtype = specs[job.tensor].dtype;
    std::vector<float> values(static_cast<std::size_t>(job.count));
    std::vector<std::uint16_t> halves;
    SyntheticSource(recipes[job.tensor]).read(job.first, 1, job.count, values.data());
    writer.write(job.tensor, static_cast<std::uint64_t>(job.first) * size_of(dtype),
                 encode(values, dtype, halves));
    const std::lock_guard lock(mutex);
    if (++done; file.progress) file.progress(static_cast<double>(done) / jobs.size());
  });
  writer.finish();
}

}  // namespace tendon
