#include "engine/golden.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "base/error.h"
#include "base/text.h"
#include "engine/golden_stages.h"
#include "engine/recording.h"

namespace tendon {

using nlohmann::json;

namespace {

using Verdict = GoldenResult::Verdict;

const json* find_run(const json& c, std::string_view precision, std::string_view schedule) {
  for (const json& run : c.at("runs")) {
    if (run.at("precision") == precision && (schedule.empty() || run.at("schedule") == schedule)) {
      return &run;
    }
  }
  return nullptr;
}

std::optional<std::vector<int>> rows_of(const json& run, const std::string& stage) {
  if (!run.contains("rows") || !run["rows"].contains(stage)) return std::nullopt;
  return run["rows"][stage].get<std::vector<int>>();
}

// What the original's own rounding costs at a stage, all rows or the stored ones, whichever is
// more.
std::optional<double> recorded_error(const json& run, std::string_view against,
                                     std::string_view schedule, const std::string& stage) {
  std::optional<double> found;
  for (const json& entry : run.value("errors", json::array())) {
    const std::string entry_schedule =
        entry.value("schedule", run.at("schedule").get<std::string>());
    if (entry.at("against") != against || (!schedule.empty() && entry_schedule != schedule))
      continue;
    for (const char* kind : {"relative_error", "relative_error_stored_rows"}) {
      if (!entry.contains(kind) || !entry[kind].contains(stage)) continue;
      found = std::max(found.value_or(0.0), entry[kind][stage].get<double>());
    }
  }
  return found;
}

std::size_t free_memory() {
  std::ifstream info("/proc/meminfo");
  std::string key, unit;
  std::size_t kib = 0;
  while (info >> key >> kib >> unit) {
    if (key == "MemAvailable:") return kib * 1024;
  }
  return std::size_t{8} << 30;
}

// One case in one dtype and schedule.
class Replay {
 public:
  Replay(const GoldenOptions& options, const Recording& recording, const json& c, DType dtype,
         std::string schedule)
      : options_(options), recording_(recording), case_(c), dtype_(dtype) {
    result_.file = recording.name();
    result_.name = c.at("name").get<std::string>();
    result_.family = recording.family_of(c);
    result_.dtype = name(dtype);
    result_.schedule = std::move(schedule);
  }

  GoldenResult run() {
    try {
      if (fits()) play();
    } catch (const Error& e) {
      result_.verdict = Verdict::failed;
      result_.reason = e.what();
    }
    return std::move(result_);
  }

 private:
  bool fits() {
    const Family& f = family(result_.family);
    double bytes = 0;
    for (const TensorSpec& t : f.tensors(recording_.dims_of(case_))) {
      const bool unused = std::any_of(f.unused.begin(), f.unused.end(),
                                      [&](const std::string& g) { return glob_match(g, t.name); });
      if (!unused) bytes += static_cast<double>(t.shape.numel()) * 4.0;
    }
    const double limit = static_cast<double>(options_.memory ? options_.memory : free_memory());
    if (bytes <= limit * 0.9) return true;
    result_.verdict = Verdict::skipped;
    result_.reason = fmt::format("needs about {:.1f} GB of memory, {:.1f} GB are free",
                                 bytes * 1e-9, limit * 1e-9);
    return false;
  }

  Checkpoint weights(const Family& f, const json& dims) {
    std::vector<TensorSpec> specs = f.tensors(dims);
    for (TensorSpec& t : specs) {
      t.dtype = recording_.stored_as(t.name);
      for (const auto& [name, rule] : f.named_after) {
        if (t.name == name) t.rule_name = rule;
      }
    }
    return synthetic_checkpoint(specs, recording_.rule_of(case_));
  }

  ModelOptions model_options(const RecordedCall& call, const json& dims) const {
    ModelOptions o;
    o.working = dtype_;
    o.bf16_schedule = result_.schedule == "bf16";
    o.batch = static_cast<int>(call.input.samples.size());
    o.max_steps = call.input.steps + call.input.steps / 16 + 1;  // bf16 times may take a few more
    std::size_t tokens = 1, cameras = 1;
    for (const ModelSample& s : call.input.samples) {
      tokens = std::max(tokens, s.tokens.size());
      cameras = std::max<std::size_t>(
          cameras, static_cast<std::size_t>(std::count_if(s.cameras.begin(), s.cameras.end(),
                                                          [](const float* p) { return p; })));
    }
    const int capacity = family(result_.family).dimensions(dims).token_capacity;
    o.token_buckets = {std::min(capacity, static_cast<int>(tokens) + 3)};  // some padding stays
    o.camera_counts = {static_cast<int>(cameras)};
    return o;
  }

