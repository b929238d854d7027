#include "support/workload.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "weights/synthetic.h"

namespace tendon::support {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr const char* kSmallPi =
    R"({"vision_layers": 1, "vision_mlp": 64, "prefix_width": 64, "prefix_mlp": 64,
        "vocab": 1024})";
constexpr const char* kSmallLingBot =
    R"({"v_depth": 1, "v_full": [0], "v_mlp": 64, "width": 64, "mlp": 64, "vocab": 1024})";
constexpr const char* kSmallFastWam =
    R"({"video_hidden": 64, "video_ffn": 64, "vae_width": 32, "umt5_layers": 1, "umt5_ffn": 64,
        "vocab": 1024})";
constexpr Workload kWorkloads[] = {
    {"W1", "pi05", R"({"horizon": 10})", kSmallPi, 2, 20, 32, 0, 9, 3},
    {"W2", "pi05", "{}", kSmallPi, 3, 200, 200, 0, 13.5, 4},
    {"pi0", "pi0", "{}", kSmallPi, 3, 48, 48, 0},
    {"W3", "lingbot_vla", "{}", kSmallLingBot, 3, 72, 72, 0, 10, 4.5},
    {"W4", "fastwam", "{}", kSmallFastWam, 1, 128, 128, 128, 11, 6.5},
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void require_ok(const Status& status) { require(status.ok(), "{}", status.message()); }

}  // namespace

std::span<const Workload> workloads() { return kWorkloads; }

LoadedWorkload::LoadedWorkload(const Workload& w, const WorkloadOptions& options, Backend& backend)
    : workload_(w),
      family_(family(w.family)),
      host_resizes_(options.host_resizes),
      rules_(builtin_contract(family_.usual_contract).images),
      composer_(rules_.resize),
      table_(pixel_table(rules_)) {
  dims_ = family_.full_dims();
  dims_.merge_patch(json::parse(w.dims));
  if (options.steps_only) dims_.merge_patch(json::parse(w.small));
  if (!options.dims.is_null()) dims_.merge_patch(options.dims);
  std::vector<TensorSpec> specs = family_.tensors(dims_);
  for (TensorSpec& t : specs) {
    for (const auto& [name, rule] : family_.named_after) {
      if (t.name == name) t.rule_name = rule;
    }
  }
  SyntheticRule rule;
  rule.factors = family_.factors;
  checkpoint_ = synthetic_checkpoint(specs, rule);
  ModelOptions o;
  o.max_steps = 16;
  o.token_buckets = {w.capacity};
  o.camera_counts = {w.cameras};
  if (!host_resizes_) o.frame_pixels = std::int64_t{options.height} * options.width;
  for (const Picture& p : rules_.pictures) {
    o.picture_frames = std::max(o.picture_frames, static_cast<int>(p.cameras.size()));
  }
  model_ = family_.make(dims_, o, checkpoint_);
  auto program = std::make_unique<Program>();
  model_->record(*program);
  executable_ = backend.compile(std::move(program), {});
  make_pictures(options);
  make_input(options.pinned);
}

// As many pictures as the workload has cameras, by the rules of the family's usual contract.
void LoadedWorkload::make_pictures(const WorkloadOptions& options) {
  const Model::Dimensions d = model_->dimensions();
  set_picture_size(rules_, d.image_height, d.image_width);
  std::erase_if(rules_.pictures, [](const Picture& p) { return p.cameras.empty(); });
  const std::int64_t pixels = std::int64_t{options.height} * options.width;
  for (int i = 0; i < workload_.cameras; ++i) {
    PictureOf picture{.layout =
                          &rules_.pictures[static_cast<std::size_t>(i) % rules_.pictures.size()]};
    for (std::size_t k = 0; k < picture.layout->cameras.size(); ++k) {
      Camera camera{.height = options.height,
                    .width = options.width,
                    .number = k,
                    .maker = FrameMaker(rules_, *picture.layout, k, pixels)};
      std::vector<float> noise(static_cast<std::size_t>(pixels) * 3);
      fill_synthetic_input("input.camera" + std::to_string(4 * i) + std::to_string(k), 1.0f, noise);
      for (float v : noise) camera.bytes.push_back(static_cast<std::uint8_t>(127.5f + 127 * v));
      picture.cameras.push_back(std::move(camera));
    }
    picture.composed.resize(static_cast<std::size_t>(d.image_height * d.image_width * 3));
    picture.values.resize(picture.composed.size());
    picture.frames.resize(picture.cameras.size());
    pictures_.push_back(std::move(picture));
  }
}

void LoadedWorkload::make_input(int pinned) {
  const Model::Dimensions d = model_->dimensions();
  ModelSample sample;
  for (const PictureOf& p : pictures_) {
    if (host_resizes_) {
      sample.cameras.push_back(p.values.data());
    } else {
      sample.frames.push_back(p.frames);
    }
  }
  for (int i = 0; i < workload_.tokens; ++i) tokens_.push_back(3 + i * 37 % 1000);
  sample.tokens = tokens_;
  state_.resize(static_cast<std::size_t>(d.state));
  fill_synthetic_input("input.state", 1.0f, state_);
  sample.state = state_;
  if (workload_.context) {
    context_.resize(static_cast<std::size_t>(workload_.context) * 4096);
    fill_synthetic_input("input.context", 1.0f, context_);
    sample.context = context_;
    sample.tokens = {};
  }
  noise_.resize(static_cast<std::size_t>(d.horizon * d.action));
  fill_synthetic_input("input.noise", 2.0f, noise_);
  chunk_.resize(noise_.size());
  input_.samples = {sample};
  input_.noise = noise_;
  pinned_.resize(static_cast<std::size_t>(pinned * d.action));
  fill_synthetic_input("input.pinned", 1.0f, pinned_);
  input_.pinned = pinned_;
}

void LoadedWorkload::preprocess() {
  for (PictureOf& p : pictures_) {
    for (Camera& c : p.cameras) {
      const ImageView view{c.bytes.data(), c.height, c.width, std::ptrdiff_t{c.width} * 3};
      if (host_resizes_) {
        composer_.place(view, p.layout->cameras[c.number], *p.layout, p.composed.data());
      } else {
        p.frames[c.number] = c.maker.of(view, "camera");
      }
    }
    if (!host_resizes_) continue;
    const std::ptrdiff_t row = std::ptrdiff_t{p.layout->width} * 3;
    to_values({p.composed.data(), p.layout->height, p.layout->width, row}, table_, p.values.data());
  }
}

double LoadedWorkload::call() {
  StageRunner runner(*executable_);
  runner.begin();
  const auto start = Clock::now();
  preprocess();
  const Status status = model_->run(input_, runner, chunk_);
  const double seconds = seconds_since(start);
  require_ok(status);
  return seconds;
}

double LoadedWorkload::stage(const Model::StageTrace& s, int runs) {
  std::vector<double> all;
  for (int i = 0; i < runs; ++i) {
    const auto start = Clock::now();
    Status status = executable_->run(s.trace, 0, s.count);
    if (status.ok()) status = executable_->wait();
    require_ok(status);
    all.push_back(seconds_since(start));
  }
  std::nth_element(all.begin(), all.begin() + runs / 2, all.end());
  return all[static_cast<std::size_t>(runs / 2)];
}

std::vector<Model::StageTrace> LoadedWorkload::stages() const {
  return model_->stages(workload_.cameras, workload_.tokens, 10);
}

}  // namespace tendon::support
