#include "sim/rollout.h"

#include <algorithm>
#include <bit>
#include <chrono>

#include "sim/chunk_player.h"
#include "sim/prompt.h"
#include "sim/random.h"
#include "tendon/error.h"

namespace tendon::sim {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kNoiseSeed = 0x4E015E;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void check(const RolloutOptions& options) {
  if (options.episodes < 1) throw Error("rollout: at least one episode, got fewer");
  if (options.execute < 1) throw Error("rollout: a chunk is executed for at least one tick");
  if (options.delay < 0) throw Error("rollout: the delay counts ticks from 0 up");
}

double at_quantile(std::vector<double> values, double quantile) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(quantile * static_cast<double>(values.size() - 1) + 0.5)];
}

int most_ticks(const RolloutOptions& options) {
  if (options.most_ticks > 0) return options.most_ticks;
  return options.task == Task::blocks ? 200 : 140;
}

class Loop {
 public:
  Loop(const Infer& infer, const RolloutOptions& options)
      : infer_(infer), options_(options), cameras_(options.picture_size) {
    for (const std::string_view name : kCameraNames) {
      seen_.cameras.push_back({std::string(name), {}});
    }
    seen_.state.push_back({"state", std::vector<double>(kStateWidth)});
  }

  EpisodeOutcome run(int number) {
    Setting setting = {.task = options_.task};
    const std::vector<std::string>& prompts = options_.prompts;
    if (!prompts.empty()) setting.verb = verb_in(prompts[number % prompts.size()]);
    Episode episode = draw_episode(setting, options_.seed, number);
    EpisodeOutcome outcome = assign(episode, number);
    episode.table_speed = options_.table_speed;
    world_.reset(episode);
    std::vector<double> hold(episode.joints.begin(), episode.joints.end());
    hold.push_back(1);
    ChunkPlayer player(std::move(hold));
    Random noise(options_.seed ^ kNoiseSeed, number);
    const bool recorded = options_.recording != nullptr && number < options_.recorded;
    if (recorded) options_.recording->begin(outcome.prompt);
    int lasted = 0;
    Deed last;
    while (outcome.ticks < most_ticks(options_) && lasted < kLastingTicks) {
      if (recorded) options_.recording->keep(world_, options_.blanked);
      if (outcome.ticks % options_.execute == 0) {
        infer(noise.next());
        player.submit(chunk_, outcome.ticks, outcome.ticks + options_.delay);
      }
      const double* action = player.at(outcome.ticks++);
      world_.step({{action[0], action[1], action[2], action[3]}, action[4]});
      note_state();
      const Deed deed = look_for(episode.verb, world_);
      lasted = deed == Deed{} ? 0 : deed == last ? lasted + 1 : 1;
      last = deed;
    }
    if (lasted >= kLastingTicks) outcome.done = last;
    if (recorded) finish_recording(episode, outcome);
    return outcome;
  }

  std::vector<double> latencies, drawings;
  std::uint64_t fingerprint = 0xCBF29CE484222325u;  // FNV-1a, 64-bit words

 private:
  EpisodeOutcome assign(Episode& episode, int number) {
    const std::span<const std::string_view> trained = wordings(episode.verb);
    const std::vector<std::string>& given = options_.prompts;
    const std::string_view wording = given.empty() ? trained[number % trained.size()]
                                                   : std::string_view(given[number % given.size()]);
    Instruction instruction = instruct(episode, wording, number);
    EpisodeOutcome outcome;
    outcome.target = episode.target;
    outcome.named = instruction.named;
    outcome.verb = episode.verb;
    outcome.base = episode.base;
    outcome.prompt = seen_.prompt = std::move(instruction.text);
    return outcome;
  }

  void infer(std::uint64_t noise_seed) {
    const Clock::time_point looks = Clock::now();
    cameras_.look(world_);
    drawings.push_back(seconds_since(looks));
    for (int camera = 0; camera < kCameras; ++camera) {
      if (options_.blanked[camera]) cameras_.blank(camera);
      seen_.cameras[camera].image = cameras_.picture(camera);
    }
    const Joints joints = world_.joints();
    std::copy(joints.begin(), joints.end(), seen_.state[0].values.begin());
    seen_.state[0].values[4] = world_.opening();
    InferOptions how;
    how.seed = noise_seed;
    how.steps = options_.steps;
    const Clock::time_point begin = Clock::now();
    const Status status = infer_(seen_, how, chunk_);
    latencies.push_back(seconds_since(begin));
    if (!status.ok()) throw Error("rollout: " + std::string(status.message()));
    check_chunk();
  }

  void check_chunk() const {
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

  void note_state() {
    const auto add = [this](double value) {
      fingerprint = (fingerprint ^ std::bit_cast<std::uint64_t>(value)) * 0x100000001B3u;
    };
    for (const double joint : world_.joints()) add(joint);
    add(world_.opening());
  }

  void finish_recording(const Episode& episode, const EpisodeOutcome& outcome) {
    options_.recording->keep(world_, options_.blanked);
    constexpr const char* kDone[] = {"lifted", "pushed", "stacked"};
    const std::string done = kDone[static_cast<int>(outcome.verb)];
    std::string verdict = "nothing " + done;
    if (outcome.done.cube >= 0) {
      verdict = std::string(kColourNames[episode.cubes[outcome.done.cube].colour]) + " " + done;
    }
    verdict += outcome.success() ? ": success" : ": failure";
    options_.recording->end(std::move(verdict), outcome.success() ? kGood : kBad);
  }

  const Infer& infer_;
  const RolloutOptions& options_;
  World world_;
  Cameras cameras_;
  Observation seen_;
  Chunk chunk_;
};

}  // namespace

RolloutResult rollout(const Infer& infer, const RolloutOptions& options) {
  check(options);
  const Clock::time_point begin = Clock::now();
  Loop loop(infer, options);
  RolloutResult result;
  for (int number = 0; number < options.episodes; ++number) {
    result.episodes.push_back(loop.run(number));
    if (options.progress) options.progress(number + 1, result.episodes.back());
  }
  result.latencies = std::move(loop.latencies);
  result.drawings = std::move(loop.drawings);
  result.fingerprint = loop.fingerprint;
  result.seconds = seconds_since(begin);
  if (options.recording != nullptr) options.recording->write();
  return result;
}

int RolloutResult::successes() const {
  return static_cast<int>(std::count_if(episodes.begin(), episodes.end(),
                                        [](const EpisodeOutcome& e) { return e.success(); }));
}

int RolloutResult::others() const {
  return static_cast<int>(
      std::count_if(episodes.begin(), episodes.end(),
                    [](const EpisodeOutcome& e) { return e.done.cube >= 0 && !e.success(); }));
}

int RolloutResult::originals() const {
  return static_cast<int>(std::count_if(
      episodes.begin(), episodes.end(),
      [](const EpisodeOutcome& e) { return e.done.cube >= 0 && e.done.cube == e.target; }));
}

double RolloutResult::mean_ticks() const {
  double sum = 0, count = 0;
  for (const EpisodeOutcome& episode : episodes) {
    if (episode.done.cube >= 0) sum += episode.ticks, count += 1;
  }
  return count > 0 ? sum / count : 0;
}

double RolloutResult::latency(double quantile) const { return at_quantile(latencies, quantile); }
double RolloutResult::drawing(double quantile) const { return at_quantile(drawings, quantile); }

}  // namespace tendon::sim
