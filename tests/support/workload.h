// The workloads of docs/performance.md: models at their published sizes with generated weights, and
// calls from bytes of cameras on the host to a chunk on the host.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <vector>

#include "models/family.h"
#include "preprocess/compose.h"
#include "preprocess/frames.h"
#include "preprocess/pixels.h"

namespace tendon::support {

struct Workload {
  const char* name;
  const char* family;
  const char* dims;   // merged over the published ones
  const char* small;  // what shrinks all but the step
  int cameras, tokens, capacity, context;
  // Milliseconds asked of an H200 in bf16, of a call and of ten steps; below 0: nothing is.
  double must = -1, steps_must = -1;
};
std::span<const Workload> workloads();

struct WorkloadOptions {
  bool steps_only = false;        // all but the denoising step is shrunk
  nlohmann::json dims;            // merged over those of every workload
  int height = 480, width = 640;  // of the cameras' frames
  bool host_resizes = false;      // the device otherwise
  int pinned = 0;                 // rows of the chunk that are decided already
};

// A compiled model with one call's inputs. `workload` and `backend` outlive it.
class LoadedWorkload {
 public:
  LoadedWorkload(const Workload& workload, const WorkloadOptions& options, Backend& backend);

  // Seconds of one call, from the frames and the other inputs to chunk(). Throws Error.
  double call();
  // Median seconds of one stage alone.
  double stage(const Model::StageTrace& stage, int runs);
  std::vector<Model::StageTrace> stages() const;
  Executable& executable() { return *executable_; }
  const std::vector<float>& chunk() const { return chunk_; }

 private:
  struct Camera {
    std::vector<std::uint8_t> bytes;
    int height = 0, width = 0;
    std::size_t number = 0;  // in its picture
    FrameMaker maker;
  };
  struct PictureOf {
    const Picture* layout = nullptr;
    std::vector<Camera> cameras;
    std::vector<CameraFrame> frames;
    std::vector<std::uint8_t> composed;
    std::vector<float> values;
  };
  void make_pictures(const WorkloadOptions& options);
  void make_input(int pinned);
  void preprocess();

  const Workload& workload_;
  const Family& family_;
  bool host_resizes_;
  nlohmann::json dims_;
  ImageRules rules_;
  Checkpoint checkpoint_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Executable> executable_;
  Composer composer_;
  PixelTable table_;
  std::vector<PictureOf> pictures_;
  std::vector<std::int32_t> tokens_;
  std::vector<float> state_, context_, noise_, pinned_, chunk_;
  ModelInput input_;
};

}  // namespace tendon::support
