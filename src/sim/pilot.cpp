#include "sim/pilot.h"

#include <algorithm>
#include <chrono>

#include "tendon/error.h"

namespace tendon::sim {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

Pilot::Pilot(const Infer& infer, const PilotOptions& options)
    : infer_(infer), options_(options), cameras_(options.picture_size) {
  if (options_.execute == 0) options_.execute = 8;
  for (const std::string_view name : kCameraNames) {
    seen_.cameras.push_back({std::string(name), {}});
  }
  seen_.state.push_back({"state", std::vector<double>(kStateWidth)});
}

void Pilot::begin(const Episode& episode, std::string prompt, const Random& noise) {
  seen_.prompt = std::move(prompt);
  std::vector<double> hold(episode.joints.begin(), episode.joints.end());
  hold.push_back(1);
  player_.emplace(std::move(hold));
  noise_ = noise;
}

Command Pilot::command(World& world, int tick) {
  if (tick % options_.execute == 0) {
    look_and_infer(world);
    player_->submit(chunk_, tick, tick + options_.delay);
  }
  const double* action = player_->at(tick);
  return {{action[0], action[1], action[2], action[3]}, action[4]};
}

void Pilot::look_and_infer(World& world) {
  const Clock::time_point looks = Clock::now();
  cameras_.look(world);
  drawings.push_back(seconds_since(looks));
  for (int camera = 0; camera < kCameras; ++camera) {
    if (options_.blanked[camera]) cameras_.blank(camera);
    seen_.cameras[camera].image = cameras_.picture(camera);
  }
  const Joints joints = world.joints();
  std::copy(joints.begin(), joints.end(), seen_.state[0].values.begin());
  seen_.state[0].values[4] = world.opening();
  InferOptions how;
  how.seed = noise_->next();
  how.steps = options_.steps;
  const Clock::time_point begin = Clock::now();
  const Status status = infer_(seen_, how, chunk_);
  latencies.push_back(seconds_since(begin));
  if (!status.ok()) throw Error("rollout: " + std::string(status.message()));
  check_chunk();
}

void Pilot::check_chunk() const {
  if (chunk_.width != kStateWidth) {
    throw Error("rollout: this robot takes 4 joint targets and a gripper, the policy gives " +
                std::to_string(chunk_.width) + " actions; use a policy trained for it");
  }
  if (options_.execute + options_.delay > chunk_.horizon) {
    throw Error("rollout: execute " + std::to_string(options_.execute) + " and delay " +
                std::to_string(options_.delay) + " outrun the chunk's " +
                std::to_string(chunk_.horizon) + " actions; lower one of them");
  }
}

}  // namespace tendon::sim
