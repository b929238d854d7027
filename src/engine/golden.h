// Recorded outputs of the original code, replayed: every stage of every case against the recording.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "ops/backend.h"

namespace tendon {

struct GoldenOptions {
  std::filesystem::path folder;  // every *.json in it that has a "record" block is read
  std::string cases = "*";       // glob over case names, or FILE/CASE
  std::string dtype;             // "f32", "bf16"; empty: both
  std::function<std::unique_ptr<Backend>()> backend;
  int threads = 0;
  std::size_t memory = 0;  // bytes a case may take; 0: what the machine has free
  // Factors on the recorded relative error, for bf16: of any stage, and of the median stage.
  double any = 1.5, median = 1.25;
};

struct GoldenStage {
  std::string name;
  double error = 0;  // f32: largest absolute difference; bf16: relative error
  double bound = 0;  // f32: at the worst element; bf16: what the original's own rounding costs
  double ratio = 0;  // error over bound; f32 passes up to 1, bf16 up to GoldenOptions::any
  bool passed = false;
};

struct GoldenResult {
  enum class Verdict { passed, failed, skipped };
  std::string file, name, family, dtype, schedule;
  Verdict verdict = Verdict::failed;
  std::string reason;  // of a skip or a failure
  std::vector<GoldenStage> stages;
  std::vector<std::string> unmatched;  // recorded stages that the engine does not show
  double worst = 0, median = 0;        // ratios
};

// Runs what is found, in order; `report` hears each result as it comes. Throws Error on a folder
// without recordings or a malformed one.
std::vector<GoldenResult> run_goldens(const GoldenOptions& options,
                                      const std::function<void(const GoldenResult&)>& report);

}  // namespace tendon
