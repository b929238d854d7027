#include "engine/loader.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/json_file.h"
#include "engine/backends.h"
#include "engine/text_rows.h"
#include "preprocess/contract_source.h"
#include "preprocess/describe_inputs.h"
#include "preprocess/tokenizer.h"

namespace tendon {

using nlohmann::json;

namespace {

// The family whose marks are all among the names as it would rename them.
const Family* recognise(const Safetensors& files) {
  for (const Family& f : families()) {
    std::size_t found = 0;
    for (const std::string& mark : f.marks) {
      found += std::any_of(files.tensors().begin(), files.tensors().end(), [&](const auto& t) {
        return apply_rules(f.name_rules, t.name) == mark ||
               (f.published_name && f.published_name(t.name) == mark);
      });
    }
    if (!f.marks.empty() && found == f.marks.size()) return &f;
  }
  return nullptr;
}

constexpr std::pair<std::string_view, TimeSchedule> kSchedules[] = {
    {"exact", TimeSchedule::exact},
    {"bf16", TimeSchedule::bf16},
    {"divided", TimeSchedule::divided}};

TimeSchedule schedule_named(std::string_view name) {
  for (const auto& [known, schedule] : kSchedules) {
    if (known == name) return schedule;
  }
  fail("schedule \"{}\": exact, bf16 or divided is wanted", name);
}

std::string_view name_of(TimeSchedule schedule) {
  for (const auto& [name, known] : kSchedules) {
    if (known == schedule) return name;
  }
  return {};
}

// The working type: what was asked for, else what most of the stored matrices have.
DType dtype_of(const Checkpoint& checkpoint, const std::string& asked) {
  if (asked == "f32") return DType::f32;
  if (asked == "bf16") return DType::bf16;
  require(asked.empty(), "dtype \"{}\": f32 or bf16 is wanted", asked);
  double narrow = 0, all = 0;
  for (const auto& t : checkpoint.tensors()) {
    const double n = static_cast<double>(t->shape.numel());
    all += n;
    if (t->dtype != DType::f32) narrow += n;
  }
  return narrow * 2 > all ? DType::bf16 : DType::f32;
}

std::vector<NamedArray> read_arrays(const std::filesystem::path& file) {
  Checkpoint arrays(Safetensors::open(file));
  std::vector<NamedArray> all;
  for (const auto& t : arrays.tensors()) {
    NamedArray a{t->name, std::vector<float>(static_cast<std::size_t>(t->shape.numel()))};
    t->source->read(0, 1, t->shape.numel(), a.values.data());
    all.push_back(std::move(a));
  }
  return all;
}

// All files of a family: the tensors named "part:.." beside "policy:" lie in part.safetensors, or
// in the folder `part`.
Checkpoint open_weights(Safetensors policy, const Family& f, const std::filesystem::path& folder) {
  std::set<std::string> parts;
  for (const TensorSpec& t : f.tensors(f.mini_dims())) {
    if (const auto colon = t.name.find(':'); colon != std::string::npos) {
      parts.insert(t.name.substr(0, colon));
    }
  }
  if (parts.empty()) return Checkpoint(std::move(policy), f.name_rules);
  Checkpoint all;
  all.merge(Checkpoint(std::move(policy), f.name_rules), "policy:");
  parts.erase("policy");
  for (const std::string& part : parts) {
    for (const auto& path : {folder / (part + ".safetensors"), folder / part}) {
      if (!std::filesystem::exists(path)) continue;
      all.merge(Checkpoint(Safetensors::open(path), f.name_rules), part + ":");
      break;
    }
  }
  return all;
}

// Null where the model takes tokens.
std::unique_ptr<TextRows> text_rows(const Source& source, const LoadOptions& options) {
  const Family& f = *source.family;
  if (f.make_text_encoder == nullptr) return nullptr;
  TextRowsParts parts;
  if (source.checkpoint.has(f.text_mark)) {
    parts.encoder = f.make_text_encoder(source.dims, source.dtype, source.checkpoint);
    parts.backend = make_backend(options.device);
  }
  parts.encoder_name = source.checkpoint.fingerprint() + " " + std::string(name(source.dtype));
  parts.file = options.context;
  parts.cache = options.text_cache;
  parts.width = f.dimensions(source.dims).context_width;
  return make_text_rows(std::move(parts));
}

}  // namespace

json known_dims(const std::filesystem::path& folder, const Contract& contract) {
  json known = {{"horizon", contract.horizon},
                {"prompt_len", contract.prompt.capacity},
                {"cameras", contract.images.pictures.size()},
                {"action_dim", contract.action_dim},
                {"state_dim", contract.state_width},
                {"image_height", contract.images.pictures.front().height},
                {"image_width", contract.images.pictures.front().width}};
  const auto file = folder / "tendon.json";
  if (!folder.empty() && std::filesystem::exists(file)) {
    const json all = read_json_file(file);
    if (all.contains("dims")) known.update(all["dims"]);
  }
  return known;
}

Source open_source(const std::filesystem::path& path, const LoadOptions& options) {
  require(std::filesystem::exists(path), "{}: there is no such file or folder", path.string());
  Source s;
  s.folder = std::filesystem::is_directory(path) ? path : path.parent_path();
  Safetensors files = Safetensors::open(path);
  const Family* seen = recognise(files);
  s.contract = resolve_contract(
      s.folder, {.asked = options.contract, .model = seen ? std::string(seen->name) : ""});
  s.family = &family(s.contract.model);
  require(
      seen == nullptr || seen == s.family,
      "{}: the weights are those of {}, the contract {} is for {}: pass --contract with one for {}",
      path.string(), seen ? seen->name : "", s.contract.name, s.contract.model,
      seen ? seen->name : "");
  if (!options.schedule.empty()) s.contract.schedule = schedule_named(options.schedule);
  s.statistics = resolve_statistics(s.folder, s.contract, options.statistics, read_arrays);
  s.checkpoint = open_weights(std::move(files), *s.family, s.folder);
  if (s.family->define_tensors) s.family->define_tensors(s.checkpoint);
  s.dims = s.family->dims_of(s.checkpoint, known_dims(s.folder, s.contract));
  s.dtype = dtype_of(s.checkpoint, options.dtype);
  return s;
}

ModelOptions model_options(const Source& source, const LoadOptions& options) {
  const Contract& c = source.contract;
  ModelOptions m;
  m.working = source.dtype;
  m.bf16_schedule = c.schedule == TimeSchedule::bf16;
  m.divided_schedule = c.schedule == TimeSchedule::divided;
  m.bf16_rope = c.rope == RopeTable::bf16;
  m.batch = options.batch;
  m.max_steps = std::max(options.max_steps, c.steps);
  // Padding stays under 16 rows, under 8 where prompts are short and the model small.
  const int apart = c.prompt.capacity > 64 ? 16 : 8;
  for (int n = apart; n < c.prompt.capacity; n += apart) m.token_buckets.push_back(n);
  m.token_buckets.push_back(std::max(c.prompt.capacity, 1));
  require(options.frame_pixels >= 0, "frame_pixels: {} came", options.frame_pixels);
  m.frame_pixels = options.frame_pixels;
  for (const Picture& p : c.images.pictures) {
    m.picture_frames = std::max(m.picture_frames, static_cast<int>(p.cameras.size()));
  }
  const int slots = std::max<int>(1, static_cast<int>(c.images.pictures.size()));
  for (int n = 1; n <= slots; ++n) m.camera_counts.push_back(n);
  return m;
}

Compiled compile_model(Source& source, const ModelOptions& model, const LoadOptions& options,
                       Backend& backend) {
  Compiled all;
  all.model = source.family->make(source.dims, model, source.checkpoint);
  auto program = std::make_unique<Program>();
  all.model->record(*program);
  all.executable = backend.compile(std::move(program),
                                   {.threads = options.threads, .progress = options.progress});
  return all;
}

Policy::Impl::Impl(Source source, const LoadOptions& options) : source_(std::move(source)) {
  require(options.batch > 0, "batch: at least 1 is wanted, {} came", options.batch);
  const std::unique_ptr<Backend> backend = make_backend(options.device);
  PolicyParts parts;
  parts.default_prompt = options.default_prompt;
  parts.text_rows = text_rows(source_, options);
  std::unique_ptr<Tokenizer> tokenizer;
  for (int b = 0; b < options.batch; ++b) {
    tokenizer = load_tokenizer(
        options.tokenizer.empty() ? source_.folder : std::filesystem::path(options.tokenizer));
    info.tokenizer_sha256 = tokenizer->content_hash();
    parts.preprocessors.emplace_back(source_.contract, source_.statistics, std::move(tokenizer),
                                     PreprocessOptions{.truncate_prompt = options.truncate_prompt,
                                                       .frame_pixels = options.frame_pixels});
  }
  Compiled compiled = compile_model(source_, model_options(source_, options), options, *backend);
  parts.model = std::move(compiled.model);
  parts.executable = std::move(compiled.executable);
  core_ = std::make_unique<PolicyCore>(std::move(parts));
  constexpr double kHostWarmUp = 5e11;  // FLOP: a few seconds of two cores
  core_->warm_up(backend->name() == "cuda" ? HUGE_VAL : kHostWarmUp);
  describe(*backend, options);
}

void Policy::Impl::describe(const Backend& backend, const LoadOptions& options) {
  const Contract& c = source_.contract;
  const Model::Dimensions d = core_->model().dimensions();
  info.family = source_.family->name;
  info.contract = c.name;
  info.device = backend.description();
  info.dtype = name(source_.dtype);
  info.schedule = name_of(c.schedule);
  info.weights_fingerprint = source_.checkpoint.fingerprint();
  if (std::filesystem::exists(source_.statistics.origin)) {
    info.statistics_sha256 = sha256_file(source_.statistics.origin);
  }
  describe_inputs(c, info);
  info.needs_prompt = options.default_prompt.empty() && !c.prompt.fallback;
  info.horizon = d.horizon;
  info.width = c.returned_dims;
  info.model_width = d.action;
  info.default_steps = c.steps;
  info.execute_rows = c.execute_rows;
  info.control_hz = c.control_hz;
  json metadata = json::object();
  if (!c.robot_rules.reset_pose.empty()) metadata["reset_pose"] = c.robot_rules.reset_pose;
  info.metadata_json = metadata.dump();
  const MemoryReport memory = core_->executable().memory();
  info.weight_bytes = memory.weights;
  info.buffer_bytes = memory.buffers;
  info.arena_bytes = memory.arena;
}

}  // namespace tendon