  // Text rows for a call that gives tokens to a family with a text encoder of its own; its stages.
  StagePieces encode_text(const Family& f, const json& dims, const Checkpoint& checkpoint,
                          RecordedCall& call) const {
    StagePieces pieces;
    if (f.make_text_encoder == nullptr) return pieces;
    const std::unique_ptr<TextEncoder> encoder = f.make_text_encoder(dims, dtype_, checkpoint);
    const std::unique_ptr<Backend> backend = options_.backend();
    for (ModelSample& s : call.input.samples) {
      if (!s.context.empty()) continue;
      call.floats.push_back(
          encoder->encode(s.tokens, *backend, [&](Executable& e, std::size_t trace) {
            StageCollector collector(e, call);
            collector.after("text", trace, 0);
            pieces.merge(collector.pieces());
          }));
      s.context = call.floats.back();
    }
    return pieces;
  }

  void play() {
    const Family& f = family(result_.family);
    const json dims = recording_.dims_of(case_);
    const RecordedInputs inputs = recording_.inputs_of(case_);
    RecordedCall call = f.recorded_call(dims, case_, inputs);
    Checkpoint checkpoint = weights(f, dims);
    StagePieces text = encode_text(f, dims, checkpoint, call);
    const std::unique_ptr<Model> model = f.make(dims, model_options(call, dims), checkpoint);
    auto program = std::make_unique<Program>();
    program->record_taps = true;
    model->record(*program);
    const std::unique_ptr<Backend> backend = options_.backend();
    const auto executable =
        backend->compile(std::move(program), {.threads = options_.threads, .progress = {}});
    StageCollector collector(*executable, call);
    collector.pieces() = std::move(text);
    StageRunner runner(*executable, &collector);
    const Model::Dimensions d = model->dimensions();
    std::vector<float> chunk(call.input.samples.size() * static_cast<std::size_t>(d.horizon) *
                             static_cast<std::size_t>(d.action));
    const Status status = model->run(call.input, runner, chunk);
    require(status.ok(), "{}", status.message());
    const std::string final_stage = recording_.record().at("final").get<std::string>();
    const Shape shape{static_cast<std::int64_t>(call.input.samples.size()), d.horizon, d.action};
    collector.pieces()[final_stage] = {StagePiece{
        .shape = shape, .values = chunk, .iteration = std::max(call.input.steps - 1, 1)}};
    judge(collector.pieces(), call);
  }

  void judge(const StagePieces& pieces, const RecordedCall& call) {
    pieces_ = &pieces;
    if (dtype_ == DType::f32) {
      judge_f32(pieces, call);
    } else {
      judge_bf16(pieces, call);
    }
    std::vector<double> ratios;
    for (const GoldenStage& s : result_.stages) ratios.push_back(s.ratio);
    std::sort(ratios.begin(), ratios.end());
    result_.worst = ratios.empty() ? 0 : ratios.back();
    result_.median = ratios.empty() ? 0 : ratios[(ratios.size() - 1) / 2];
    const bool all = std::all_of(result_.stages.begin(), result_.stages.end(),
                                 [](const GoldenStage& s) { return s.passed; });
    const bool middle = dtype_ == DType::f32 || result_.median <= options_.median;
    if (ratios.empty()) {
      result_.verdict = Verdict::skipped;
      result_.reason = "the recording has no reference to judge this by";
    } else {
      result_.verdict = all && middle ? Verdict::passed : Verdict::failed;
      if (!all)
        result_.reason = "a stage is over its bound";
      else if (!middle)
        result_.reason = "the median stage is over its bound";
    }
  }

  void judge_f32(const StagePieces& pieces, const RecordedCall& call) {
    const json* run = find_run(case_, "f32", result_.schedule);
    const json bounds = recording_.record().at("bounds").value("f32", json::object());
    if (run == nullptr || bounds.empty()) return;
    const std::string final_stage = recording_.record().at("final").get<std::string>();
    for (const auto& [stage, tensor] : run->at("stages").items()) {
      const auto found = pieces.find(stage);
      if (found == pieces.end()) {
        if (!of_absent_camera(stage, pieces, call)) result_.unmatched.push_back(stage);
        continue;
      }
      const json& b = bounds.at(stage == final_stage ? "final" : "stage");
      const Bound bound{b.value("abs", 0.0), b.value("rel", 0.0)};
      const Distance d = compare(found->second, recording_.tensor(tensor.get<std::string>()),
                                 rows_of(*run, stage), call, bound);
      if (d.compared == 0) continue;
      result_.stages.push_back({stage, d.worst, d.worst_bound, d.worst_ratio, d.worst_ratio <= 1});
    }
  }

  // Whether another camera shows the stage and the one it names was not given.
  static bool of_absent_camera(const std::string& stage, const StagePieces& pieces,
                               const RecordedCall& call) {
    for (const auto& [sample, slot] : call.cameras) {
      const std::size_t at = stage.find_first_of("0123456789");
      if (at == std::string::npos) return false;
      std::string other = stage;
      other.replace(at, 1, std::to_string(slot));
      const auto found = pieces.find(other);
      if (other != stage && found != pieces.end() && found->second.front().sample >= 0) return true;
    }
    return false;
  }

