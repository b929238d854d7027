#include "c_api/session.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "c_api/sized.h"
#include "engine/blank_scene.h"

namespace tendon::c_api {
namespace {

constexpr ArrayType kTypes[] = {ArrayType::boolean, ArrayType::u8,  ArrayType::i8,  ArrayType::u16,
                                ArrayType::i16,     ArrayType::u32, ArrayType::i32, ArrayType::u64,
                                ArrayType::i64,     ArrayType::f16, ArrayType::f32, ArrayType::f64};
static_assert(static_cast<std::size_t>(TENDON_F64) + 1 == std::size(kTypes));
constexpr PinRule kPinRules[] = {PinRule::family, PinRule::conditioned, PinRule::renoised,
                                 PinRule::clamped};
static_assert(static_cast<std::size_t>(TENDON_PIN_CLAMPED) + 1 == std::size(kPinRules));

std::string text(const char* given) { return given == nullptr ? std::string() : given; }

LoadOptions load_options(const tendon_load_options& o) {
  LoadOptions options;
  if (o.device != nullptr) options.device = o.device;
  options.dtype = text(o.dtype);
  options.contract = text(o.contract);
  options.tokenizer = text(o.tokenizer);
  options.statistics = text(o.statistics);
  options.default_prompt = text(o.default_prompt);
  options.context = text(o.context);
  options.text_cache = text(o.text_cache);
  options.schedule = text(o.schedule);
  require(o.threads >= 0 && o.max_steps >= 0, "threads and max_steps: negative numbers came");
  options.threads = o.threads;
  if (o.max_steps > 0) options.max_steps = o.max_steps;
  options.truncate_prompt = o.truncate_prompt != 0;
  options.frame_pixels = o.frame_pixels;
  if (o.progress != nullptr) {
    options.progress = [tell = o.progress, user = o.user](std::string_view what, double done) {
      tell(std::string(what).c_str(), done, user);
    };
  }
  return options;
}

ArrayView view_of(const tendon_array& a) {
  require(a.key != nullptr, "an array of the observation has no key");
  require(a.dtype >= 0 && a.dtype <= TENDON_F64, "{}: dtype {} is none of TENDON_BOOL..TENDON_F64",
          a.key, a.dtype);
  require(a.rank >= 0 && a.rank <= 8, "{}: {} axes came, at most 8 are taken", a.key, a.rank);
  require(a.rank == 0 || a.shape != nullptr, "{}: shape is missing", a.key);
  require(a.data != nullptr, "{}: data is missing", a.key);
  const auto rank = static_cast<std::size_t>(a.rank);
  ArrayView view;
  view.data = a.data;
  view.type = kTypes[a.dtype];
  view.shape = {a.shape, rank};
  if (a.strides != nullptr) view.strides = {a.strides, rank};
  return view;
}

std::span<const float> numbers(const float* data, std::size_t count, const char* what) {
  require(data != nullptr || count == 0, "{}: {} numbers, but no array", what, count);
  return {data, data == nullptr ? 0 : count};
}

}  // namespace

Session::Session(const char* path, const tendon_load_options& o)
    : policy_(load(path, load_options(o))), builder_(policy_.info()), seed_(o.seed) {
  const PolicyInfo& info = policy_.info();
  require(o.execute >= 0 && o.execute <= info.horizon,
          "execute: {} rows of a chunk of {} cannot be served", o.execute, info.horizon);
  execute_ = o.execute > 0           ? o.execute
             : info.execute_rows > 0 ? std::min(info.execute_rows, info.horizon)
                                     : info.horizon;
}

const Observation& Session::read(const tendon_observation* given) {
  require(given != nullptr, "an observation is wanted: no action is left of the current chunk");
  const tendon_observation o = sized_input(given, "tendon_observation");
  require(o.arrays != nullptr || o.count == 0, "the observation has {} arrays, but none came",
          o.count);
  builder_.clear();
  for (const tendon_array& array : std::span(o.arrays, o.count)) {
    builder_.add(array.key == nullptr ? "" : array.key, view_of(array));
  }
  if (o.prompt != nullptr) builder_.add_text("prompt", o.prompt);
  const Observation& seen = builder_.observation();
  require(builder_.unknown().empty(), "{}: this policy takes no such input",
          builder_.unknown().empty() ? "" : builder_.unknown().front());
  return seen;
}

void Session::warm_up(const char* prompt) {
  const BlankScene scene(policy_.info(), text(prompt));
  Chunk dropped;
  const Status status = policy_.infer(scene.observation(), {}, dropped);
  require(status.ok(), "{}", status.message());
}

void Session::infer(const tendon_observation* observation, const tendon_infer_options* given) {
  const tendon_infer_options o = sized_input(given, "tendon_infer_options");
  const Observation& seen = read(observation);
  require(o.steps >= 0, "steps: {} came, a positive number is wanted", o.steps);
  InferOptions options;
  options.noise = numbers(o.noise, o.noise_count, "noise");
  options.pinned = numbers(o.pinned, o.pinned_count, "pinned");
  options.seed = o.seed != nullptr ? *o.seed : request_seed(seed_, request_);
  options.steps = o.steps;
  require(o.pin_rule >= TENDON_PIN_FAMILY && o.pin_rule <= TENDON_PIN_CLAMPED,
          "pin_rule {} is none of TENDON_PIN_FAMILY..TENDON_PIN_CLAMPED", o.pin_rule);
  options.pin_rule = kPinRules[o.pin_rule];
  options.shift = o.shift;
  left_ = 0;
  const Status status = policy_.infer(seen, options, chunk_);
  require(status.ok(), "{}", status.message());
  ++request_;
  timing_.resize(chunk_.timing.size());
  for (std::size_t i = 0; i < timing_.size(); ++i) {
    const auto& [part, seconds] = chunk_.timing[i];
    timing_[i] = {};
    part.copy(timing_[i].part, sizeof(timing_[i].part) - 1);
    timing_[i].seconds = seconds;
  }
  left_ = execute_;
}

std::span<const double> Session::next_action(const tendon_observation* observation,
                                             const tendon_infer_options* options) {
  if (left_ == 0) infer(observation, options);
  const auto width = static_cast<std::size_t>(chunk_.width);
  const auto row = static_cast<std::size_t>(execute_ - left_);
  --left_;
  return std::span<const double>(chunk_.actions).subspan(row * width, width);
}

void Session::reset() {
  left_ = 0;
  request_ = 0;
}

tendon_chunk Session::chunk() const {
  tendon_chunk c = TENDON_INIT(tendon_chunk);
  c.horizon = chunk_.horizon;
  c.width = chunk_.width;
  c.model_width = chunk_.model_width;
  c.timing_count = static_cast<std::int32_t>(timing_.size());
  c.actions = chunk_.actions.data();
  c.model_actions = chunk_.model_actions.data();
  c.timing = timing_.data();
  c.seconds = chunk_.seconds;
  return c;
}

tendon_info Session::info() const {
  const PolicyInfo& p = policy_.info();
  tendon_info i = TENDON_INIT(tendon_info);
  i.family = p.family.c_str();
  i.contract = p.contract.c_str();
  i.device = p.device.c_str();
  i.dtype = p.dtype.c_str();
  i.schedule = p.schedule.c_str();
  i.weights_fingerprint = p.weights_fingerprint.c_str();
  i.statistics_sha256 = p.statistics_sha256.c_str();
  i.tokenizer_sha256 = p.tokenizer_sha256.c_str();
  i.metadata_json = p.metadata_json.c_str();
  i.horizon = p.horizon;
  i.width = p.width;
  i.model_width = p.model_width;
  i.default_steps = p.default_steps;
  i.execute = execute_;
  i.input_count = static_cast<std::int32_t>(p.inputs.size());
  i.control_hz = p.control_hz;
  i.weight_bytes = p.weight_bytes;
  i.buffer_bytes = p.buffer_bytes;
  i.arena_bytes = p.arena_bytes;
  return i;
}

tendon_input Session::input(int index) const {
  const auto& inputs = policy_.info().inputs;
  require(index >= 0 && static_cast<std::size_t>(index) < inputs.size(),
          "input {}: this policy has {}", index, inputs.size());
  const PolicyInfo::Input& p = inputs[static_cast<std::size_t>(index)];
  tendon_input i = TENDON_INIT(tendon_input);
  i.key = p.key.c_str();
  i.slot = p.slot.c_str();
  i.count = p.size;
  i.required = p.required ? 1 : 0;
  return i;
}

}  // namespace tendon::c_api
