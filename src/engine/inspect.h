// What a policy is made of and where its time goes: for commands that look inside.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "ops/backend.h"
#include "tendon/tendon.h"

namespace tendon {

class CeilingMeter;

struct Inspection {
  struct TensorRow {
    std::string name, dtype, shape;
    std::size_t bytes = 0;
    bool used = false;  // by inference
  };
  struct TraceRow {
    std::string name;
    std::size_t ops = 0, arena = 0;  // bytes of intermediates
    double flops = 0;
  };
  std::string family, contract, dtype, fingerprint;
  std::string contract_json, dims_json;
  std::vector<PolicyInfo::Input> inputs;            // of an observation
  std::vector<TensorRow> tensors;                   // sorted by name
  std::vector<TraceRow> traces;                     // every stage of every bucket
  std::size_t weights = 0, buffers = 0, arena = 0;  // bytes; weights as the working type holds them
  std::vector<std::string> degenerate;  // statistics whose range is too small to divide by
};

// Reads headers only: no weight is packed. Throws Error as load() does.
Inspection inspect(const std::filesystem::path& path, const LoadOptions& options);

// One stage of a call, step by step.
struct StageProfile {
  std::string stage, trace;
  int count = 1;  // runs of the trace in one call
  std::vector<Executable::StepTime> steps;
};
std::vector<StageProfile> profile_stages(Policy& policy, int cameras, int tokens, int steps,
                                         int repetitions);

// What this machine does at best: products of many rows and of few, and memory, per second.
struct DeviceLimits {
  double flops = 0, few_row_flops = 0, bytes = 0;
  std::size_t samples = 0;
};

// Measures them a sample at a time (0.2 to 0.5 s), to be taken in turns with calls of a policy, and
// holds what it needs, 0.4 to 0.9 GB. Throws Error.
class LimitsMeter {
 public:
  LimitsMeter(const std::string& device, const std::string& dtype, int threads);
  ~LimitsMeter();
  void sample();
  DeviceLimits median() const;  // of at least one sample

 private:
  std::unique_ptr<CeilingMeter> meter_;
};

// Every op of every stage of one call on a backend against the reference, given the same operands.
struct OpCheck {
  std::string stage, label, op;
  double error = 0, bound = 0;  // relative, over the rows compared
  std::size_t rows = 0;
  bool passed = false;
};
struct OpCheckOptions {
  int cameras = 1, tokens = 16, steps = 2;
};
// `report` hears each op; ops in place whose operands a later op overwrites are left out. Throws
// Error.
void check_ops(const std::filesystem::path& path, const LoadOptions& options,
               const OpCheckOptions& what, const std::function<void(const OpCheck&)>& report);

// Families and built-in contracts as tables of words.
struct FamilyRow {
  std::string name, summary, stages;
  std::vector<std::pair<std::string, std::string>> options;  // option, what it means here
};
std::vector<FamilyRow> list_families();
struct ContractRow {
  std::string name, family, robot, normalisation, prompt;
  int horizon = 0, capacity = 0, state = 0, returned = 0;
};
std::vector<ContractRow> list_contracts();
std::string contract_text(const std::string& name);  // its JSON

}  // namespace tendon
