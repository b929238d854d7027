// Observation in, chunk of robot actions out: preprocessing, the model's stages and the way back.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "models/model.h"
#include "preprocess/pipeline.h"
#include "tendon/tendon.h"

namespace tendon {

// Where the text rows of models that take rows instead of tokens come from.
class TextRows {
 public:
  virtual ~TextRows() = default;
  // [T, width] for T valid ids; a new prompt may take seconds. Throws Error.
  virtual std::vector<float> rows(std::span<const std::int32_t> ids) = 0;
};

// What a policy is made of; the engine's loader puts it together.
struct PolicyParts {
  std::vector<Preprocessor> preprocessors;  // one for each sample of a batch
  std::unique_ptr<Model> model;
  std::unique_ptr<Executable> executable;  // holds the model's traces
  std::string default_prompt;
  std::unique_ptr<TextRows> text_rows;  // null where the model takes tokens
};

class PolicyCore {
 public:
  explicit PolicyCore(PolicyParts parts);

  const Contract& contract() const { return parts_.preprocessors.front().contract(); }
  Model& model() { return *parts_.model; }
  Executable& executable() { return *parts_.executable; }
  // Prompt tokens of the latest call's first sample.
  int latest_tokens() const { return static_cast<int>(samples_.front().model.tokens.size()); }

  // One observation for each sample; chunks grow to size on first use, later calls allocate nothing
  // of ours.
  Status infer(std::span<const Observation> observations, const InferOptions& options,
               std::span<Chunk> chunks) noexcept;

  // Makes the schedule's tables, then runs buckets on generated input, small ones first, as long as
  // their work stays under `flops` in all: where plans hold everything (a CPU) a first run differs
  // only by page faults, and a full-size one takes seconds. Throws Error.
  void warm_up(double flops);

 private:
  struct Sample {
    PreparedInput prepared;
    std::vector<ImageInput> images;
    std::vector<VectorInput> vectors;
    std::vector<std::int32_t> encoded;  // the ids that `context` belongs to
    std::vector<float> context;
    ModelSample model;
  };
  Status prepare(const Observation& observation, std::size_t index) noexcept;
  Status encode_text(Sample& sample) noexcept;
  Status finish(std::size_t index, Chunk& chunk) noexcept;
  double work(int cameras, int tokens) const;
  bool by_frames() const { return parts_.model->options().frame_pixels > 0; }
  // Fills a sample's pictures with frames of these bytes, [side, side, 3].
  void prepare_frames(std::size_t index, std::span<const std::uint8_t> bytes, int side);
  void draw_own_noise(std::uint32_t seed);
  Status fill_noise(const InferOptions& options) noexcept;

  PolicyParts parts_;
  Model::Dimensions dims_;
  StageRunner runner_;
  std::vector<Sample> samples_;
  ModelInput input_;
  std::vector<float> noise_, chunk_;
  std::vector<float> own_noise_;  // of the checkpoint's evaluation; empty: it has none
};

}  // namespace tendon
