#include "engine/inspect.h"

#include <algorithm>
#include <set>

#include "backends/cpu/ceilings.h"
#include "base/error.h"
#include "engine/loader.h"
#include "ops/arena.h"
#include "preprocess/describe_inputs.h"

namespace tendon {

using nlohmann::json;

namespace {

std::set<std::string> names_read(const Program& program) {
  std::set<std::string> names;
  for (const Weight& w : program.weights) {
    std::size_t at = 0;
    while (at <= w.name.size()) {
      const std::size_t bar = std::min(w.name.find('|', at), w.name.size());
      names.insert(w.name.substr(at, bar - at));
      at = bar + 1;
    }
  }
  return names;
}

std::size_t packed_bytes(const Weight& w) {
  const std::size_t width = w.format == Format::f32 || w.shape.rank() == 1 ? 4 : 2;
  return static_cast<std::size_t>(w.shape.numel()) * width;
}

std::string scaling_name(Scaling s) {
  switch (s) {
    case Scaling::identity:
      return "identity";
    case Scaling::mean_std:
      return "mean/std";
    case Scaling::std_only:
      return "std";
    case Scaling::min_max:
      return "min/max";
    case Scaling::quantile:
      return "quantile";
  }
  return "";
}

}  // namespace

Inspection inspect(const std::filesystem::path& path, const LoadOptions& options) {
  Source source = open_source(path, options);
  Inspection all;
  all.family = source.family->name;
  all.contract = source.contract.name;
  all.dtype = name(source.dtype);
  all.fingerprint = source.checkpoint.fingerprint();
  all.contract_json = to_json(source.contract).dump(1);
  all.dims_json = source.dims.dump();
  PolicyInfo described;
  describe_inputs(source.contract, described);
  all.inputs = std::move(described.inputs);
  const std::unique_ptr<Model> model =
      source.family->make(source.dims, model_options(source, options), source.checkpoint);
  Program program;
  model->record(program);
  const std::set<std::string> used = names_read(program);
  for (const auto& t : source.checkpoint.tensors()) {
    all.tensors.push_back({t->name, std::string(name(t->dtype)), t->shape.str(),
                           static_cast<std::size_t>(t->shape.numel()) * size_of(t->dtype),
                           used.contains(t->name)});
  }
  std::sort(all.tensors.begin(), all.tensors.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  for (const Weight& w : program.weights) all.weights += packed_bytes(w);
  for (const BufferSpec& b : program.buffers) {
    all.buffers += static_cast<std::size_t>(b.shape.numel()) * size_of(b.dtype);
  }
  for (const Trace& t : program.traces) {
    double flops = 0;
    for (const Op& op : t.ops()) flops += cost(op, t).flops;
    all.traces.push_back({t.name(), t.ops().size(), plan_arena(t).bytes, flops});
    all.arena = std::max(all.arena, all.traces.back().arena);
  }
  for (const Degenerate& d : degenerate_dimensions(source.statistics, source.contract)) {
    all.degenerate.push_back(fmt::format("{}[{}]: range {:.3g}", d.vector, d.dimension, d.range));
  }
  return all;
}

std::vector<StageProfile> profile_stages(Policy& policy, int cameras, int tokens, int steps,
                                         int repetitions) {
  PolicyCore& core = policy.impl().core();
  // The buffers hold the latest call: a plan for fewer tokens than it had would not fit them.
  tokens = std::max(tokens, core.latest_tokens());
  std::vector<StageProfile> all;
  for (const Model::StageTrace& s : core.model().stages(cameras, tokens, steps)) {
    all.push_back({std::string(s.stage), core.executable().program().traces[s.trace].name(),
                   s.count, core.executable().profile(s.trace, repetitions)});
  }
  return all;
}

namespace {

// Before anything is allocated.
DType measured_dtype(const std::string& device, const std::string& dtype) {
  require(device == "cpu", "limits: the device {} has no measurement of its own here", device);
  return dtype == "f32" ? DType::f32 : DType::bf16;
}

}  // namespace

LimitsMeter::LimitsMeter(const std::string& device, const std::string& dtype, int threads)
    : meter_(std::make_unique<CeilingMeter>(measured_dtype(device, dtype), threads)) {}

LimitsMeter::~LimitsMeter() = default;

void LimitsMeter::sample() { meter_->sample(); }

DeviceLimits LimitsMeter::median() const {
  const Ceilings c = meter_->median();
  return {c.large.flops, c.few_rows.flops, c.stream_bytes, c.samples};
}

std::vector<FamilyRow> list_families() {
  std::vector<FamilyRow> rows;
  for (const Family& f : families()) {
    FamilyRow row{std::string(f.name), std::string(f.summary), {}, {}};
    for (std::string_view stage : f.stages) {
      row.stages += (row.stages.empty() ? "" : ", ") + std::string(stage);
    }
    for (const Capability& c : f.capabilities) row.options.emplace_back(c.option, c.meaning);
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<ContractRow> list_contracts() {
  std::vector<ContractRow> rows;
  for (const Contract& c : builtin_contracts()) {
    rows.push_back({c.name, c.model, c.robot, scaling_name(c.state.scaling),
                    c.prompt.state_in_prompt() ? "with state" : "text", c.horizon,
                    c.prompt.capacity, c.state_dim, c.returned_dims});
  }
  return rows;
}

std::string contract_text(const std::string& name) {
  return to_json(builtin_contract(name)).dump(1);
}

}  // namespace tendon
