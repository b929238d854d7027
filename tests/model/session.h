// For tests of whole models: recorded cases, generated or altered weights, and a model with all it
// shows of a call.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "engine/golden_stages.h"
#include "engine/recording.h"
#include "models/family.h"

namespace tendon::testing {

// A case of a recording with its inputs. `call` refers to them: not movable.
class RecordedCase {
 public:
  // RecordedCase("pi05_cases", "a_two_cameras").
  RecordedCase(const std::string& file, const std::string& name);
  RecordedCase(const RecordedCase&) = delete;
  RecordedCase& operator=(const RecordedCase&) = delete;

  const Recording& recording() const { return *recording_; }
  const Family& family() const { return *family_; }
  const nlohmann::json& dims() const { return dims_; }
  Checkpoint weights() const;
  // A stage of the fp32 run at exact times.
  RecordedInput expected(const std::string& stage) const;
  // fp32, the batch and prompt capacity of the case.
  ModelOptions options() const;

 private:
  std::unique_ptr<Recording> recording_;
  nlohmann::json case_, dims_;
  const Family* family_ = nullptr;
  RecordedInputs inputs_;

 public:
  RecordedCall call;
};

// Weights of published names by rule `unit` for any dimensions.
Checkpoint generated(const Family& family, const nlohmann::json& dims);

// The same tensors with other values where a name matches the glob; independent of `from`.
using Change = std::function<void(std::vector<float>& values, const Shape& shape)>;
Checkpoint altered(const Checkpoint& from,
                   const std::vector<std::pair<std::string, Change>>& changes);
// All values of a tensor.
std::vector<float> values_of(const Checkpoint& checkpoint, const std::string& name);
inline void zero(std::vector<float>& values, const Shape&) {
  std::fill(values.begin(), values.end(), 0.0f);
}

enum class Taps : std::uint8_t { off, on };
struct Setup {
  Taps taps = Taps::off;
  std::string device = "reference";
};

// A compiled model. `checkpoint` is kept.
class Session {
 public:
  Session(const Family& family, const nlohmann::json& dims, const ModelOptions& options,
          Checkpoint checkpoint, const Setup& setup = {});
  // The case's own weights and dimensions.
  explicit Session(const RecordedCase& c, Taps taps = Taps::off)
      : Session(c.family(), c.dims(), c.options(), c.weights(), {.taps = taps}) {}
  Session(const RecordedCase& c, const ModelOptions& options)
      : Session(c.family(), c.dims(), options, c.weights()) {}

  // The chunk; a failing run fails the test. With taps, stages() are those of the latest run.
  std::vector<float> run(const RecordedCall& call);
  std::vector<float> run(const ModelInput& input, StageObserver* observer = nullptr);
  // Pieces of a stage in the order they were computed; the last one.
  const std::vector<StagePiece>& pieces(const std::string& name) const;
  const StagePiece& stage(const std::string& name) const { return pieces(name).back(); }
  // What a buffer holds now.
  std::vector<float> buffer(const std::string& name);
  Executable& executable() { return *executable_; }
  Model& model() { return *model_; }

 private:
  Checkpoint checkpoint_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Executable> executable_;
  Taps taps_;
  StagePieces stages_;
};

double largest_difference(std::span<const float> a, std::span<const float> b);

// The case's call without pictures, its prompt replaced; `tokens` must outlive it.
RecordedCall prompt_only(const RecordedCase& c, std::span<const std::int32_t> tokens);
// Of a prompt that holds one token 16 times: keys [16] wide, `pitch` floats apart, are one vector
// rotated by positions 0, 1, .. in halves, base 10 000.
void expect_rotations(std::span<const float> keys, std::size_t pitch);
// Of values against a recorded stage, in the order they are stored.
double largest_difference(std::span<const float> a, const RecordedInput& b);

}  // namespace tendon::testing