  // Some step counts have the same times in both schedules; then all stages may be compared.
  bool same_times(const json& run) const {
    const auto ours = pieces_->find("times");
    if (ours == pieces_->end() || !run.at("stages").contains("times")) return false;
    const RecordedInput theirs = recording_.tensor(run["stages"]["times"].get<std::string>());
    const std::vector<float>& values = ours->second.front().values;
    return theirs.values.size() <= values.size() &&
           std::equal(theirs.values.begin(), theirs.values.end(), values.begin());
  }

  // The reference run for a stage and what the original's error to it was.
  struct Reference {
    const json* run = nullptr;
    double error = 0;
  };
  std::optional<Reference> reference(const json& bf16, const std::string& stage,
                                     const std::string& error_name, bool first_step) const {
    for (const char* precision : {"f32", "f32_weights_bf16"}) {
      const json* run = find_run(case_, precision, result_.schedule);
      const auto error = recorded_error(bf16, precision, result_.schedule, error_name);
      if (run && run->at("stages").contains(stage) && error) return Reference{run, *error};
    }
    const json* run = find_run(case_, "f32", {});
    if (run == nullptr || !run->at("stages").contains(stage)) return std::nullopt;
    if (!first_step && !same_times(*run)) return std::nullopt;
    auto error = recorded_error(bf16, "f32", run->at("schedule").get<std::string>(), error_name);
    if (!error) error = recorded_error(bf16, "f32", {}, error_name);
    if (!error) return std::nullopt;
    return Reference{run, *error};
  }

  void judge_stage(const json& bf16, const std::string& stage, const std::string& error_name,
                   std::span<const StagePiece> pieces, const RecordedCall& call) {
    const bool first = std::all_of(pieces.begin(), pieces.end(),
                                   [](const StagePiece& p) { return p.iteration == 0; });
    const auto ref = reference(bf16, stage, error_name, first);
    if (!ref) return;
    const std::string tensor = ref->run->at("stages").at(stage).get<std::string>();
    const Distance d =
        compare(pieces, recording_.tensor(tensor), rows_of(*ref->run, stage), call, {});
    if (d.compared == 0) return;
    // Where the original keeps full precision the engine must too, to fp32's rounding.
    const double bound = std::max(ref->error, 1e-6);
    const double ratio = d.relative() / bound;
    result_.stages.push_back({error_name, d.relative(), bound, ratio, ratio <= options_.any});
  }

  void judge_bf16(const StagePieces& pieces, const RecordedCall& call) {
    const json* bf16 = find_run(case_, "bf16", result_.schedule);
    if (bf16 == nullptr) return;
    for (const auto& [stage, all] : pieces) {
      if (!all.front().stacked) {
        judge_stage(*bf16, stage, stage, all, call);
        continue;
      }
      for (const StagePiece& one : all) {
        const std::string step = std::to_string(one.iteration);
        const std::size_t before = result_.stages.size();
        judge_stage(*bf16, stage, stage + "." + step, {&one, 1}, call);
        if (result_.stages.size() == before) {
          judge_stage(*bf16, stage, stage + ".step" + step, {&one, 1}, call);
        }
      }
    }
  }

  const GoldenOptions& options_;
  const Recording& recording_;
  const json& case_;
  DType dtype_;
  const StagePieces* pieces_ = nullptr;
  GoldenResult result_;
};

// The (dtype, schedule) pairs that a case can be judged in.
std::vector<std::pair<DType, std::string>> modes(const json& c, const std::string& dtype) {
  std::vector<std::pair<DType, std::string>> all;
  for (const json& run : c.at("runs")) {
    const std::string precision = run.at("precision"), schedule = run.at("schedule");
    if (precision == "f32" && dtype != "bf16") all.emplace_back(DType::f32, schedule);
    if (precision == "bf16" && dtype != "f32") all.emplace_back(DType::bf16, schedule);
  }
  return all;
}

}  // namespace

std::vector<GoldenResult> run_goldens(const GoldenOptions& options,
                                      const std::function<void(const GoldenResult&)>& report) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(options.folder, error)) {
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  require(!error, "{}: the folder cannot be read: {}", options.folder.string(), error.message());
  std::sort(files.begin(), files.end());
  std::vector<GoldenResult> results;
  bool any = false;
  for (const auto& file : files) {
    const std::unique_ptr<Recording> recording = Recording::open(file);
    if (!recording) continue;
    any = true;
    for (const json& c : recording->record().at("cases")) {
      const std::string name = c.at("name");
      if (!glob_match(options.cases, name) &&
          !glob_match(options.cases, recording->name() + "/" + name)) {
        continue;
      }
      for (const auto& [dtype, schedule] : modes(c, options.dtype)) {
        results.push_back(Replay(options, *recording, c, dtype, schedule).run());
        if (report) report(results.back());
      }
    }
  }
  require(any, "{}: no recording (a JSON with a \"record\" block) is here",
          options.folder.string());
  return results;
}

}  // namespace tendon
